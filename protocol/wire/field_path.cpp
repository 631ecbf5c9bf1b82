#include "protocol/wire/field_path.h"

#include <fmt/format.h>

namespace seng {

std::string FieldPath::text() const {
  std::string out(root_);
  for (std::size_t i = 0; i < size_; ++i) {
    const Step& step = steps_[i];
    if (!step.name) {
      out += fmt::format("[{}]", step.index);
    } else {
      if (!out.empty()) out += '.';
      out += step.name;
    }
  }
  return out;
}

}  // namespace seng
