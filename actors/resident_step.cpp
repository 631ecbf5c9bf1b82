#include "actors/resident_step.h"

#include <numeric>

#include "actors/exchange/sum_pieces.h"
#include "protocol/base/error.h"

namespace seng {

ResidentStep::ResidentStep(const Workload& workload, ResidentHome& home, ResidentDirections& directions)
    : home_(home),
      directions_(directions),
      additions_(additions_after(workload.spec.micro_batches())),
      blocks_(workload.network.blocks().size()) {
  home_.replica().make_room_for_sums(sums_held(workload.spec.micro_batches()));
  std::iota(blocks_.begin(), blocks_.end(), 0u);
}

void ResidentStep::begin() {
  home_.load();
  home_.replica().begin_sum(additions_, Replica::SumGoes::kStays);
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
  StepComplete step;
  step.refused.assign(blocks_.size(), false);
  step.inner_products.assign(blocks_.size(), 0);
  step.gradient_squares.assign(blocks_.size(), 0);
  step.direction_squares.assign(blocks_.size(), 0);
  step.directions.assign(blocks_.size(), {});
  step.directions.emplace_back(summaries_.front());
  const auto products =
      directions_.form(state, home_.replica().held_sum(), blocks_, damping, lanes, directed);
  for (std::size_t b = 0; b < products.size(); ++b) {
    step.inner_products[b] = products[b].gd;
    step.gradient_squares[b] = products[b].gg;
    step.direction_squares[b] = products[b].dd;
  }
  return step;
}

bool ResidentStep::overflowed() {
  return !home_.vectors().finite(directions_.vector(), home_.replica().held_sum());
}

void ResidentStep::update(const UpdateCoefficients& coefficients) {
  home_.vectors().update(coefficients, directions_.vector(), home_.replica().held_sum());
  home_.changed();
}

}  // namespace seng
