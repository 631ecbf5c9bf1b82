#include "actors/block_direction.h"

#include "actors/engine/linalg.h"
#include "actors/optim/tasks.h"
#include "actors/optim/update.h"

namespace seng {
namespace {

constexpr std::size_t kDividedAtATime = 1 << 16;  // floats; no bits depend on it

void divide(std::span<const float> sum, float by, std::span<float> mean, Lanes& lanes) {
  const Cut runs{sum.size(), kDividedAtATime};
  run_tasks(lanes, runs.tasks(), double(sum.size()), [&](std::size_t run) {
    const std::size_t end = runs.begin(run) + runs.size(run);
    for (std::size_t i = runs.begin(run); i < end; ++i) mean[i] = sum[i] / by;
  });
}

PublishWord precondition(const Workload& w, const TrainState& state, const BlockInStep& in,
                         std::span<const float> gradient, std::span<float> direction, Lanes& lanes) {
  PublishWord word;
  word.inner_product = in.curvature->precondition(gradient, direction, in.damping, lanes);
  word.gradient_squared = inner_product(gradient, gradient, lanes);
  word.direction_squared = inner_product(direction, direction, lanes);
  if (!w.tries_damping(state.step + 1)) return word;
  // F d = g - lambda d (damping_control.h).
  const Block& block = w.network.blocks()[in.index];
  const auto v =
      unpreconditioned_part(w.spec.optimizer, std::span(state.momentum).subspan(block.offset, block.count),
                            state.parameters_of(block));
  const double lambda = in.curvature->damping(in.damping);
  const double slope = inner_product(gradient, v, lanes);
  word.model = {slope, in.curvature->curvature_along(v, lanes),
                slope - lambda * inner_product(v, direction, lanes),
                word.inner_product - lambda * word.direction_squared};
  return word;
}

}  // namespace

PublishWord block_direction(const Workload& w, const TrainState& state, const BlockInStep& in,
                            std::span<float> out, Lanes& lanes) {
  const Block& block = w.network.blocks()[in.index];
  const auto batch = static_cast<float>(w.spec.batch_global),
             micros = static_cast<float>(w.spec.micro_batches());
  const std::span<float> gradient = in.sum.first(block.count), direction = out.first(block.count);
  PublishWord word;
  if (in.curvature != nullptr) {
    divide(gradient, batch, gradient, lanes);
    word = precondition(w, state, in, gradient, direction, lanes);
  } else {
    divide(gradient, batch, direction, lanes);
  }
  for (std::size_t i = 0; i < block.statistics_count; ++i)
    out[block.count + i] = in.sum[block.count + i] / micros;
  return word;
}

}  // namespace seng
