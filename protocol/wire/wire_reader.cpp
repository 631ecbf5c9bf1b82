#include "protocol/wire/wire_reader.h"

#include <bit>

#include <fmt/format.h>

namespace seng {

std::string_view WireReader::type_name(Type type) {
  switch (type) {
    case Type::kNil:
      return "nil";
    case Type::kBool:
      return "a boolean";
    case Type::kUnsigned:
      return "an integer";
    case Type::kSigned:
      return "a negative integer";
    case Type::kFloat32:
    case Type::kFloat64:
      return "a floating-point number";
    case Type::kString:
      return "a string";
    case Type::kBinary:
      return "binary data";
    case Type::kList:
      return "a list";
    case Type::kMap:
      return "a map";
    case Type::kExtension:
      return "an extension";
  }
  return "an unknown type";
}

bool WireReader::refuse(std::string_view what) {
  if (!error_) {
    const std::string where = path_.text();
    error_ =
        Error{ErrorCode::kCorrupt, where.empty() ? std::string(what) : fmt::format("{}: {}", where, what)};
  }
  return false;
}

bool WireReader::expected(std::string_view what, const Head& found) {
  return refuse(fmt::format("expected {}, found {}", what, type_name(found.type)));
}

bool WireReader::read_big_endian(std::size_t bytes, std::uint64_t& value) {
  if (bytes > left()) return refuse(fmt::format("ends in the middle, at byte {}", bytes_.size()));
  value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes_[position_ + i]);
  }
  position_ += bytes;
  return true;
}

bool WireReader::read_length(Type type, std::size_t bytes, Head& head) {
  head.type = type;
  return read_big_endian(bytes, head.number);
}

// The format's first bytes, as https://github.com/msgpack/msgpack/blob/master/spec.md numbers them.
bool WireReader::read_head(Head& head) {
  std::uint64_t first = 0;
  if (!ok() || !read_big_endian(1, first)) return false;
  if (first <= 0x7f) return head = {Type::kUnsigned, first}, true;
  if (first <= 0x8f) return head = {Type::kMap, first & 0x0f}, true;
  if (first <= 0x9f) return head = {Type::kList, first & 0x0f}, true;
  if (first <= 0xbf) return head = {Type::kString, first & 0x1f}, true;
  if (first >= 0xe0) return head = {Type::kSigned, first | ~std::uint64_t{0xff}}, true;
  if (first == 0xc0) return head = {Type::kNil, 0}, true;
  if (first == 0xc1) return refuse("byte c1, which MessagePack never uses");
  if (first <= 0xc3) return head = {Type::kBool, first & 1}, true;
  if (first <= 0xc6) return read_length(Type::kBinary, std::size_t{1} << (first - 0xc4), head);
  if (first <= 0xc9) return read_length(Type::kExtension, std::size_t{1} << (first - 0xc7), head);
  if (first <= 0xcb)
    return read_length(first == 0xca ? Type::kFloat32 : Type::kFloat64, first == 0xca ? 4 : 8, head);
  if (first <= 0xcf) return read_length(Type::kUnsigned, std::size_t{1} << (first - 0xcc), head);
  if (first <= 0xd3) {
    static constexpr std::uint64_t kSigns[] = {0x80, 0x8000, 0x80000000, 0x8000000000000000};
    if (!read_big_endian(std::size_t{1} << (first - 0xd0), head.number)) return false;
    const std::uint64_t sign = kSigns[first - 0xd0];
    head.type = (head.number & sign) != 0 ? Type::kSigned : Type::kUnsigned;
    if (head.type == Type::kSigned) head.number |= ~(sign - 1);
    return true;
  }
  if (first <= 0xd8) return head = {Type::kExtension, std::uint64_t{1} << (first - 0xd4)}, true;
  if (first <= 0xdb) return read_length(Type::kString, std::size_t{1} << (first - 0xd9), head);
  if (first <= 0xdd) return read_length(Type::kList, std::size_t{2} << (first - 0xdc), head);
  return read_length(Type::kMap, std::size_t{2} << (first - 0xde), head);
}

bool WireReader::nest() {
  if (nesting_ == kMaxNesting)
    return refuse(fmt::format("more than {} lists and maps in each other", kMaxNesting));
  ++nesting_;
  return true;
}

bool WireReader::open_map(std::size_t& entries) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kMap) return expected("a map", head);
  if (head.number > left() / 2)
    return refuse(fmt::format("a map of {} fields in {} bytes", head.number, left()));
  entries = head.number;
  return nest();
}

bool WireReader::open_list(std::size_t& items, std::size_t limit) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kList) return expected("a list", head);
  if (head.number > limit)
    return refuse(fmt::format("{} items, more than the {} allowed", head.number, limit));
  if (head.number > left()) return refuse(fmt::format("a list of {} items in {} bytes", head.number, left()));
  list_items_ += head.number;
  if (list_items_ > kMaxListItems) {
    return refuse(fmt::format("the message has more than {} items in all its lists", kMaxListItems));
  }
  items = head.number;
  return nest();
}

bool WireReader::read_bool(bool& value) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kBool) return expected("a boolean", head);
  value = head.number != 0;
  return true;
}

bool WireReader::read_unsigned(std::uint64_t& value, std::uint64_t max) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kUnsigned) return expected("an unsigned integer", head);
  if (head.number > max) return refuse(fmt::format("{} is above {}", head.number, max));
  value = head.number;
  return true;
}

bool WireReader::read_signed(std::int64_t& value, std::int64_t min, std::int64_t max) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type == Type::kUnsigned) {
    if (head.number > static_cast<std::uint64_t>(max)) {
      return refuse(fmt::format("{} is above {}", head.number, max));
    }
  } else if (head.type != Type::kSigned) {
    return expected("an integer", head);
  }
  value = static_cast<std::int64_t>(head.number);
  if (value < min) return refuse(fmt::format("{} is below {}", value, min));
  return true;
}

bool WireReader::read_float(float& value) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kFloat32) {
    return head.type == Type::kFloat64 ? refuse("expected 32 bits, found a floating-point number of 64")
                                       : expected("a floating-point number", head);
  }
  value = std::bit_cast<float>(static_cast<std::uint32_t>(head.number));
  return true;
}

bool WireReader::read_double(double& value) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type == Type::kFloat32) {
    value = static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(head.number)));
    return true;
  }
  if (head.type != Type::kFloat64) return expected("a floating-point number", head);
  value = std::bit_cast<double>(head.number);
  return true;
}

bool WireReader::read_string(std::string& value, std::size_t limit) {
  Head head;
  if (!read_head(head)) return false;
  if (head.type != Type::kString) return expected("a string", head);
  if (head.number > limit)
    return refuse(fmt::format("{} bytes, more than the {} allowed", head.number, limit));
  if (head.number > left()) return refuse(fmt::format("a string of {} bytes in {}", head.number, left()));
  value.assign(reinterpret_cast<const char*>(bytes_.data() + position_), head.number);
  position_ += head.number;
  return true;
}

bool WireReader::skip_bytes(std::uint64_t count) {
  if (count > left()) return refuse(fmt::format("ends in the middle, at byte {}", bytes_.size()));
  position_ += count;
  return true;
}

bool WireReader::skip() {
  Head head;
  if (!read_head(head)) return false;
  switch (head.type) {
    case Type::kString:
    case Type::kBinary:
      return skip_bytes(head.number);
    case Type::kExtension:
      return skip_bytes(head.number + 1);  // its type is one byte more
    case Type::kList:
    case Type::kMap: {
      if (!nest()) return false;
      const std::uint64_t values = head.type == Type::kMap ? head.number * 2 : head.number;
      for (std::uint64_t i = 0; i < values; ++i) {
        if (!skip()) return false;
      }
      close();
      return true;
    }
    default:
      return true;
  }
}

bool WireReader::at_end() {
  return left() == 0 ? ok() : refuse(fmt::format("{} bytes left over", left()));
}

}  // namespace seng
