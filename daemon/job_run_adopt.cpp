// JobRun: actors that a daemon before this one had started.
#include <set>

#include <fmt/format.h>

#include "daemon/job_run.h"
#include "protocol/base/log.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr std::uint32_t kStepsRead = 200'000;  // of the first pass, for the running mean of its loss

}  // namespace

void JobRun::take_over(const std::vector<StoredActor>& actors, const std::vector<StoredEpoch>& epochs) {
  // It was begun by a version that knew only the CPU and bound no job to it.
  if (record_.device_kind.empty() && !plan_.mixed_devices && (!epochs.empty() || !actors.empty())) {
    record_.device_kind = SlotDevice{}.kind;
    ports_.store.put_record(record_);
  }
  // Means and counts go on as if nothing had happened.
  JobRecord scratch = record_;
  for (const EpochMetrics& m :
       ports_.store.epoch_metrics(record_.id, 0).value_or(std::vector<EpochMetrics>{}))
    progress_.on(EpochReport{m}, scratch);
  if (record_.epochs < 1) {
    Progress steps;
    steps.steps = ports_.store.steps(record_.id, 0, kStepsRead).value_or(std::vector<StepMetrics>{});
    progress_.on(steps, true, scratch);
  }
  progress_.go_on_from(record_.step);
  for (const StoredCheckpoint& c :
       ports_.store.checkpoints(record_.id).value_or(std::vector<StoredCheckpoint>{})) {
    checkpoints_[c.step] = c.state_sha256;
  }
  for (const StoredActor& stored : actors) {
    next_actor_ = std::max(next_actor_, stored.record.actor + 1);
    if (job_.runs() && adopt(stored)) continue;
    StoredActor ended = stored;
    if (ended.record.state != actor_state_name(ActorState::kExited)) {
      ended.record.state = actor_state_name(ActorState::kExited);
      if (ended.record.exit.empty()) ended.record.exit = "ended while no daemon ran";
      ports_.store.put_actor(record_.id, ended);
    }
    former_.push_back(ended.record);
  }
  if (!job_.runs() || epochs.empty()) return;
  const StoredEpoch& newest = epochs.back();
  if (!newest.job_token.empty()) job_token_ = newest.job_token;
  adoption_ = JobAdoption{newest, ports_.clock.now() + options_.timeouts.adopt_s()};
  tellers_.adopt(newest.epoch);
  // What leaders report before all are heard counts, also of memberships before.
  for (const StoredEpoch& e : epochs)
    tellers_.announced(e.epoch, {e.members, e.leavers, e.planned, e.restore, {}});
  for (const auto* list : {&newest.members, &newest.leavers}) {
    for (const Member& m : *list) {
      if (const auto found = actors_.find(m.actor); found != actors_.end()) found->second.joined = true;
    }
  }
  log_info("job {}: {} of the daemon before {} alive", record_.id, counted(actors_.size(), "actor"),
           actors_.size() == 1 ? "is" : "are");
  check_adopted();
}

// True if its process lives.
bool JobRun::adopt(const StoredActor& stored) {
  if (stored.record.state == actor_state_name(ActorState::kExited) || stored.record.pid <= 0) return false;
  const ActorId actor = stored.record.actor;
  const StartedProcess process{static_cast<pid_t>(stored.record.pid), stored.start_time_ticks};
  const Status adopted =
      ports_.processes.adopt(process, [this, actor](const ProcessEnd& end) { on_end(actor, end); });
  if (!adopted) return false;
  Actor& a = actors_.try_emplace(actor, options_.timeouts, ports_.clock.now()).first->second;
  a.record = stored.record;
  a.token = stored.token;
  a.start_time_ticks = stored.start_time_ticks;
  a.adopted_as = stored.record.state;
  // It had begun to leave; what it was told then it may have heard or not.
  const bool leaving = stored.record.state == actor_state_name(ActorState::kStopping) ||
                       stored.record.state == actor_state_name(ActorState::kFinished);
  if (leaving) tell(actor, actor_event::Terminate{});
  return true;
}

// When all members are heard and train, or when nobody is left who could be heard, there is nothing to wait
// for.
void JobRun::check_adopted() {
  if (!adoption_) return;
  bool training = true, waiting = false;
  const StoredEpoch& epoch = adoption_->epoch;
  for (const Member& m : epoch.members) {
    const auto found = actors_.find(m.actor);
    if (found == actors_.end() || !found->second.life.serves()) {
      training = false;
      continue;
    }
    const auto& hello = found->second.first_hello;
    waiting = waiting || !hello;
    training = training && hello && hello->epoch == epoch.epoch && hello->activity != kIdle;
  }
  for (const Member& m : epoch.leavers) {
    const auto found = actors_.find(m.actor);
    waiting =
        waiting || (found != actors_.end() && found->second.life.serves() && !found->second.first_hello);
  }
  if (training || !waiting) end_adoption(training);
}

void JobRun::end_adoption(bool training) {
  const StoredEpoch epoch = adoption_->epoch;
  adoption_.reset();
  quiet_ = false;
  const double now = ports_.clock.now();
  std::set<ActorId> holders, may_hold;
  std::size_t heard = 0;
  for (auto& [actor, a] : actors_) {
    if (!a.life.serves()) continue;
    if (a.joined) may_hold.insert(actor);
    if (!a.first_hello) {
      a.silent_since = now;  // it may come yet
      continue;
    }
    ++heard;
    // Others show by the step they park with that they hold a state: until then a restore that is on its way
    // may take it from them.
    if (a.first_hello->epoch == epoch.epoch && a.first_hello->activity != kIdle) holders.insert(actor);
  }
  Reconfigure membership{epoch.members, epoch.leavers, epoch.planned, epoch.restore};
  group_.adopt(epoch.epoch, membership, training, holders, may_hold);
  std::vector<ActorId> members;
  for (const Member& m : epoch.members) {
    members.push_back(m.actor);
    if (training) {
      tell(m.actor, actor_event::Ready{});
      tell(m.actor, actor_event::Resumed{});
    } else if (!actors_.contains(m.actor)) {
      policy_.lost(
          {MembershipPolicy::Loss::Why::kKilled, fmt::format("actor {} ended while no daemon ran", m.actor),
           options_.timeouts.max_back_off_s(), true, true},
          now);
    }
  }
  if (training) {
    stall_.watch(members, now);
    warm_ups_.adopt();
    for (const Member& m : epoch.leavers) {
      if (knows(m.actor)) retire(m.actor);
    }
    tell_job(job_event::Trains{});
    if (job_.stopping()) send_to_group(StopTraining{job_.stop_reason()}, false);
  }
  event(Severity::kInfo, "Adopted",
        training ? "its " + counted(members.size(), "actor") + " went on training"
                 : fmt::format("{} of its {} {} here", heard, counted(members.size(), "actor"),
                               members.size() == 1 ? "is" : "are"));
  observer_.slots_freed();
}

}  // namespace seng
