#include "daemon/step_tellers.h"

namespace seng {
namespace {

constexpr std::size_t kLeadersKept = 8;

}  // namespace

void StepTellers::announced(const GroupEpoch& epoch, const Reconfigure& membership) {
  if (membership.restore) leaders_.clear();  // what was made before is made again
  leaders_[epoch] = membership.members.front().actor;
  if (leaders_.size() > kLeadersKept) leaders_.erase(leaders_.begin());
}

bool StepTellers::led(ActorId actor, const GroupEpoch& epoch, const GroupEpochs& group) const {
  const auto found = leaders_.find(epoch);
  return found != leaders_.end() && found->second == actor && (epoch == group.epoch() || !group.restores());
}

std::vector<StepMetrics> StepTellers::take(ActorId actor, const GroupEpoch& epoch,
                                           std::vector<StepMetrics> steps, const GroupEpochs& group) {
  const bool adopted =
      epoch != GroupEpoch{} && epoch == adopted_ && (epoch == group.epoch() || !group.restores());
  const bool all = adopted || led(actor, epoch, group);
  std::erase_if(steps, [&](const StepMetrics& step) {
    if (all) return !group.stands(epoch, step.step);
    return epoch != group.epoch() || step.step > group.base_step();
  });
  for (const StepMetrics& step : steps)
    if (step.step == told_ + 1) ++told_;
  return steps;
}

}  // namespace seng
