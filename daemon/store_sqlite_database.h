// SQLite, wrapped once: a connection and a statement that throw SqliteError, to be caught by the store.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocol/wire/codec.h"

struct sqlite3;
struct sqlite3_stmt;

namespace seng {

// A failed call. Never leaves the store.
struct SqliteError {
  enum class Kind { kDamaged, kFull, kDenied, kOther } kind = Kind::kOther;
  std::string message;
};

class Database {
 public:
  Database() = default;
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void open(const std::string& path);
  void run(const std::string& sql);  // one or more statements without values
  bool changed() const;              // a row, by the last INSERT, UPDATE or DELETE
  // Runs `body` between BEGIN and COMMIT; whatever it throws is passed on after a ROLLBACK.
  template <class Body>
  void transaction(Body body) {
    run("BEGIN IMMEDIATE");
    try {
      body();
      run("COMMIT");
    } catch (...) {
      roll_back();
      throw;
    }
  }

 private:
  friend class Statement;
  void check(int code);
  void roll_back();

  sqlite3* handle_ = nullptr;
};

// A prepared statement. Values are bound in the order of its question marks.
class Statement {
 public:
  Statement(Database& db, const char* sql);  // `db` outlives it
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& integer(std::uint64_t value);
  Statement& real(double value);
  Statement& text(std::string_view value);
  // A record, in the bytes that it has in messages.
  template <class T>
  Statement& record(const T& value) {
    return blob(encode(value));
  }
  bool step();  // true: a row is there
  void run();   // to the end, then ready for the next values

  std::uint64_t integer_at(int column) const;
  double real_at(int column) const;
  std::string text_at(int column) const;
  template <class T>
  T record_at(int column, std::string_view what) const {
    const std::string bytes = text_at(column);
    auto value = decode<T>(std::as_bytes(std::span(bytes.data(), bytes.size())), what);
    if (!value) throw SqliteError{SqliteError::Kind::kDamaged, value.error().message};
    return *std::move(value);
  }

 private:
  Statement& blob(const std::string& bytes);

  Database& db_;
  sqlite3_stmt* handle_ = nullptr;
  int bound_ = 0;
};

}  // namespace seng
