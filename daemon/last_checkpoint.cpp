#include "daemon/last_checkpoint.h"

#include <algorithm>
#include <cmath>

namespace seng {

double LastCheckpoint::failed(std::uint64_t step, const std::string& why, double now) {
  const double pause =
      std::min(timeouts_.store_retry_s() * std::exp2(std::min(attempts_, 16u)), timeouts_.max_back_off_s());
  ++attempts_;
  step_ = step;
  why_ = why;
  retry_at_ = now + pause;
  return pause;
}

}  // namespace seng
