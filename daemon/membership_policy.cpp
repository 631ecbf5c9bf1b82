#include "daemon/membership_policy.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

using Phase = GroupEpochs::Phase;
namespace a = membership_action;

// An actor that lives shorter died "soon after its start", in leases.
constexpr double kQuickLeases = 10;

const ActorView* find(const GroupView& view, ActorId actor) {
  const auto found =
      std::find_if(view.actors.begin(), view.actors.end(), [&](const auto& v) { return v.actor == actor; });
  return found == view.actors.end() ? nullptr : &*found;
}

bool here(const GroupView& view, ActorId actor) {
  const ActorView* v = find(view, actor);
  return v != nullptr && v->prepared && !v->silent_since;
}

bool contains(const std::vector<ActorId>& list, ActorId actor) {
  return std::find(list.begin(), list.end(), actor) != list.end();
}

std::vector<ActorId> those_here(const GroupView& view, const std::vector<ActorId>& list) {
  std::vector<ActorId> out;
  std::copy_if(list.begin(), list.end(), std::back_inserter(out),
               [&](ActorId actor) { return here(view, actor); });
  return out;
}

bool takes_part(const GroupView& view, ActorId actor) {
  return contains(view.members, actor) || contains(view.leavers, actor);
}

// The group has gone on without it, and a newcomer that is here has followed the group to what it does not
// know.
bool overtaken(const GroupView& view, const ActorView& holder) {
  if (takes_part(view, holder.actor)) return false;
  return std::ranges::any_of(view.actors, [&](const ActorView& v) {
    if (!v.follows_state || v.holds_state || !here(view, v.actor)) return false;
    // Nobody waits for a silent one that knows no more.
    return v.step > holder.step || (holder.silent_since && v.step == holder.step);
  });
}

// Who serves newcomers: the leader has most to do already, and a drained one is to leave.
ActorId source_of(const GroupView& view) {
  for (auto actor = view.members.rbegin(); actor != view.members.rend(); ++actor) {
    const ActorView* v = find(view, *actor);
    if (v != nullptr && !v->draining) return *actor;
  }
  return view.members.back();
}

}  // namespace

std::uint32_t MembershipPolicy::staying(const GroupView& view) {
  return static_cast<std::uint32_t>(
      std::count_if(view.actors.begin(), view.actors.end(),
                    [&](const ActorView& v) { return !v.draining && !contains(view.leavers, v.actor); }));
}

void MembershipPolicy::lost(const Loss& loss, double now) {
  last_cause_ = loss.cause;
  if (loss.in_vain || (!loss.trained && loss.why == Loss::Why::kSaidSo)) fatal_ = loss.cause;
  if (!loss.trained && loss.why != Loss::Why::kKilled) {
    ++given_up_;
    return;
  }
  ++debt_;
  const bool at_once = !loss.committed && loss.lived_s < kQuickLeases * options_.timeouts.lease_s;
  quick_ = at_once ? quick_ + 1 : 0;
  if (quick_ < 2) return;  // the first may be anybody's fault
  const double pause = options_.timeouts.lease_s * std::exp2(std::min(quick_ - 1, 16u));
  not_before_ = now + std::min(pause, options_.timeouts.max_back_off_s());
}

std::uint32_t MembershipPolicy::restarts_left(double now) const {
  const auto recent = std::count_if(restarts_.begin(), restarts_.end(),
                                    [&](double at) { return at > now - options_.restart_window_s; });
  const auto used = static_cast<std::uint32_t>(recent);
  return used >= options_.restarts_max ? 0 : options_.restarts_max - used;
}

std::uint32_t MembershipPolicy::replaceable(double now) const {
  return now < not_before_ ? 0 : std::min(debt_, restarts_left(now));
}

std::uint32_t MembershipPolicy::wants(const GroupView& view, double now) const {
  if (view.stopping || !fatal_.empty()) return 0;
  const std::uint32_t held = staying(view) + given_up_, most = std::min(view.max, view.limit);
  if (held >= most) return 0;
  const std::uint32_t missing = most - held, lost = std::min(debt_, missing);
  // While the group does not train it waits for nobody but replacements, and for those without whom it
  // cannot.
  std::uint32_t growth = view.phase == Phase::kTraining ? missing - lost : 0;
  if (growth == 0 && debt_ == 0 && view.phase != Phase::kIdle && held < view.min)
    growth = std::min(missing, view.min - held);
  // Where lost ones may not be replaced now, growth would replace them.
  if (lost > replaceable(now)) growth = 0;
  return growth + std::min(lost, replaceable(now));
}

std::uint32_t MembershipPolicy::started(std::uint32_t count, const GroupView& view, double now) {
  const std::uint32_t held = staying(view) + given_up_;
  const std::uint32_t missing = view.max > held ? view.max - held : 0;
  debt_ = std::min(debt_, missing);
  const std::uint32_t restarts = std::min({count, debt_, restarts_left(now)});
  debt_ -= restarts;
  for (std::uint32_t i = 0; i < restarts; ++i) restarts_.push_back(now);
  while (restarts_.size() > options_.restarts_max) restarts_.pop_front();
  return restarts;
}

// What the account of losses says; true: the job cannot go on.
bool MembershipPolicy::account(const GroupView& view, double now, Actions& out) {
  if (view.trained) debt_ += std::exchange(given_up_, 0);
  const std::uint32_t held = staying(view);
  debt_ = std::min(debt_, view.max > held ? view.max - held : 0);
  if (!fatal_.empty()) {
    out.push_back(a::GiveUp{fatal_});
    return true;
  }
  if (!view.trained && given_up_ > 0 && held < view.min) {
    out.push_back(a::GiveUp{last_cause_});
    return true;
  }
  if (debt_ == 0 || restarts_left(now) > 0 || view.stopping) {
    exhausted_ = exhausted_ && debt_ > 0;
    return false;
  }
  const std::string said =
      fmt::format("{} within {:g} s {} used up", counted(options_.restarts_max, "restart"),
                  options_.restart_window_s, options_.restarts_max == 1 ? "is" : "are");
  if (held < view.min) {
    out.push_back(a::GiveUp{fmt::format("{}; the last loss: {}", said, last_cause_)});
    return true;
  }
  if (!exhausted_) {
    out.push_back(a::Note{"RestartsExhausted", fmt::format("{}: {} go{} on", said, counted(held, "actor"),
                                                           held == 1 ? "es" : "")});
  }
  exhausted_ = true;
  return false;
}

// No member is left, or none that holds the state, or there was none yet.
void MembershipPolicy::decide_anew(const GroupView& view, Actions& out) const {
  std::vector<ActorId> with_state, without, passed;
  bool silent_state = false, starting = false;
  for (const ActorView& v : view.actors) {
    const bool stale = v.holds_state && overtaken(view, v);
    silent_state = silent_state || (v.silent_since && v.holds_state && !stale);
    starting = starting || (!v.prepared && !v.draining);
    if (here(view, v.actor)) (stale ? passed : v.holds_state ? with_state : without).push_back(v.actor);
  }
  // Those that were overtaken come later, as newcomers: their state would come first. And should a piece of
  // the other one be missing, theirs is still whole.
  if (with_state.empty()) {
    if (silent_state && passed.empty()) return;
    // Newcomers that have followed the group to a step of its own: better than a checkpoint. If theirs is
    // behind the newest one they show it when they park, and the group restores after all.
    const auto follows = [&](ActorId actor) { return find(view, actor)->follows_state; };
    std::ranges::copy_if(without, std::back_inserter(with_state), follows);
    std::erase_if(without, follows);
  }
  if (with_state.empty()) {
    if (view.stopping) {
      out.push_back(a::StopNow{"its last actor was lost before it had stopped"});
      return;
    }
    // Those who are in a group already do not wait for more.
    if (those_here(view, view.members).empty() && (starting || without.size() < view.min)) return;
  }
  with_state.insert(with_state.end(), without.begin(), without.end());
  if (with_state.size() > view.max) with_state.resize(view.max);
  out.push_back(a::Begin{std::move(with_state), {}, false});
}

// Ends those above the limit that are in no membership, the newest first. Returns how many members are to
// leave besides.
std::uint32_t MembershipPolicy::dismiss_surplus(const GroupView& view, Actions& out) const {
  const std::uint32_t most = std::max(1u, std::min(view.max, view.limit)), held = staying(view);
  std::uint32_t surplus = held > most ? held - most : 0;
  for (auto v = view.actors.rbegin(); v != view.actors.rend(); ++v) {
    if (takes_part(view, v->actor)) continue;
    if (!v->draining && surplus == 0) continue;
    if (!v->draining) --surplus;
    out.push_back(a::Dismiss{v->actor});
  }
  return surplus;
}

// The members with these newcomers, without those who leave. `starting`: others are still to come.
a::Begin MembershipPolicy::next_group(const GroupView& view, const std::vector<ActorId>& newcomers,
                                      bool starting, std::uint32_t surplus) const {
  a::Begin next{view.members, {}, true};
  next.members.insert(next.members.end(), newcomers.begin(), newcomers.end());
  const auto leave = [&](ActorId actor) {
    std::erase(next.members, actor);
    next.leavers.push_back(actor);
  };
  // A drained one goes when its replacement is here, or where none can come before it has gone.
  std::size_t replacements = newcomers.size();
  for (const ActorView& v : view.actors) {
    if (!v.draining || !contains(view.members, v.actor)) continue;
    if (next.members.size() <= std::max(1u, view.min) || (starting && replacements == 0)) continue;
    if (replacements > 0) --replacements;
    leave(v.actor);
  }
  for (auto v = view.actors.rbegin(); v != view.actors.rend() && surplus > 0; ++v) {
    if (v->draining || v->actor == view.members.front() || !contains(next.members, v->actor)) continue;
    if (next.members.size() <= 1) break;
    leave(v->actor);
    --surplus;
  }
  return next;
}

void MembershipPolicy::decide_planned(const GroupView& view, Actions& out) const {
  const std::uint32_t surplus = dismiss_surplus(view, out);
  if (view.phase != Phase::kTraining) return;
  std::set<ActorId> dismissed;
  for (const auto& action : out) {
    if (const auto* d = std::get_if<a::Dismiss>(&action)) dismissed.insert(d->actor);
  }
  std::vector<ActorId> newcomers;
  bool starting = false, cold = false, untold = false;
  for (const ActorView& v : view.actors) {
    if (takes_part(view, v.actor) || dismissed.contains(v.actor)) continue;
    starting = starting || !v.prepared;
    if (!here(view, v.actor)) continue;
    newcomers.push_back(v.actor);
    cold = cold || !v.warm;
    untold = untold || (!v.warm && !contains(view.warming, v.actor));
  }
  a::Begin next = next_group(view, newcomers, starting, surplus);
  if (untold || (newcomers.empty() && (!view.warming.empty() || view.former_warm_up)))
    out.push_back(a::WarmUp{newcomers, source_of(view), next.members});
  // Those that catch up are still to come; who leaves does not wait for them.
  if (cold) {
    newcomers.clear();
    starting = true;
    next = next_group(view, newcomers, starting, surplus);
  }
  // Who is starting changes the ranges soon.
  const bool only_ranges = view.uneven && !starting;
  if (!newcomers.empty() || !next.leavers.empty() || only_ranges) out.push_back(std::move(next));
}

std::vector<MembershipAction> MembershipPolicy::decide(const GroupView& view, double now) {
  Actions out;
  if (account(view, now, out)) return out;
  for (const ActorView& v : view.actors) {
    if (v.silent_since && now >= *v.silent_since + options_.timeouts.rejoin_s()) {
      out.push_back(a::Kill{v.actor, fmt::format("was silent for {:g} s", now - *v.silent_since)});
    }
  }
  if (!out.empty()) return out;  // and then look again
  const std::vector<ActorId> members = those_here(view, view.members);
  const std::vector<ActorId> leavers = those_here(view, view.leavers);
  const bool whole = members.size() == view.members.size() && leavers.size() == view.leavers.size();
  const bool broken = view.phase == Phase::kBroken || !whole;
  const auto holds = [&](ActorId actor) { return find(view, actor)->holds_state; };
  const bool held = std::any_of(members.begin(), members.end(), holds) ||
                    std::any_of(leavers.begin(), leavers.end(), holds);
  if (view.phase == Phase::kIdle || members.empty() || (broken && !held)) {
    if (!view.stopping) dismiss_surplus(view, out);
    if (out.empty()) decide_anew(view, out);
    return out;
  }
  if (broken || (view.try_again && view.phase == Phase::kTraining)) {
    out.push_back(a::Begin{members, leavers, false});
  } else if (!view.stopping) {
    decide_planned(view, out);
  }
  return out;
}

std::string MembershipPolicy::shortfall(const GroupView& view, double now) const {
  if (debt_ == 0 || view.stopping) return "";
  if (restarts_left(now) == 0) {
    if (options_.restarts_max == 0) return "it has no restarts (restart.max is 0)";
    return fmt::format("{} within {:g} s {} used up, the next is possible in {:.0f} s",
                       counted(options_.restarts_max, "restart"), options_.restart_window_s,
                       options_.restarts_max == 1 ? "is" : "are",
                       restarts_.front() + options_.restart_window_s - now);
  }
  if (now >= not_before_) return "";
  return fmt::format("actors died soon after their start, the next one starts in {:.0f} s",
                     not_before_ - now);
}

std::optional<double> MembershipPolicy::deadline(const GroupView& view, double now) const {
  std::optional<double> out;
  const auto take = [&](double due) { out = std::min(out.value_or(due), due); };
  if (debt_ > 0 && !view.stopping) {
    if (not_before_ > now) take(not_before_);
    if (restarts_left(now) == 0 && !restarts_.empty()) take(restarts_.front() + options_.restart_window_s);
  }
  for (const ActorView& v : view.actors) {
    if (v.silent_since) take(*v.silent_since + options_.timeouts.rejoin_s());
  }
  return out;
}

}  // namespace seng
