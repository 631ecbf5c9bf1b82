#include "actors/resident_step.h"

#include <algorithm>

#include "actors/exchange/sum_pieces.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr std::size_t kRunOfDots = std::size_t{1} << 16;  // as inner_product() of actors/optim/update.h

// What inner_product() comes to, or without runs dot(): both add parts of kDotFloats in double.
double add_parts(std::span<const DotParts> parts, double DotParts::*of, bool in_runs) {
  constexpr std::size_t kParts = kRunOfDots / kDotFloats;
  double all = 0;
  for (std::size_t first = 0; first < parts.size();) {
    const std::size_t count = in_runs ? std::min(kParts, parts.size() - first) : parts.size();
    double run = 0;
    for (const DotParts& part : parts.subspan(first, count)) run += part.*of;
    all += run;
    first += count;
  }
  return all;
}

}  // namespace

bool may_be_resident(const Workload& workload, int lanes) {
  return lanes == 1 && workload.spec.optimizer.name != "lars" && !workload.adapts_damping();
}

int held_sums(const Workload& workload, int lanes) {
  const int held = sums_held(largest_piece(workload.spec.micro_batches(), lanes));
  return may_be_resident(workload, lanes) ? std::max(held, 1) : held;
}

std::unique_ptr<ResidentStep> ResidentStep::create(const Workload& workload, std::vector<Replica>& replicas) {
  if (replicas.size() != 1 || !may_be_resident(workload, 1)) return nullptr;
  auto resident = replicas.front().plan_resident_state(sums_held(workload.spec.micro_batches()));
  if (!resident) return nullptr;
  return std::unique_ptr<ResidentStep>(new ResidentStep(workload, replicas.front(), std::move(resident)));
}

ResidentStep::ResidentStep(const Workload& workload, Replica& replica,
                           std::unique_ptr<ResidentState> resident)
    : workload_(workload),
      replica_(replica),
      resident_(std::move(resident)),
      additions_(additions_after(workload.spec.micro_batches())) {}

void ResidentStep::take_there(const TrainState& state) {
  if (there_) return;
  resident_->put(state.parameters, state.momentum, state.statistics);
  there_ = true;
}

void ResidentStep::bring_home(TrainState& state) {
  if (home_) return;
  resident_->get(state.parameters, state.momentum, state.statistics);
  home_ = true;
}

void ResidentStep::leave() {
  SENG_CHECK(home_, "the newest state was left on the GPU");
  there_ = false;
  directions_pass_.reset();
  in_force_.clear();
}

void ResidentStep::begin() {
  SENG_CHECK(there_, "a step of a state that is the host's");
  replica_.load(*resident_);
  replica_.begin_sum(additions_, Replica::SumGoes::kStays);
  summaries_.clear();
  summed_ = 0;
}

// Along the tree that the exchange adds them along.
void ResidentStep::add_summary(const std::array<float, kSummaryFloats>& summary) {
  summaries_.push_back(summary);
  for (std::size_t additions = additions_.at(summed_++); additions > 0; --additions) {
    const std::array<float, kSummaryFloats> right = summaries_.back();
    summaries_.pop_back();
    for (std::size_t i = 0; i < right.size(); ++i) summaries_.back()[i] += right[i];
  }
}

StepComplete ResidentStep::finish(TrainState& state, double damping, Lanes& lanes,
                                  const std::function<void()>& directed) {
  SENG_CHECK(summed_ == additions_.size() && summaries_.size() == 1, "a sum of some of the micro-batches");
  const std::size_t blocks = workload_.network.blocks().size();
  float* sum = replica_.held_sum();
  resident_->divide(sum, static_cast<float>(workload_.spec.batch_global),
                    static_cast<float>(workload_.spec.micro_batches()));
  StepComplete step;
  step.refused.assign(blocks, false);
  step.inner_products.assign(blocks, 0);
  step.gradient_squares.assign(blocks, 0);
  step.direction_squares.assign(blocks, 0);
  step.directions.assign(blocks, {});
  step.directions.emplace_back(summaries_.front());
  directions_ = sum;
  if (!workload_.second_order) return step;
  direct(state, damping, lanes, directed);
  add_dots(step);
  return step;
}

// The samples' own stream goes on where the replica's has ended, and the other way about.
void ResidentStep::direct(TrainState& state, double damping, Lanes& lanes,
                          const std::function<void()>& directed) {
  const auto& blocks = workload_.network.blocks();
  std::vector<Curvature::InForce> now;
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    now.push_back(state.curvature.at(b).form_there(damping, lanes));
    directed();
  }
  if (now != in_force_) directions_pass_.reset();
  in_force_ = std::move(now);
  const float* gradients = replica_.held_sum();
  directions_ = resident_->directions();
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    if (in_force_[b].made != nullptr) continue;
    const std::size_t at = replica_.held_gradient(b);
    resident_->scale(gradients + at, static_cast<float>(1.0 / (1.0 + in_force_[b].scaling)),
                     resident_->directions() + at, blocks[b].count);
  }
  replica_.wait();
  const std::lock_guard lock(workload_.sample_device->mutex);  // what is formed beside waits for it, not it
  precondition(state);
  workload_.sample_device->wait();
}

// The same calls until curvature is renewed, so that the GPU has them as one piece of work. With the device's
// mutex held: nobody else may use it while they are captured.
void ResidentStep::precondition(TrainState& state) {
  const auto calls = [this, &state] {
    for (std::uint32_t b = 0; b < in_force_.size(); ++b) {
      const std::size_t at = replica_.held_gradient(b);
      if (in_force_[b].made != nullptr)
        state.curvature.at(b).precondition_there(replica_.held_sum() + at, resident_->directions() + at);
    }
  };
  if (workload_.spec.engine_graphs != "auto") return calls();
  if (!directions_pass_) directions_pass_ = workload_.sample_device->backend->record(calls);
  directions_pass_->run();
}

void ResidentStep::add_dots(StepComplete& step) {
  const auto& blocks = workload_.network.blocks();
  std::span<const DotParts> parts = resident_->dots(replica_.held_sum(), directions_);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const auto own = parts.first((blocks[b].count + kDotFloats - 1) / kDotFloats);
    parts = parts.subspan(own.size());
    step.inner_products[b] = add_parts(own, &DotParts::gd, in_force_[b].made != nullptr);
    step.gradient_squares[b] = add_parts(own, &DotParts::gg, true);
    step.direction_squares[b] = add_parts(own, &DotParts::dd, true);
  }
}

bool ResidentStep::overflowed() {
  return !resident_->finite(directions_, replica_.held_sum());
}

void ResidentStep::update(const UpdateCoefficients& coefficients) {
  resident_->update(coefficients, directions_, replica_.held_sum());
  home_ = false;
}

}  // namespace seng
