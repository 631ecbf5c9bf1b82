// Reads MessagePack values one after another out of untrusted bytes. Knows nothing of messages; codec.h puts
// structs together.
//
// Written by hand, where the writer is msgpack-cxx: that library's unpackers build a tree whose lists are
// allocated by their declared length, before one item is seen. This one allocates nothing but the strings
// that it hands out, each after its length was checked against the limit and against the bytes that are
// there. The tests judge it by the library.
//
// Every read returns false once anything has failed; error() then says what and where. Bytes are borrowed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/base/error.h"
#include "protocol/wire/field_path.h"

namespace seng {

class WireReader {
 public:
  WireReader(std::span<const std::byte> bytes, std::string_view root) : path_(root), bytes_(bytes) {}

  // Opens a map of `entries` key-value pairs or a list of `items`; close() ends either.
  bool open_map(std::size_t& entries);
  bool open_list(std::size_t& items, std::size_t limit);
  void close() { --nesting_; }

  bool read_bool(bool& value);
  bool read_unsigned(std::uint64_t& value, std::uint64_t max);
  bool read_signed(std::int64_t& value, std::int64_t min, std::int64_t max);
  bool read_float(float& value);    // float 32 only
  bool read_double(double& value);  // float 32 or 64
  bool read_string(std::string& value, std::size_t limit);
  // One value of any type, within the limit on nesting.
  bool skip();
  // Nothing may be left over.
  bool at_end();

  FieldPath& path() { return path_; }
  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  bool ok() const { return !error_; }
  const std::optional<Error>& error() const { return error_; }
  // Records the failure, at the present path, if it is the first. Returns false.
  bool refuse(std::string_view what);

 private:
  enum class Type : std::uint8_t {
    kNil,
    kBool,
    kUnsigned,
    kSigned,
    kFloat32,
    kFloat64,
    kString,
    kBinary,
    kList,
    kMap,
    kExtension
  };
  // A value's first bytes: its type and its number, bits or length.
  struct Head {
    Type type = Type::kNil;
    std::uint64_t number = 0;  // kSigned: two's complement, negative
  };
  bool read_head(Head& head);
  bool read_big_endian(std::size_t bytes, std::uint64_t& value);
  bool read_length(Type type, std::size_t bytes, Head& head);
  bool expected(std::string_view what, const Head& found);
  bool skip_bytes(std::uint64_t count);
  bool nest();
  static std::string_view type_name(Type type);

  FieldPath path_;
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  std::size_t nesting_ = 0;
  std::size_t list_items_ = 0;  // of all lists so far
  std::optional<Error> error_;
};

}  // namespace seng
