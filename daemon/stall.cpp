#include "daemon/stall.h"

#include <algorithm>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

// A micro-batch may take so many times the actor's mean before the actor counts as hung.
constexpr double kSlowFactor = 20;

}  // namespace

void Stall::watch(const std::vector<ActorId>& members, double now) {
  watched_.clear();
  joiners_.clear();
  for (const ActorId actor : members) watched_[actor].moved_at = now;
}

void Stall::joins(ActorId actor, double now) {
  if (!watched_.empty() && !watched_.contains(actor)) joiners_[actor].moved_at = now;
}

void Stall::joiner_heard(ActorId actor, const Progress& report, double now) {
  const auto found = joiners_.find(actor);
  if (found == joiners_.end()) return;
  Watched& w = found->second;
  if (!w.known || report.counter != w.counter) w.moved_at = now;
  w.known = true;
  w.counter = report.counter;
}

void Stall::heard(ActorId actor, const Progress& report, double now) {
  const auto found = watched_.find(actor);
  if (found == watched_.end() || found->second.parked) return;
  Watched& w = found->second;
  if (!w.known || report.activity != w.activity || report.counter != w.counter ||
      report.applied_step != w.applied_step) {
    w.moved_at = now;
  }
  w.known = true;
  w.activity = report.activity;
  w.counter = report.counter;
  w.applied_step = report.applied_step;
  w.awaits = report.awaits;
  if (report.micro_batches > 0 && report.compute_seconds > 0)
    w.mean_s = report.compute_seconds / static_cast<double>(report.micro_batches);
}

void Stall::parked(ActorId actor, double now) {
  joiners_.erase(actor);
  const auto found = watched_.find(actor);
  if (found == watched_.end()) return;
  found->second = {};
  found->second.parked = true;
  found->second.moved_at = now;
}

void Stall::silent(ActorId actor) {
  const auto found = watched_.find(actor);
  if (found != watched_.end()) found->second.known = false;
  joiners_.erase(actor);  // as everybody's, its silence is the lease's matter
}

// It has done its own part of an evaluation or a checkpoint, and waits for the others'.
bool Stall::gathers(const Watched& w) {
  return w.known && w.activity == kSaving && !w.awaits.empty();
}

std::optional<double> Stall::limit(const Watched& w) const {
  if (!w.known || gathers(w)) return std::nullopt;
  if (w.activity == kSaving) return timeouts_.save_s();
  if (w.activity != kComputing) return std::nullopt;
  if (w.mean_s <= 0) return timeouts_.compute_unknown_s();
  return std::max(timeouts_.compute_floor_s(), kSlowFactor * w.mean_s);
}

// Since when all wait, if they do: for others, or for the daemon, which waits for those who wait for others
// (they have parked behind the membership's last step, or Resume did not reach them).
std::optional<double> Stall::standstill_since() const {
  if (watched_.size() < 2) return std::nullopt;
  double since = 0;
  bool for_others = false;
  for (const auto& [actor, w] : watched_) {
    const bool waits = !w.parked && w.known && (w.activity == kWaiting || gathers(w));
    const bool rests = w.parked || (w.known && w.activity == kIdle);
    if (!waits && !rests) return std::nullopt;
    for_others = for_others || waits;
    since = std::max(since, w.moved_at);
  }
  return for_others ? std::optional(since) : std::nullopt;
}

std::optional<double> Stall::all_parked_since() const {
  if (watched_.empty()) return std::nullopt;
  double since = 0;
  for (const auto& [actor, w] : watched_) {
    if (!w.parked) return std::nullopt;
    since = std::max(since, w.moved_at);
  }
  return since;
}

// Those who gather are behind all others, who wait for them in the next step: what they wait for is the
// cause.
Stall::Verdict Stall::most_awaited() const {
  const bool gathering =
      std::ranges::any_of(watched_, [](const auto& entry) { return gathers(entry.second); });
  std::map<ActorId, int> awaited;
  for (const auto& [actor, w] : watched_) {
    awaited.try_emplace(actor, 0);
    if (gathering && !gathers(w)) continue;
    for (const ActorId other : w.awaits) {
      if (other != actor && watched_.contains(other)) ++awaited[other];
    }
  }
  ActorId most = kNoActor;
  for (const auto& [actor, count] : awaited) {
    if (most == kNoActor || count >= awaited[most]) most = actor;
  }
  return {most, fmt::format("is awaited by {} of {}, and none of them makes progress", awaited[most],
                            counted(watched_.size(), "actor"))};
}

std::optional<Stall::Verdict> Stall::check(double now) const {
  for (const auto& [actor, w] : watched_) {
    const auto most = limit(w);
    if (!most || now < w.moved_at + *most) continue;
    return Verdict{
        actor, fmt::format("has been {} for {:.1f} s without progress",
                           w.activity == kSaving ? "saving or evaluating" : "computing", now - w.moved_at)};
  }
  const auto since = standstill_since();
  if (since && now >= *since + timeouts_.standstill_s()) return most_awaited();
  const auto parked = all_parked_since();
  for (const auto& [actor, w] : joiners_) {
    if (!parked || now < std::max(*parked, w.moved_at) + timeouts_.standstill_s()) continue;
    return Verdict{actor,
                   fmt::format("does not come to the group's last step: nothing came to it for {:.1f} s",
                               now - std::max(*parked, w.moved_at))};
  }
  return std::nullopt;
}

std::optional<double> Stall::deadline() const {
  std::optional<double> out;
  const auto take = [&](double due) { out = std::min(out.value_or(due), due); };
  for (const auto& [actor, w] : watched_) {
    if (const auto most = limit(w)) take(w.moved_at + *most);
  }
  if (const auto since = standstill_since()) take(*since + timeouts_.standstill_s());
  if (const auto parked = all_parked_since()) {
    for (const auto& [actor, w] : joiners_) take(std::max(*parked, w.moved_at) + timeouts_.standstill_s());
  }
  return out;
}

}  // namespace seng
