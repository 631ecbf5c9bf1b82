#include "daemon/tuning.h"

#include <algorithm>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {

std::optional<ActorId> Tuning::ask(const std::vector<ActorId>& able) {
  if (state_ != State::kWanted) return std::nullopt;
  if (at_it_ && std::ranges::find(able, *at_it_) != able.end()) return std::nullopt;
  at_it_ = able.empty() ? std::nullopt : std::optional(able.front());
  if (at_it_) asked_.insert(*at_it_);
  return at_it_;
}

bool Tuning::measured(ActorId actor) {
  if (state_ != State::kWanted || !asked_.contains(actor)) return false;
  state_ = State::kMeasured;
  return true;
}

TuningRecord tuning_of(const JobPlan& plan) {
  TuningRecord out;
  if (!plan.tune || plan.choices.empty()) return out;
  out.choices = plan.choices;
  out.device = plan.choices.substr(0, plan.choices.find(';'));
  out.count = static_cast<std::uint32_t>(std::ranges::count(plan.choices, ';'));
  return out;
}

std::string tuning_text(const TuningRecord& tuning) {
  const double gained = tuning.expected_ms > 0 ? 1 - tuning.chosen_ms / tuning.expected_ms : 0;
  return fmt::format(
      "{} for {}: a micro-batch's convolutions take {:.3f} ms, by the library's own expectation "
      "{:.3f} "
      "ms ({:.1f} % less); {} measured in {:.1f} s",
      counted(tuning.count, "choice"), tuning.device, tuning.chosen_ms, tuning.expected_ms, 100 * gained,
      tuning.candidates == 1 ? "1 candidate was" : fmt::format("{} candidates were", tuning.candidates),
      tuning.seconds);
}

}  // namespace seng
