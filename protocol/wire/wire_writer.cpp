#include "protocol/wire/wire_writer.h"

#include <bit>
#include <utility>

#include <fmt/format.h>
#include <msgpack.hpp>

namespace seng {
namespace {

struct StringSink {
  std::string& out;
  void write(const char* data, std::size_t size) { out.append(data, size); }
};

template <class Value>
void pack(std::string& out, Value value) {
  StringSink sink{out};
  msgpack::packer<StringSink>(sink).pack(value);
}

template <class Bits>
void append_big_endian(std::string& out, Bits bits) {
  for (int shift = 8 * (static_cast<int>(sizeof(Bits)) - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(bits >> shift & 0xff);
  }
}

}  // namespace

void WireWriter::refuse_value(std::string_view what) {
  if (refused_) return;
  refused_ = Error{ErrorCode::kExhausted, fmt::format("cannot send {}: {}", path_.text(), what)};
}

void WireWriter::put_map(std::size_t entries) {
  StringSink sink{out_};
  msgpack::packer<StringSink>(sink).pack_map(static_cast<std::uint32_t>(entries));
}

void WireWriter::put_list(std::size_t items, std::size_t limit) {
  list_items_ += items;
  if (items > limit) {
    refuse_value(fmt::format("{} items, more than the {} allowed", items, limit));
  } else if (list_items_ > kMaxListItems) {
    refuse_value(fmt::format("the message has more than {} items in all its lists", kMaxListItems));
  }
  StringSink sink{out_};
  msgpack::packer<StringSink>(sink).pack_array(static_cast<std::uint32_t>(items));
}

void WireWriter::put_bool(bool value) {
  pack(out_, value);
}
void WireWriter::put_unsigned(std::uint64_t value) {
  pack(out_, value);
}
void WireWriter::put_signed(std::int64_t value) {
  pack(out_, value);
}
// msgpack-cxx writes a whole number as an integer, whatever its type in C++: minus zero would lose its sign,
// and a field would change its type with its value.
void WireWriter::put_float(float value) {
  out_ += '\xca';
  append_big_endian(out_, std::bit_cast<std::uint32_t>(value));
}
void WireWriter::put_double(double value) {
  out_ += '\xcb';
  append_big_endian(out_, std::bit_cast<std::uint64_t>(value));
}

void WireWriter::put_string(std::string_view value, std::size_t limit) {
  if (value.size() > limit) {
    refuse_value(fmt::format("{} bytes, more than the {} allowed", value.size(), limit));
    value = {};
  }
  StringSink sink{out_};
  msgpack::packer<StringSink> packer(sink);
  packer.pack_str(static_cast<std::uint32_t>(value.size()));
  packer.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
}

}  // namespace seng
