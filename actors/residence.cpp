#include "actors/residence.h"

#include <utility>

#include <fmt/format.h>

#include "protocol/base/error.h"

namespace seng {

ResidentStep* Residence::alone() {
  return made(alone_, asked_alone_);
}
ResidentGroupStep* Residence::together() {
  return made(together_, asked_together_);
}

template <class Step>
Step* Residence::made(std::unique_ptr<Step>& step, bool& asked) {
  if (std::exchange(asked, true)) return step.get();
  try {
    if (!home_) home_ = ResidentHome::create(workload_, replicas_);
    if (!home_) return nullptr;
    if (!directions_) directions_ = std::make_unique<ResidentDirections>(workload_, *home_);
    step = std::make_unique<Step>(workload_, *home_, *directions_);
  } catch (const VendorError& error) {
    if (!std::exchange(told_, true))
      event_("StateOnHost", fmt::format("the GPU does not take in the state of this actor; it stays on the "
                                        "host, where a step takes longer: {}",
                                        error.what()));
  }
  return step.get();
}

void Residence::bring_home(TrainState& state) {
  if (home_) home_->bring_home(state);
}

void Residence::leave() {
  if (!home_) return;
  home_->leave();
  directions_->leave();
}

}  // namespace seng
