// What the encoder and the decoder of codec.h share.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <vector>

namespace seng::wire_detail {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = !std::is_same_v<T, bool>;

inline std::size_t limit_or(std::size_t limit, std::size_t otherwise) {
  return limit != 0 ? limit : otherwise;
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

}  // namespace seng::wire_detail
