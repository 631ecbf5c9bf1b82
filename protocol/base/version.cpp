#include "protocol/base/version.h"

namespace seng {

std::string_view seng_version() {
  return SENG_VERSION;
}

}  // namespace seng
