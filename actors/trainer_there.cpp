// Trainer: steps whose vectors stay on the GPU, see residence.h: of an actor that nobody exchanges with, and
// what differs in a group.
#include <numeric>

#include "actors/trainer.h"
#include "protocol/base/log.h"

namespace seng {

// A group of one may still be followed by newcomers, who take each step's directions from the host.
bool Trainer::goes_alone() {
  const bool alone = group_.members.size() == 1 && !ask_.followed;
  const bool before = alone_ != nullptr;
  alone_ = alone ? residence_.alone() : nullptr;
  if (alone_ && !before) log_info("alone: the state stays on the GPU");
  return alone_ != nullptr;
}

std::shared_ptr<VectorMemory> Trainer::vectors_in(const Group& group) {
  residence_.let_go();
  if (group.path != BlockPath::kNccl || group.members.size() == 1) return nullptr;
  const ResidentGroupStep* step = residence_.together();
  return step == nullptr ? nullptr : step->vectors();
}

void Trainer::bring_home() {
  residence_.bring_home(*parts_.state);
}

std::optional<StepComplete> Trainer::step_alone(bool refresh) {
  const Workload& w = *parts_.workload;
  const std::uint64_t step = parts_.state->step + 1;
  begin_curvature(step, refresh);
  take_samples(step);
  residence_.take_there(*parts_.state);
  alone_->begin();
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
      alone_->finish(*parts_.state, damping_, host(), [&] { parts_.gauges->counter.fetch_add(1); });
  parts_.gauges->forms = false;
  tell_refused(accepted);
  for (const std::uint32_t block : blocks)
    complete.refused[block] = w.second_order && !accepted[block].has_value();
  complete.flags = own_flags();
  return complete;
}

}  // namespace seng
