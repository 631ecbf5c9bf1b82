#include "daemon/store_sqlite_database.h"

#include <cerrno>
#include <cstring>

#include <sqlite3.h>

namespace seng {
namespace {

SqliteError::Kind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return SqliteError::Kind::kDamaged;
    case SQLITE_FULL:
      return SqliteError::Kind::kFull;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return SqliteError::Kind::kDenied;
    default:
      return SqliteError::Kind::kOther;
  }
}

}  // namespace

Database::~Database() {
  sqlite3_close(handle_);
}

void Database::check(int code) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  SqliteError error{kind_of(code), handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code)};
  const int number = handle_ != nullptr ? sqlite3_system_errno(handle_) : 0;
  if ((code & 0xff) == SQLITE_IOERR && number != 0) {
    error.message += std::string(" (") + std::strerror(number) + ")";
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) error.kind = SqliteError::Kind::kFull;
  }
  throw error;
}

void Database::open(const std::string& path) {
  check(sqlite3_open_v2(path.c_str(), &handle_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr));
  sqlite3_busy_timeout(handle_, 2000);  // somebody may look into it with the sqlite3 program
}

void Database::run(const std::string& sql) {
  check(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr));
}

void Database::roll_back() {
  // Some failures have rolled back already; then this one fails, which is well.
  sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}

bool Database::changed() const {
  return sqlite3_changes(handle_) > 0;
}

Statement::Statement(Database& db, const char* sql) : db_(db) {
  db_.check(sqlite3_prepare_v2(db.handle_, sql, -1, &handle_, nullptr));
}

Statement::~Statement() {
  sqlite3_finalize(handle_);
}

Statement& Statement::integer(std::uint64_t value) {
  db_.check(sqlite3_bind_int64(handle_, ++bound_, static_cast<sqlite3_int64>(value)));
  return *this;
}

Statement& Statement::real(double value) {
  db_.check(sqlite3_bind_double(handle_, ++bound_, value));
  return *this;
}

Statement& Statement::text(std::string_view value) {
  db_.check(
      sqlite3_bind_text(handle_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::blob(const std::string& bytes) {
  db_.check(
      sqlite3_bind_blob(handle_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  db_.check(code);
  return code == SQLITE_ROW;
}

void Statement::run() {
  while (step()) {
  }
  sqlite3_reset(handle_);
  bound_ = 0;
}

std::uint64_t Statement::integer_at(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(handle_, column));
}

double Statement::real_at(int column) const {
  return sqlite3_column_double(handle_, column);
}

std::string Statement::text_at(int column) const {
  const void* data = sqlite3_column_blob(handle_, column);
  const int size = sqlite3_column_bytes(handle_, column);
  return size > 0 ? std::string(static_cast<const char*>(data), static_cast<std::size_t>(size))
                  : std::string();
}

}  // namespace seng
