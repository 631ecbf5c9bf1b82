// Structs to MessagePack: see codec.h.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "protocol/base/error.h"
#include "protocol/base/limits.h"
#include "protocol/wire/field_types.h"
#include "protocol/wire/wire_writer.h"

namespace seng {
namespace wire_detail {

struct FieldCounter {
  std::size_t fields = 0;
  template <class M>
  void field(unsigned, const char*, const M&, std::size_t = 0) {
    ++fields;
  }
};

template <class T>
void put(WireWriter& w, T& value, std::size_t limit);

struct FieldWriter {
  WireWriter& writer;
  unsigned last = 0;
  // Not inlined: see FieldReader.
  template <class M>
  [[gnu::noinline]] void field(unsigned number, const char* name, M& member, std::size_t limit = 0) {
    SENG_CHECK(number > last, name);
    last = number;
    writer.put_unsigned(number);
    writer.path().push(name);
    put(writer, member, limit);
    writer.path().pop();
  }
};

template <class T>
void put(WireWriter& w, T& value, std::size_t limit) {
  if constexpr (std::is_same_v<T, bool>) {
    w.put_bool(value);
  } else if constexpr (std::is_enum_v<T>) {
    if (!is_known(value)) w.refuse_value("not a value of its kind");
    w.put_unsigned(static_cast<std::uint64_t>(value));
  } else if constexpr (std::unsigned_integral<T>) {
    w.put_unsigned(value);
  } else if constexpr (std::signed_integral<T>) {
    w.put_signed(value);
  } else if constexpr (std::is_same_v<T, float>) {
    w.put_float(value);
  } else if constexpr (std::is_same_v<T, double>) {
    w.put_double(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    w.put_string(value, limit_or(limit, kMaxStringBytes));
  } else if constexpr (kIsVector<T>) {
    w.put_list(value.size(), limit_or(limit, kMaxListItems));
    for (std::size_t i = 0; i < value.size(); ++i) {
      w.path().push(i);
      put(w, value[i], 0);
      w.path().pop();
    }
  } else {
    FieldCounter counter;
    value.visit(counter);
    w.put_map(counter.fields);
    FieldWriter fields{w};
    value.visit(fields);
  }
}

}  // namespace wire_detail

// The struct's bytes. kExhausted, with the field's path, where a limit says that a receiver would refuse
// them.
template <class T>
Result<std::string> encode_checked(const T& value) {
  WireWriter writer(wire_detail::name_of<T>());
  // `visit` is one function for reading and writing, so not const; writing changes nothing.
  wire_detail::put(writer, const_cast<T&>(value), 0);
  if (writer.refused()) return fail(*writer.refused());
  return writer.take();
}

// For what is known to be small; InvariantError where encode_checked() has an error.
template <class T>
std::string encode(const T& value) {
  auto bytes = encode_checked(value);
  SENG_CHECK(bytes.has_value(), bytes.error().message);
  return *std::move(bytes);
}

}  // namespace seng
