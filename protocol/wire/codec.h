// Structs to MessagePack and back. A struct says what it consists of in one function,
//
//   template <class V> void visit(V& v) { v.field(1, "name", name); v.field(2, "parts", parts, 64); }
//
// with a number for each field that is never used again, ascending, and an optional limit: bytes of a string,
// items of a list. On the wire it is a map {number: value} with ascending numbers. Members may be bool,
// integers, float, double, std::string, enums with an `is_known(E)` beside them, structs with `visit`, and
// vectors of all those (but not of bool).
//
// Decoding takes untrusted bytes: a field that is unknown is skipped, one that is missing keeps its default,
// and anything else that is off (wrong type, a number out of its type's range, an enum's unknown value, a
// length above its limit or above the bytes there, numbers out of order or twice, bytes left over) is
// kCorrupt with the field's path. Doubles may be any, not-a-number too: losses and norms of a diverged job
// are, and must be reported.
#pragma once

#include <concepts>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/limits.h"
#include "protocol/wire/wire_reader.h"
#include "protocol/wire/wire_writer.h"

namespace seng {
namespace wire_detail {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = !std::is_same_v<T, bool>;

inline std::size_t limit_or(std::size_t limit, std::size_t otherwise) {
  return limit != 0 ? limit : otherwise;
}

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
  template <class M>
  void field(unsigned number, const char* name, M& member, std::size_t limit = 0) {
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

template <class T>
bool get(WireReader& r, T& value, std::size_t limit);

// Fields come in ascending order, in the struct as on the wire, so that one pass over both finds all.
class FieldReader {
 public:
  FieldReader(WireReader& reader, std::size_t entries) : reader_(reader), left_(entries) { next(); }

  template <class M>
  void field(unsigned number, const char* name, M& member, std::size_t limit = 0) {
    skip_below(number);
    if (!reader_.ok() || done_ || number_ != number) return;
    reader_.path().push(name);
    get(reader_, member, limit);
    reader_.path().pop();
    next();
  }
  void finish() { skip_below(std::numeric_limits<std::uint64_t>::max()); }

 private:
  void skip_below(std::uint64_t number);
  void next();

  WireReader& reader_;
  std::size_t left_;
  std::uint64_t number_ = 0;  // of the field whose value is next; fields are numbered from 1
  bool done_ = false;
};

template <class T>
bool get_list(WireReader& r, std::vector<T>& list, std::size_t limit) {
  std::size_t items = 0;
  if (!r.open_list(items, limit_or(limit, kMaxListItems))) return false;
  list.clear();
  list.reserve(items);
  for (std::size_t i = 0; i < items; ++i) {
    r.path().push(i);
    if (!get(r, list.emplace_back(), 0)) return false;
    r.path().pop();
  }
  r.close();
  return true;
}

template <class T>
bool get_enum(WireReader& r, T& value) {
  std::uint64_t number = 0;
  if (!r.read_unsigned(number, std::numeric_limits<std::make_unsigned_t<std::underlying_type_t<T>>>::max())) {
    return false;
  }
  if (!is_known(static_cast<T>(number))) return r.refuse("unknown value " + std::to_string(number));
  value = static_cast<T>(number);
  return true;
}

template <class T>
bool get(WireReader& r, T& value, std::size_t limit) {
  if constexpr (std::is_same_v<T, bool>) {
    return r.read_bool(value);
  } else if constexpr (std::is_enum_v<T>) {
    return get_enum(r, value);
  } else if constexpr (std::unsigned_integral<T>) {
    std::uint64_t wide = 0;
    if (!r.read_unsigned(wide, std::numeric_limits<T>::max())) return false;
    value = static_cast<T>(wide);
    return true;
  } else if constexpr (std::signed_integral<T>) {
    std::int64_t wide = 0;
    if (!r.read_signed(wide, std::numeric_limits<T>::min(), std::numeric_limits<T>::max())) return false;
    value = static_cast<T>(wide);
    return true;
  } else if constexpr (std::is_same_v<T, float>) {
    return r.read_float(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return r.read_double(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return r.read_string(value, limit_or(limit, kMaxStringBytes));
  } else if constexpr (kIsVector<T>) {
    return get_list(r, value, limit);
  } else {
    std::size_t entries = 0;
    if (!r.open_map(entries)) return false;
    FieldReader fields(r, entries);
    value.visit(fields);
    fields.finish();
    if (!r.ok()) return false;
    r.close();
    return true;
  }
}

// "Reconfigure" where T is a message (found beside MessageKind, which this layer does not know), else "".
template <class T>
std::string_view name_of() {
  if constexpr (requires { T::kKind; }) {
    return message_kind_name(T::kKind);
  } else {
    return {};
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

// Reads one struct from the beginning of `bytes`; sets `used` to its length. `name` leads error messages.
template <class T>
Result<T> decode_prefix(std::span<const std::byte> bytes, std::size_t& used,
                        std::string_view name = wire_detail::name_of<T>()) {
  WireReader reader(bytes, name);
  T value;
  if (!wire_detail::get(reader, value, 0)) return fail(*reader.error());
  used = reader.position();
  return value;
}

// Reads one struct that fills `bytes`.
template <class T>
Result<T> decode(std::span<const std::byte> bytes, std::string_view name = wire_detail::name_of<T>()) {
  std::size_t used = 0;
  auto value = decode_prefix<T>(bytes, used, name);
  if (value && used != bytes.size()) {
    return fail(ErrorCode::kCorrupt, (name.empty() ? std::string() : std::string(name) + ": ") +
                                         std::to_string(bytes.size() - used) + " bytes left over");
  }
  return value;
}

}  // namespace seng
