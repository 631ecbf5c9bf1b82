// JobRun: its memberships, from start to end, and those of a daemon before.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "daemon/job_run.h"
#include "daemon/recovery.h"
#include "protocol/base/log.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

// The job has restored from that step: newer checkpoints were refused and count no more. The record names the
// newest that is left.
void drop_refused(Store& store, std::uint64_t base_step, const std::string& directory, JobRecord& record) {
  const auto stored = store.checkpoints(record.id);
  store.drop_checkpoints_after(record.id, base_step);
  if (!stored || stored->empty() || stored->back().step <= base_step) return;
  const auto refused = std::ranges::upper_bound(*stored, base_step, {}, &StoredCheckpoint::step);
  const StoredCheckpoint left = refused == stored->begin() ? StoredCheckpoint{} : *std::prev(refused);
  record.checkpoint = left.path.empty() ? "" : place_now(left.path, directory);
  record.weights_sha256 = left.weights_sha256;
  record.state_sha256 = left.state_sha256;
}

}  // namespace

GroupView JobRun::view() const {
  GroupView out;
  out.phase = group_.phase();
  for (const Member& m : group_.members()) out.members.push_back(m.actor);
  for (const Member& m : group_.leavers()) out.leavers.push_back(m.actor);
  for (const auto& [actor, a] : actors_) {
    // One that exited in peace may have said Finished: its word is waited for.
    const auto& exit = a.life.exit_status();
    const bool parts = a.life.state() == ActorState::kParting && *exit == ExitStatus{false, 0};
    if (!a.life.serves() && !parts) continue;
    out.actors.push_back({actor, a.life.prepared() || parts, group_.holds_state(actor), a.draining,
                          warm_ups_.done(actor), a.silent_since, group_.follows_state(actor), a.record.step});
  }
  out.trained = job_.state() == JobState::kRunning;
  out.stopping = job_.stopping();
  out.min = record_.actors_min;
  out.max = record_.actors_max;
  out.limit = limit_;
  out.warming = warm_ups_.newcomers();
  out.former_warm_up = warm_ups_.former();
  out.uneven = speed_.uneven(ports_.clock.now());
  out.try_again = last_checkpoint_.wanted();
  return out;
}

JobDemand JobRun::demand() const {
  JobDemand out;
  out.job = record_.id;
  out.min = record_.actors_min;
  out.max = record_.actors_max;
  out.memory_per_actor = plan_.memory_per_actor;
  out.priority = plan_.priority;
  out.mixed = plan_.mixed_devices;
  out.kind = record_.device_kind;
  out.runs = job_.runs();
  out.leaves = job_.stopping();
  if (!out.runs) return out;
  GroupView now = view();
  out.holds = MembershipPolicy::staying(now);
  now.limit = 0xffffffffu;  // which only lasts as long as the scheduler says it
  out.wants = adoption_ ? 0 : policy_.wants(now, ports_.clock.now());
  return out;
}

// A heartbeat seldom changes what is to be decided, and what there is to look at grows with the actors: those
// of many are looked at together.
bool JobRun::steered() const {
  return quiet_ && !last_checkpoint_.wanted() &&
         ports_.clock.now() < steered_at_ + options_.timeouts.steer_s();
}

bool JobRun::calm() const {
  return !job_.runs() || (quiet_ && !adoption_ && group_.phase() == GroupEpochs::Phase::kTraining);
}

void JobRun::steer() {
  drain();
  if (steered()) return;
  tune();
  for (int rounds = 0; rounds < 100 && job_.runs() && !adoption_; ++rounds) {
    const auto actions = policy_.decide(view(), ports_.clock.now());
    if (actions.empty()) break;
    for (const MembershipAction& action : actions) {
      pending_.push_back([this, action] { std::visit([&](const auto& it) { act(it); }, action); });
    }
    drain();
  }
  quiet_ = true;
  steered_at_ = ports_.clock.now();
  const bool runs = job_.runs() && !adoption_;
  policy_due_ = runs ? policy_.deadline(view(), ports_.clock.now()) : std::nullopt;
  if (runs) explain_wait();
}

// A running job that has nobody who trains says so.
void JobRun::explain_wait() {
  if (job_.state() != JobState::kRunning || job_.stopping()) return;
  const GroupView now = view();
  const bool nobody = std::none_of(now.actors.begin(), now.actors.end(), [&](const ActorView& v) {
    return v.prepared && !v.silent_since && group_.takes_part(v.actor);
  });
  if (!nobody) return;
  const bool silent = std::any_of(now.actors.begin(), now.actors.end(),
                                  [](const ActorView& v) { return v.silent_since && v.holds_state; });
  const std::string why = silent ? "nothing is heard of its actors: waits for them, then resumes without them"
                          : record_.checkpoint.empty()
                              ? "every actor was lost: new ones start it again, it has no checkpoint yet"
                              : "every actor was lost: it resumes from its newest checkpoint";
  if (record_.reason == why) return;
  record_.reason = why;
  event(Severity::kWarning, "Resuming", why);
  changed();
}

std::string JobRun::shortfall() const {
  if (adoption_) {
    const auto heard = std::ranges::count_if(
        actors_, [](const auto& entry) { return entry.second.first_hello.has_value(); });
    return fmt::format("sengd was started anew and has heard {} of {} so far", heard,
                       counted(actors_.size(), "actor"));
  }
  const std::size_t has = group_.members().size();
  if (job_.state() != JobState::kRunning || job_.stopping() || has >= record_.actors_max) return "";
  const GroupView now = view();
  const auto to_come = std::count_if(now.actors.begin(), now.actors.end(), [&](const ActorView& v) {
    return group_.member(v.actor) == nullptr && !v.silent_since;
  });
  std::vector<std::string> why;
  if (to_come > 0) why.push_back(fmt::format("{} starting or joining", to_come));
  if (limited_for_ != 0 && limit_ < record_.actors_max)
    why.push_back(fmt::format("job {} needs slots", limited_for_));
  if (const std::string said = policy_.shortfall(now, ports_.clock.now()); !said.empty()) why.push_back(said);
  if (why.empty()) return lacks_;
  return fmt::format("{} of at most {}: {}", has, counted(record_.actors_max, "actor"), fmt::join(why, "; "));
}

std::vector<Member> JobRun::to_members(const std::vector<ActorId>& actors) const {
  std::vector<Member> out;
  for (const ActorId actor : actors) {
    const Actor& a = actors_.at(actor);
    Member m;
    m.actor = actor;
    m.node = a.record.node;
    m.endpoint = a.record.endpoint;
    m.state_endpoint = a.state_endpoint;
    m.link = a.link;
    out.push_back(std::move(m));
  }
  return out;
}

void JobRun::act(const membership_action::Begin& action) {
  if (!job_.runs()) return;
  std::vector<Member> members = to_members(action.members);
  std::vector<ActorId> before;
  for (const Member& m : group_.members()) before.push_back(m.actor);
  const bool rebalances = action.planned && action.leavers.empty() && action.members == before;
  const auto sizes = speed_.sizes(shares(members));
  const std::uint64_t checkpoint = checkpoints_.empty() ? 0 : checkpoints_.rbegin()->first;
  tell_group(epoch_event::Begin{std::move(members), to_members(action.leavers), action.planned, false, sizes,
                                checkpoint});
  last_checkpoint_.tried();
  if (!rebalances) return;
  speed_.rebalanced(ports_.clock.now());
  event(Severity::kInfo, "Rebalanced", shares_text());
}

std::vector<Speed::Share> JobRun::shares(const std::vector<Member>& members) const {
  std::vector<Speed::Share> out;
  for (const Member& m : members) {
    const auto found = actors_.find(m.actor);
    out.push_back({m.actor, found == actors_.end() ? 1 : found->second.lanes, m.last_micro - m.first_micro});
  }
  return out;
}

std::string JobRun::shares_text() const {
  std::string out;
  for (const Member& m : group_.members()) {
    const double seconds = speed_.micro_seconds(m.actor).value_or(0);
    out +=
        fmt::format("{}actor {}: [{}, {}) at {:.3g} ms each", out.empty() ? "micro-batches by speed: " : ", ",
                    m.actor, m.first_micro, m.last_micro, 1e3 * seconds);
  }
  return out;
}

void JobRun::act(const membership_action::Dismiss& action) {
  event(Severity::kInfo, "ActorDismissed", "it is not needed", action.actor);
  tell(action.actor, actor_event::Terminate{});
  observer_.slots_freed();
}

void JobRun::act(const membership_action::Kill& action) {
  tell(action.actor, actor_event::Kill{});
  lose(action.actor, MembershipPolicy::Loss::Why::kKilled,
       fmt::format("actor {} {} and was killed; log: {}", action.actor, action.why,
                   actors_.at(action.actor).record.log_path));
}

void JobRun::act(const membership_action::GiveUp& action) {
  std::string reason = action.reason;
  if (!record_.checkpoint.empty())
    reason += fmt::format("; `sengctl submit --resume {}` goes on from its checkpoint", record_.id);
  tell_job(job_event::GivenUp{reason});
}

void JobRun::act(const membership_action::StopNow& action) {
  tell_job(job_event::StopTimedOut{action.why});
}

void JobRun::act(const membership_action::Note& action) {
  event(Severity::kWarning, action.kind, action.text);
}

void JobRun::lose(ActorId actor, MembershipPolicy::Loss::Why why, const std::string& cause) {
  if (!job_.runs()) return;
  event(Severity::kWarning, "ActorLost", cause, actor);
  stall_.lost(actor);
  tell_group(epoch_event::Lost{actor});
  const double now = ports_.clock.now();
  const Actor& a = actors_.at(actor);
  policy_.lost({.why = why,
                .cause = cause,
                .lived_s = now - a.started_at,
                .trained = job_.state() == JobState::kRunning,
                .committed = a.committed,
                .in_vain = a.in_vain},
               now);
  if (adoption_) check_adopted();
  observer_.slots_freed();
}

void JobRun::act(const epoch_action::Persist&) {
  epoch_retry_.reset();
  warm_ups_.over();
  // A group that is broken stands still: none of those that are left hangs.
  if (!group_.planned()) stall_.watch({}, ports_.clock.now());
  store_epoch();
}

void JobRun::store_epoch() {
  StoredEpoch stored{group_.epoch(), ports_.clock.wall(), group_.members()};
  stored.leavers = group_.leavers();
  stored.planned = group_.planned();
  stored.restore = group_.restores();
  stored.job_token = job_token_;
  const Status written = ports_.store.put_epoch(record_.id, stored);
  if (written) {
    epoch_waits_ = false;
    return tell_group(epoch_event::Persisted{group_.epoch()});
  }
  if (!std::exchange(epoch_waits_, true)) {
    event(Severity::kError, "StoreFailed", "the membership waits: " + written.error().message);
  }
  epoch_retry_ = ports_.clock.now() + options_.timeouts.store_retry_s();
}

void JobRun::act(const epoch_action::Announce& action) {
  const Reconfigure& message = action.message;
  record_.epoch = group_.epoch();
  record_.actors = static_cast<std::uint32_t>(message.members.size());
  tellers_.announced(group_.epoch(), message);
  for (const auto* list : {&message.members, &message.leavers}) {
    for (const Member& m : *list) {
      Actor& a = actors_.at(m.actor);
      a.joined = true;
      a.record.first_micro = m.first_micro;
      a.record.last_micro = m.last_micro;
      tell(m.actor, actor_event::Reconfigured{});
      save(m.actor);
    }
  }
  for (auto& [actor, a] : actors_) {
    // What a silent one holds is of before the restore.
    if (!message.restore || !a.joined || !a.life.serves() || group_.takes_part(actor)) continue;
    act(membership_action::Kill{actor, "missed that the group began anew"});
  }
  const double now = ports_.clock.now();
  if (message.planned) {
    for (const Member& m : message.members) stall_.joins(m.actor, now);
  } else {
    stall_.watch({}, now);
  }
  transition_due_ = now + options_.timeouts.transition_s();
  std::string text =
      fmt::format("epoch {} with {}", to_string(group_.epoch()), counted(message.members.size(), "actor"));
  if (!message.leavers.empty()) text += fmt::format(", without {}", counted(message.leavers.size(), "actor"));
  if (message.restore) text += ", from the newest checkpoint or the beginning";
  event(Severity::kInfo, "Reconfigured", text);
  changed();
  send_to_group(message, true);
}

void JobRun::act(const epoch_action::AssignAll& action) {
  const double now = ports_.clock.now();
  stall_.watch({}, now);
  transition_due_ = now + options_.timeouts.transition_s();
  Assign message = action.message;
  message.told_step = tellers_.told();
  send_to_group(message, true);
}

void JobRun::act(const epoch_action::ResumeAll& action) {
  send_to_group(Resume{}, false);
  std::vector<ActorId> members;
  for (const Member& m : group_.members()) {
    tell(m.actor, actor_event::Resumed{});
    members.push_back(m.actor);
  }
  transition_due_.reset();
  stall_.watch(members, ports_.clock.now());
  speed_.resumed();
  ports_.store.drop_steps_after(record_.id, action.base_step);
  tellers_.go_on_from(action.base_step);
  // Members of one group are a step apart at most: whoever had come further is gone, or silent.
  const bool went_back = action.base_step + 1 < record_.step;
  if (went_back || (action.restored && action.base_step < record_.step)) {
    event(Severity::kWarning, "Resumed",
          fmt::format("from step {}; it had reached step {}", action.base_step, record_.step));
  }
  if (went_back || action.restored) progress_.go_back(action.base_step, record_);
  if (group_.restores()) {
    checkpoints_.erase(checkpoints_.upper_bound(action.base_step), checkpoints_.end());
    drop_refused(ports_.store, action.base_step, job_dir(options_, record_.id), record_);
    changed();
  }
  if (!job_.stopping() && job_.state() == JobState::kRunning && !record_.reason.empty()) {
    record_.reason.clear();
    changed();
  }
  tell_job(job_event::Trains{});
  // Who joined since has not heard it.
  if (job_.stopping()) send_to_group(StopTraining{job_.stop_reason()}, false);
  observer_.slots_freed();  // it may grow now
  observer_.flush_soon();
}

void JobRun::act(const epoch_action::RetireAll& action) {
  for (const ActorId actor : action.leavers) {
    event(Severity::kInfo, "ActorRetired", "the group goes on without it", actor);
    retire(actor);
  }
}

void JobRun::act(const job_action::AskToStop& action) {
  stop_deadline_ = ports_.clock.now() + options_.timeouts.stop_job_s();
  send_to_group(StopTraining{action.reason}, false);
  last_checkpoint_.hurry(ports_.clock.now());
}

// Hung actors, whose heartbeats go on: killed at once, for nothing else can end them.
void JobRun::check_stalls() {
  const double now = ports_.clock.now();
  if (!job_.runs()) return;
  if (const auto verdict = stall_.check(now)) {
    act(membership_action::Kill{verdict->actor, verdict->why});
    stall_.watch({}, now);
  }
  if (!transition_due_ || *transition_due_ > now) return;
  transition_due_.reset();
  const std::string why = fmt::format("did not answer within {:g} s while the group was {}",
                                      options_.timeouts.transition_s(), phase_name(group_.phase()));
  const std::vector<ActorId> awaited = group_.awaited();
  // Those of the membership before may have a long step to finish, and newcomers follow it.
  const bool finishes = group_.planned() && group_.phase() == GroupEpochs::Phase::kParking &&
                        std::ranges::any_of(awaited, [&](ActorId actor) { return stall_.watches(actor); });
  for (const ActorId actor : awaited) {
    if (!finishes) act(membership_action::Kill{actor, why});
  }
}

Status JobRun::scale(std::uint32_t actors) {
  if (is_terminal(job_.state()) || job_.stopping()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("job {} {}", record_.id,
                            job_.stopping() ? "is stopping"
                                            : "is over: " + std::string(job_state_name(job_.state()))));
  }
  if (actors == 0)
    return fail(ErrorCode::kInvalidArgument, "a job has at least 1 actor; `sengctl stop` stops it");
  if (actors > plan_.micro_batches) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} actors are too many: a batch of job {} has {} to share", actors, record_.id,
                            counted(plan_.micro_batches, "micro-batch")));
  }
  quiet_ = false;
  event(Severity::kInfo, "Scaled", fmt::format("from {} to {} at most", record_.actors_max, actors));
  record_.actors_max = actors;
  record_.actors_min = std::min(record_.actors_min, actors);
  scaled_ = true;
  if (job_.runs()) record_.reason.clear();
  policy_.forgive();
  changed();
  observer_.flush_soon();
  observer_.slots_freed();
  return {};
}

Status JobRun::drain_actor(ActorId actor) {
  const auto found = actors_.find(actor);
  if (job_.state() != JobState::kRunning || job_.stopping()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("job {} is {}: only a running job's actors can be drained", record_.id,
                            job_.stopping() ? "stopping" : job_state_name(job_.state())));
  }
  if (found == actors_.end() || !found->second.life.serves()) {
    std::string living;
    for (const auto& [number, a] : actors_) {
      if (a.life.serves()) living += (living.empty() ? "" : ", ") + std::to_string(number);
    }
    return fail(ErrorCode::kNotFound, fmt::format("job {} has no actor {} now; it has {}", record_.id, actor,
                                                  living.empty() ? "none" : living));
  }
  quiet_ = false;
  if (!std::exchange(found->second.draining, true))
    event(Severity::kInfo, "Draining", "it is to be replaced", actor);
  observer_.slots_freed();
  return {};
}

}  // namespace seng
