#include "actors/optim/workspace.h"

#include <algorithm>

namespace seng {

Workspace& Workspace::of_this_thread() {
  thread_local Workspace workspace;
  return workspace;
}

const float* Workspace::ones(std::size_t count) {
  if (count > ones_.size()) std::fill_n(ones_.at_least(count), count, 1.0f);
  return ones_.data();
}

}  // namespace seng
