// Secrets that prove to one process that it was started by another.
#pragma once

#include <string>
#include <string_view>

namespace seng {

// 128 bits of the system's randomness in 32 hex digits.
std::string random_secret();

// Takes the same time wherever the two differ.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace seng
