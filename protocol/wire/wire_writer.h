// MessagePack values, one after another, into a string. Knows nothing of messages; codec.h puts structs
// together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/error.h"
#include "protocol/wire/field_path.h"

namespace seng {

class WireWriter {
 public:
  explicit WireWriter(std::string_view root) : path_(root) {}

  void put_map(std::size_t entries);
  void put_list(std::size_t items, std::size_t limit);
  void put_bool(bool value);
  void put_unsigned(std::uint64_t value);  // in the shortest form
  void put_signed(std::int64_t value);
  void put_float(float value);
  void put_double(double value);
  void put_string(std::string_view value, std::size_t limit);
  void refuse_value(std::string_view what);

  FieldPath& path() { return path_; }
  // The first value that a receiver would refuse, if any.
  const std::optional<Error>& refused() const { return refused_; }
  std::string take() { return std::move(out_); }

 private:
  FieldPath path_;
  std::string out_;
  std::size_t list_items_ = 0;
  std::optional<Error> refused_;
};

}  // namespace seng
