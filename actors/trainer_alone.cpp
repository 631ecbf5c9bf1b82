// Trainer: the step of an actor that nobody exchanges with, see resident_step.h.
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "actors/trainer.h"
#include "protocol/base/log.h"

namespace seng {

// A group of one may still be followed by newcomers, who take each step's directions from the host.
bool Trainer::goes_alone() {
  if (group_.members.size() > 1 || ask_.followed) return false;
  if (!std::exchange(asked_for_resident_, true)) make_resident();
  return resident_ != nullptr;
}

// Once. What there is no memory for is done the other way, with the same bits.
void Trainer::make_resident() {
  try {
    resident_ = ResidentStep::create(*parts_.workload, *parts_.replicas);
    if (resident_) log_info("alone: the state stays on the GPU");
  } catch (const VendorError& error) {
    parts_.event("StateOnHost",
                 fmt::format("the GPU does not take in the state of an actor that is alone; it stays on the "
                             "host, where a step takes longer: {}",
                             error.what()));
  }
}

void Trainer::bring_home() {
  if (resident_) resident_->bring_home(*parts_.state);
}

std::optional<StepComplete> Trainer::step_alone(bool refresh) {
  const Workload& w = *parts_.workload;
  const std::uint64_t step = parts_.state->step + 1;
  begin_curvature(step, refresh);
  take_samples(step);
  resident_->take_there(*parts_.state);
  resident_->begin();
  parts_.lanes->run(1, [&](std::size_t, int lane) {
    compute_piece({{first_, last_}, lane, step, refresh ? w.factor_samples : 0});
  });
  // The step is left where it could still be: behind this nobody waits for another actor.
  if (parts_.exchange->interrupted()) {
    const ExchangeEvent event = parts_.exchange->next();
    if (const auto* interrupted = std::get_if<Interrupted>(&event)) interruption_ = interrupted->reason;
    return std::nullopt;
  }
  if (background_ && refresh)
    for (auto& [block, curvature] : parts_.state->curvature)
      if (curvature.complete()) form_ahead(block);

  std::vector<std::uint32_t> blocks(w.network.blocks().size());
  std::iota(blocks.begin(), blocks.end(), 0u);
  std::vector<double> costs;
  for (const std::uint32_t block : blocks) costs.push_back(refresh_cost(block));
  const std::vector<Status> accepted = accept(blocks, costs);
  StepComplete complete =
      resident_->finish(*parts_.state, damping_, host(), [&] { parts_.gauges->counter.fetch_add(1); });
  parts_.gauges->forms = false;
  tell_refused(accepted);
  for (const std::uint32_t block : blocks)
    complete.refused[block] = w.second_order && !accepted[block].has_value();
  complete.flags = own_flags();
  return complete;
}

}  // namespace seng
