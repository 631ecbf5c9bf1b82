// The product's version, as `--version` and the protocol's hellos say it.
#pragma once

#include <string_view>

namespace seng {

std::string_view seng_version();  // "0.2.0"

}  // namespace seng
