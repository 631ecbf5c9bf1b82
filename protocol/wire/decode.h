// MessagePack to structs: see codec.h.
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
#include "protocol/wire/field_types.h"
#include "protocol/wire/wire_reader.h"

namespace seng {
namespace wire_detail {

template <class T>
bool get(WireReader& r, T& value, std::size_t limit);

// Fields come in ascending order, in the struct as on the wire, so that one pass over both finds all.
class FieldReader {
 public:
  FieldReader(WireReader& reader, std::size_t entries) : reader_(reader), left_(entries) { next(); }

  // Not inlined, so that it is compiled once for each type of member, not for each member of each struct.
  template <class M>
  [[gnu::noinline]] void field(unsigned number, const char* name, M& member, std::size_t limit = 0) {
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

}  // namespace wire_detail

// Reads one struct from the beginning of `bytes`; sets `used` to its length. `name` leads error messages.
template <class T>
Result<T> decode_prefix(std::span<const std::byte> bytes, std::size_t& used,
                        std::string_view name = wire_detail::name_of<T>()) {
  WireReader reader(bytes, name);
  Result<T> value;
  if (!wire_detail::get(reader, *value, 0)) value = fail(*reader.error());
  used = reader.position();
  return value;
}

// Reads one struct that fills `bytes`.
template <class T>
Result<T> decode(std::span<const std::byte> bytes, std::string_view name = wire_detail::name_of<T>()) {
  WireReader reader(bytes, name);
  Result<T> value;
  if (!wire_detail::get(reader, *value, 0) || !reader.at_end()) value = fail(*reader.error());
  return value;
}

}  // namespace seng
