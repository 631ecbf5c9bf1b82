#include "daemon/warm_up.h"

#include <algorithm>
#include <utility>

namespace seng {

std::uint64_t WarmUps::begin(const std::vector<ActorId>& newcomers, double now) {
  over();
  for (const ActorId actor : newcomers) newcomers_[actor].stalls_at = now + timeouts_.warm_up_stall_s();
  ends_at_ = now + timeouts_.warm_up_s();
  return ++number_;
}

void WarmUps::over() {
  newcomers_.clear();
  former_ = false;
}

bool WarmUps::finish(ActorId actor) {
  const auto found = newcomers_.find(actor);
  if (found == newcomers_.end()) return false;
  return std::exchange(found->second.state, State::kDone) == State::kWarming;
}

bool WarmUps::said(ActorId actor, std::uint64_t number) {
  return number == number_ && finish(actor);
}

void WarmUps::heard(ActorId actor, std::uint64_t counter, bool waits, double now) {
  const auto found = newcomers_.find(actor);
  if (found == newcomers_.end() || (found->second.counter == counter && !waits)) return;
  found->second.counter = counter;
  found->second.stalls_at = now + timeouts_.warm_up_stall_s();
}

std::vector<ActorId> WarmUps::expire(double now) {
  std::vector<ActorId> out;
  for (const auto& [actor, newcomer] : newcomers_) {
    if (now >= std::min(newcomer.stalls_at, ends_at_) && finish(actor)) out.push_back(actor);
  }
  return out;
}

std::vector<ActorId> WarmUps::newcomers() const {
  std::vector<ActorId> out;
  for (const auto& [actor, newcomer] : newcomers_) out.push_back(actor);
  return out;
}

bool WarmUps::done(ActorId actor) const {
  const auto found = newcomers_.find(actor);
  return found != newcomers_.end() && found->second.state == State::kDone;
}

std::optional<double> WarmUps::deadline() const {
  std::optional<double> out;
  for (const auto& [actor, newcomer] : newcomers_) {
    if (newcomer.state == State::kDone) continue;
    const double due = std::min(newcomer.stalls_at, ends_at_);
    out = std::min(out.value_or(due), due);
  }
  return out;
}

}  // namespace seng
