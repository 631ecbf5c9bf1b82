#include "actors/step_update.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>

#include "actors/engine/linalg.h"
#include "actors/optim/update.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

// Elementwise work is cut into runs of this many floats; the cut changes no result.
constexpr std::size_t kRun = 1 << 16;

// Of a step's record, before the directions: g^T d, refused, the model, |g|^2, |d|^2.
constexpr std::size_t kWordsPerBlock = 4 + kModelTerms;

// LARS has a step length for each block; batch norms, whose parameters are scales already, keep the usual
// one.
std::vector<UpdateCoefficients> block_coefficients(const Workload& w, const StepComplete& step,
                                                   const UpdateCoefficients& usual, Lanes& lanes,
                                                   const TrainState& state) {
  const auto& blocks = w.network.blocks();
  std::vector<UpdateCoefficients> out(blocks.size(), usual);
  if (w.spec.optimizer.name != "lars") return out;
  lanes.run(blocks.size(), [&](std::size_t b, int) {
    const Block& block = blocks[b];
    if (block.kind == BlockKind::kBatchNorm) return;
    const auto ratio =
        static_cast<float>(lars_scale(w.spec.optimizer.trust_coefficient, w.spec.optimizer.weight_decay,
                                      std::span(state.parameters).subspan(block.offset, block.count),
                                      step.directions[b].first(block.count)));
    out[b].scale *= ratio;
    out[b].weight_decay *= ratio;
  });
  return out;
}

void update_weights(const Workload& w, const StepComplete& step, const UpdateCoefficients& usual,
                    Lanes& lanes, TrainState& state) {
  const std::vector<UpdateCoefficients> coefficients = block_coefficients(w, step, usual, lanes, state);
  struct Run {
    std::uint32_t block;
    std::size_t offset, count;
  };
  std::vector<Run> runs;
  const auto& blocks = w.network.blocks();
  for (std::uint32_t b = 0; b < blocks.size(); ++b)
    for (std::size_t at = 0; at < blocks[b].count; at += kRun)
      runs.push_back({b, at, std::min(kRun, blocks[b].count - at)});
  lanes.run(runs.size(), [&](std::size_t i, int) {
    const Run& run = runs[i];
    const std::size_t offset = blocks[run.block].offset + run.offset;
    momentum_update(coefficients[run.block], step.directions[run.block].subspan(run.offset, run.count),
                    std::span(state.momentum).subspan(offset, run.count),
                    std::span(state.parameters).subspan(offset, run.count));
  });
}

// running <- 0.9 running + 0.1 batch (PyTorch's momentum 0.1); the batch's is the mean over micro-batches.
void update_statistics(const Workload& w, const StepComplete& step, TrainState& state) {
  const auto& blocks = w.network.blocks();
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    const Block& block = blocks[b];
    for (std::size_t i = 0; i < block.statistics_count; ++i) {
      float& running = state.statistics[block.statistics_offset + i];
      running = 0.9f * running + 0.1f * step.directions[b][block.count + i];
    }
  }
}

double cosine_of(const StepComplete& step, std::size_t blocks) {
  double product = 0, gradient = 0, direction = 0;
  for (std::size_t b = 0; b < blocks && step.gradient_squares.size() > b; ++b) {
    product += step.inner_products[b];
    gradient += step.gradient_squares[b];
    direction += step.direction_squares[b];
  }
  return gradient > 0 && direction > 0 ? product / std::sqrt(gradient * direction) : 1;
}

// The model's change of the loss; 0 where it promises no fall, so that nothing can be judged by it.
double promised(const Workload& w, const StepComplete& step, double lr, double scale) {
  StepModel sum;
  double product = 0;
  if (step.models.size() < w.network.blocks().size()) return 0;
  for (std::size_t b = 0; b < w.network.blocks().size(); ++b) {
    product += step.inner_products[b];
    const std::vector<double>& model = step.models[b];
    if (model.size() != kModelTerms) return 0;
    sum.slope += model[0], sum.vv += model[1], sum.vd += model[2], sum.dd += model[3];
  }
  const double change = predicted_change(w.spec.optimizer, lr, scale, product, sum);
  return std::isfinite(change) && change < 0 ? change : 0;
}

// Of the blocks that have curvature, those whose newest is of that step.
bool any_is_of(const Workload& w, const TrainState& state, std::uint64_t step,
               const std::function<bool(std::size_t)>& also) {
  for (std::size_t b = 0; b < state.curvature_steps.size(); ++b)
    if (w.fragments[b].floats > 0 && state.curvature_steps[b] == step && also(b)) return true;
  return false;
}

// Whether the damping that the next refresh takes is the one that directions are made with now. What a trial
// says of another one would change it again for the same reason.
bool damping_is_in_force(const Workload& w, const TrainState& state) {
  const std::uint64_t newest = std::ranges::max(state.curvature_steps);
  return newest > 0 && any_is_of(w, state, newest, [&](std::size_t b) {
           return state.curvature_lambdas[b] == state.damping.lambda;
         });
}

// The owners' word decides which refreshes count, so that all know what is in force where. Damping that
// adapts rises where every block refused: nothing is tried until a refresh takes it, and with the same one
// the next would be refused too.
void note_refresh(const Workload& w, const StepComplete& step, std::uint64_t refresh, double damping,
                  TrainState& state) {
  for (std::uint32_t b = 0; b < state.curvature_steps.size(); ++b) {
    if (step.refused[b]) continue;
    state.curvature_steps[b] = refresh;
    state.curvature_lambdas[b] = damping;
  }
  const auto any = [](std::size_t) { return true; };
  if (w.adapts_damping() && !any_is_of(w, state, refresh, any))
    state.damping.lambda = adapted_damping(w.spec.optimizer.adaptive, state.damping.lambda, -1);
}

// Judges the step before by its batch's loss now, and notes what the next one is to judge this one by.
void adapt_damping(const Workload& w, const StepComplete& step, double lr, AppliedStep& applied,
                   std::uint64_t number, TrainState& state) {
  DampingState& damping = state.damping;
  if (w.judges_damping(number) && damping.predicted < 0) {
    const double after = step.directions.back()[kJudgedLoss] / double(w.spec.batch_global);
    applied.reduction_ratio = (after - damping.loss) / damping.predicted;
    damping.lambda = adapted_damping(w.spec.optimizer.adaptive, damping.lambda, applied.reduction_ratio);
  }
  damping.predicted = damping.loss = 0;
  if (!w.tries_damping(number) || applied.left_out || !std::isfinite(applied.loss) ||
      !damping_is_in_force(w, state))
    return;
  damping.predicted = promised(w, step, lr, applied.trust_scale);
  damping.loss = applied.loss;
}

bool not_finite(const Workload& w, const StepComplete& step, Lanes& lanes) {
  std::atomic<bool> found{false};
  lanes.run(w.network.blocks().size(), [&](std::size_t b, int) {
    const std::span<const float> direction = step.directions[b];
    if (!all_finite(direction.data(), direction.size())) found = true;
  });
  return found;
}

// The host's own.
class HostVectors final : public StepVectors {
 public:
  HostVectors(const Workload& workload, const StepComplete& step, Lanes& lanes, TrainState& state)
      : workload_(workload), step_(step), lanes_(lanes), state_(state) {}
  bool overflowed() override { return not_finite(workload_, step_, lanes_); }
  void update(const UpdateCoefficients& coefficients) override {
    update_weights(workload_, step_, coefficients, lanes_, state_);
    update_statistics(workload_, step_, state_);
  }

 private:
  const Workload& workload_;
  const StepComplete& step_;
  Lanes& lanes_;
  TrainState& state_;
};

UpdateCoefficients coefficients_of(const OptimizerSpec& optimizer, double lr, double trust_scale) {
  return {.lr = static_cast<float>(lr),
          .momentum = static_cast<float>(optimizer.momentum),
          .weight_decay = static_cast<float>(optimizer.weight_decay),
          .scale = static_cast<float>(trust_scale),
          .nesterov = optimizer.nesterov};
}

std::vector<std::size_t> direction_floats(const Workload& workload) {
  std::vector<std::size_t> floats;
  for (const Block& block : workload.network.blocks()) floats.push_back(block.count + block.statistics_count);
  floats.push_back(kSummaryFloats);
  return floats;
}

}  // namespace

double learning_rate_at(const Workload& workload, std::uint64_t step) {
  return schedule_value(workload.spec.optimizer.lr, workload.epoch_after(step - 1), workload.schedule_end);
}

AppliedStep apply_step(const Workload& w, const StepComplete& step, Lanes& lanes, TrainState& state) {
  HostVectors vectors(w, step, lanes, state);
  return apply_step(w, step, vectors, state);
}

AppliedStep apply_step(const Workload& w, const StepComplete& step, StepVectors& vectors, TrainState& state) {
  const std::uint64_t number = state.step + 1;
  const double lr = learning_rate_at(w, number);
  const auto& blocks = w.network.blocks();
  const double damping = next_damping(w, state);
  AppliedStep applied;
  if (w.second_order) {
    const auto products = std::span(step.inner_products).first(blocks.size());
    applied.trust_scale = trust_region_scale(w.spec.optimizer.trust_region, lr, products);
    applied.cosine = cosine_of(step, blocks.size());
  }
  if (const std::uint64_t refresh = w.taking_effect(number); refresh != 0)
    note_refresh(w, step, refresh, refresh == number ? damping : w.damping_at(refresh), state);
  applied.left_out = may_leave_out(state.loss_scale) && vectors.overflowed();
  if (applied.left_out) {
    applied.trust_scale = 0;
    applied.cosine = 1;
    state.loss_scale = after_overflow(state.loss_scale);
  } else {
    vectors.update(coefficients_of(w.spec.optimizer, lr, applied.trust_scale));
    state.loss_scale = after_good_step(state.loss_scale);
  }
  const std::span<const float> summary = step.directions.back();
  applied.loss = summary[0] / static_cast<double>(w.spec.batch_global);
  applied.accuracy = summary[1] / static_cast<double>(w.spec.batch_global);
  if (w.adapts_damping()) adapt_damping(w, step, lr, applied, number, state);
  state.step = number;
  state.metrics = {.step = number,
                   .epoch = w.epoch_after(number),
                   .loss = applied.loss,
                   .accuracy = applied.accuracy,
                   .lr = lr,
                   .damping = w.second_order ? damping : 0,
                   .trust_scale = applied.trust_scale,
                   .refreshed = w.refreshes(number),
                   .cosine = applied.cosine,
                   .reduction_ratio = applied.reduction_ratio};
  return applied;
}

std::size_t step_record_bytes(const Workload& workload) {
  std::size_t bytes = (1 + kWordsPerBlock * workload.network.blocks().size()) * sizeof(std::uint64_t);
  for (const std::size_t floats : direction_floats(workload)) bytes += floats * sizeof(float);
  return bytes;
}

void write_step_record(const StepComplete& step, std::span<std::byte> into) {
  std::size_t at = 0;
  const auto put = [&](const void* from, std::size_t bytes) {
    SENG_CHECK(at + bytes <= into.size(), "a step of another network");
    std::memcpy(into.data() + at, from, bytes);
    at += bytes;
  };
  const std::size_t blocks = step.directions.size() - 1;
  const std::uint64_t flags = step.flags;
  put(&flags, sizeof flags);
  put(step.inner_products.data(), blocks * sizeof(double));
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::uint64_t refused = step.refused[b] ? 1 : 0;
    put(&refused, sizeof refused);
  }
  constexpr std::array<double, kModelTerms> kNone{};
  for (std::size_t b = 0; b < blocks; ++b) {
    const bool tried = b < step.models.size() && step.models[b].size() == kModelTerms;
    put(tried ? step.models[b].data() : kNone.data(), sizeof kNone);
  }
  for (const auto* squares : {&step.gradient_squares, &step.direction_squares}) {
    for (std::size_t b = 0; b < blocks; ++b) {
      const double square = b < squares->size() ? (*squares)[b] : 0;
      put(&square, sizeof square);
    }
  }
  for (const auto& direction : step.directions) put(direction.data(), direction.size_bytes());
  SENG_CHECK(at == into.size(), "a step of another network");
}

StepComplete read_step_record(const Workload& workload, std::span<const std::byte> record) {
  SENG_CHECK(record.size() == step_record_bytes(workload), "a step of another network");
  const std::size_t blocks = workload.network.blocks().size();
  std::vector<std::uint64_t> words(1 + kWordsPerBlock * blocks);
  std::memcpy(words.data(), record.data(), words.size() * sizeof(std::uint64_t));
  StepComplete step;
  step.flags = static_cast<std::uint32_t>(words[0]);
  step.inner_products.resize(blocks);
  std::memcpy(step.inner_products.data(), words.data() + 1, blocks * sizeof(double));
  for (std::size_t b = 0; b < blocks; ++b) step.refused.push_back(words[1 + blocks + b] != 0);
  for (std::size_t b = 0; b < blocks; ++b) {
    std::vector<double>& model = step.models.emplace_back(kModelTerms);
    std::memcpy(model.data(), words.data() + 1 + 2 * blocks + b * kModelTerms, kModelTerms * sizeof(double));
  }
  const std::uint64_t* squares = words.data() + 1 + (2 + kModelTerms) * blocks;
  step.gradient_squares.resize(blocks);
  step.direction_squares.resize(blocks);
  std::memcpy(step.gradient_squares.data(), squares, blocks * sizeof(double));
  std::memcpy(step.direction_squares.data(), squares + blocks, blocks * sizeof(double));
  const auto* floats = reinterpret_cast<const float*>(record.data() + words.size() * sizeof(std::uint64_t));
  for (const std::size_t count : direction_floats(workload)) {
    step.directions.emplace_back(floats, count);
    floats += count;
  }
  return step;
}

}  // namespace seng
