#include "daemon/job_run.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <unistd.h>

#include "daemon/actor_log.h"
#include "daemon/recovery.h"
#include "protocol/base/file.h"
#include "protocol/base/log.h"
#include "protocol/base/secret.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr std::size_t kReasonBytes = 2000;

}  // namespace

JobRun::JobRun(const HeadOptions& options, const HeadPorts& ports, Liveness& liveness,
               const Observer& observer, JobRecord record, JobPlan plan, std::string spec_yaml)
    : options_(options),
      ports_(ports),
      liveness_(liveness),
      observer_(observer),
      record_(std::move(record)),
      plan_(std::move(plan)),
      spec_yaml_(std::move(spec_yaml)),
      job_token_(random_secret()),
      job_(record_.state),
      group_(plan_.micro_batches, ports.store.incarnation()),
      policy_({options.timeouts, plan_.restarts_max, plan_.restart_window_s}),
      stall_(options.timeouts),
      warm_ups_(options.timeouts, ports.store.incarnation()),
      speed_(options.timeouts, plan_.micro_batches),
      last_checkpoint_(options.timeouts),
      tuning_(plan_.tune && plan_.choices.empty() && record_.device_kind != SlotDevice{}.kind),
      progress_(plan_) {}

// What the pure parts decide is carried out one after another, never from within one another.
void JobRun::drain() {
  if (draining_) return;
  draining_ = true;
  while (!pending_.empty()) {
    const auto next = std::move(pending_.front());
    pending_.pop_front();
    next();
  }
  draining_ = false;
}

void JobRun::tell(ActorId actor, const ActorEventIn& event) {
  const auto found = actors_.find(actor);
  if (found == actors_.end()) return;
  quiet_ = false;
  Actor& a = found->second;
  const ActorState before = a.life.state();
  for (auto& action : a.life.on(event, ports_.clock.now())) {
    pending_.push_back([this, actor, action = std::move(action)] {
      std::visit([&](const auto& it) { act(actor, it); }, action);
    });
  }
  if (a.life.state() != before) {
    if (!a.life.alive() || a.life.finished()) liveness_.remove({record_.id, actor});
    save(actor);
  }
}

void JobRun::tell_job(const JobEventIn& event) {
  quiet_ = false;
  for (auto& action : job_.on(event)) {
    pending_.push_back(
        [this, action = std::move(action)] { std::visit([&](const auto& it) { act(it); }, action); });
  }
}

void JobRun::tell_group(const EpochEvent& event) {
  quiet_ = false;
  EpochOutcome outcome = group_.on(event);
  if (!outcome.ignored.empty()) {
    log_debug("job {}: ignored: {}", record_.id, outcome.ignored);
    return;
  }
  for (auto& action : outcome.actions) {
    pending_.push_back(
        [this, action = std::move(action)] { std::visit([&](const auto& it) { act(it); }, action); });
  }
}

void JobRun::event(Severity severity, std::string_view kind, std::string text, ActorId actor) {
  EventRecord record;
  record.at = ports_.clock.wall();
  record.job = record_.id;
  record.actor = actor;
  record.severity = severity;
  record.kind = kind;
  record.text = shortened(std::move(text), kReasonBytes);
  const LogLevel level = severity == Severity::kError     ? LogLevel::kError
                         : severity == Severity::kWarning ? LogLevel::kWarning
                                                          : LogLevel::kInfo;
  if (log_enabled(level)) {
    const std::string who =
        actor == kNoActor ? fmt::format("job {}", record_.id) : actor_name(record_.id, actor);
    write_log(level, fmt::format("{}: {}{}{}", who, kind, record.text.empty() ? "" : ": ", record.text));
  }
  ports_.store.add_event(std::move(record));
}

void JobRun::changed() {
  ++record_.revision;
  ports_.store.put_record(record_);
  observer_.record_changed(record_.id);
}

void JobRun::save(ActorId actor) {
  Actor& a = actors_.at(actor);
  a.record.state = actor_state_name(a.life.state());
  ports_.store.put_actor(record_.id, {a.record, a.start_time_ticks, a.token});
}

void JobRun::grant(const std::vector<std::uint32_t>& slots) {
  quiet_ = false;
  const auto count = static_cast<std::uint32_t>(slots.size());
  if (record_.device_kind.empty() && !plan_.mixed_devices && count > 0)
    record_.device_kind = device_of(options_, slots.front()).kind;
  if (job_.state() == JobState::kQueued) {
    record_.actors = count;
    preempted_.clear();
    group_.start_over();
    policy_.forgive();
    tell_job(job_event::Granted{});
    drain();
  } else {
    record_.restarts += policy_.started(count, view(), ports_.clock.now());
    changed();
  }
  for (const std::uint32_t slot : slots) spawn(slot);
  observer_.flush_soon();
  drain();
}

void JobRun::set_waiting(const std::string& why) {
  if (job_.runs()) lacks_ = why;
  if (job_.runs() && (!scaled_ || job_.stopping())) return;
  const std::string text = preempted_.empty() ? why : preempted_ + "; " + why;
  if (record_.reason == text) return;
  record_.reason = text;
  changed();
}

void JobRun::set_limit(std::uint32_t actors, JobId waiting) {
  if (actors != limit_ && waiting != 0)
    event(Severity::kInfo, "Shrinking",
          fmt::format("to {}: job {} needs slots", counted(actors, "actor"), waiting));
  if (limit_ != actors) quiet_ = false;
  limit_ = actors;
  limited_for_ = waiting;
  lacks_.clear();
}

void JobRun::stop(const std::string& reason, bool requeue) {
  tell_job(job_event::StopAsked{reason, requeue});
  drain();
}

void JobRun::preempt(JobId waiting) {
  if (job_.stopping()) return;
  preempted_ = fmt::format("made room for job {}, which has a higher priority", waiting);
  stop(preempted_, true);
}

void JobRun::stop_without_checkpoint() {
  job_event::StopTimedOut over;
  if (!last_checkpoint_.why().empty())
    over.why = "without its last checkpoint, which could not be written: " + last_checkpoint_.why();
  tell_job(over);
}

void JobRun::stop_now() {
  stop_without_checkpoint();
  for (auto& [actor, a] : actors_) tell(actor, actor_event::Terminate{});
  drain();
}

void JobRun::spawn(std::uint32_t slot) {
  const ActorId actor = next_actor_++;
  Actor& a = actors_.try_emplace(actor, options_.timeouts, ports_.clock.now()).first->second;
  a.token = random_secret();
  a.record.actor = actor;
  a.record.node = options_.node;
  a.record.slot = slot;
  a.record.log_path = fmt::format("{}/logs/actor-{}.log", job_dir(options_, record_.id), actor);
  const Status made = make_private_dir(job_dir(options_, record_.id) + "/logs");
  const Status started = made ? start_process(actor, a) : made;
  if (!started) {
    a.record.exit = "not started";
    tell(actor, actor_event::Failed{started.error().message});
    tell(actor, actor_event::Exited{{false, 127}});
  }
  save(actor);
}

Status JobRun::start_process(ActorId actor, Actor& a) {
  const std::uint32_t lanes = plan_.lanes > 0 ? plan_.lanes : options_.threads_per_slot;
  const SlotDevice device = device_of(options_, a.record.slot);
  ProcessSpec spec;
  spec.argv = {options_.actor_binary,
               "run",
               "--daemon",
               options_.actor_endpoint,
               "--job",
               std::to_string(record_.id),
               "--actor",
               std::to_string(actor),
               "--node",
               options_.node,
               "--lanes",
               std::to_string(lanes),
               "--device",
               device.device,
               "--peer-dir",
               options_.peer_dir};
  if (!device.gpu.empty()) {
    spec.argv.emplace_back("--host-threads");
    spec.argv.push_back(std::to_string(gpu_host_threads(options_.cores, options_.slots)));
  }
  spec.environment = {{"SENG_ACTOR_TOKEN", a.token}};
  if (!device.gpu.empty()) spec.environment.emplace_back("CUDA_VISIBLE_DEVICES", device.gpu);
  // NCCL takes no two ranks on one GPU of one host.
  if (device.shares_gpu)
    spec.environment.emplace_back("NCCL_HOSTID", fmt::format("{}-slot-{}", options_.node, a.record.slot));
  spec.log_path = a.record.log_path;
  auto started = ports_.processes.start(spec, [this, actor](const ProcessEnd& end) { on_end(actor, end); });
  if (!started) return fail(std::move(started).error());
  a.record.pid = started->pid;
  a.start_time_ticks = started->start_time_ticks;
  event(Severity::kInfo, "ActorStarted", fmt::format("process {}, slot {}", started->pid, a.record.slot),
        actor);
  return {};
}

void JobRun::on_end(ActorId actor, const ProcessEnd& end) {
  actors_.at(actor).record.exit = to_string(end.status);
  tell(actor, actor_event::Exited{end.status});
  save(actor);
  drain();
}

void JobRun::act(const job_action::EndActors&) {
  for (auto& [actor, a] : actors_) {
    if (!a.life.finished()) tell(actor, actor_event::Terminate{});
  }
}

void JobRun::act(const job_action::RetireActors&) {
  for (auto& [actor, a] : actors_) {
    if (a.life.finished() || !a.life.serves()) continue;
    if (group_.takes_part(actor)) {
      retire(actor);
    } else {
      tell(actor, actor_event::Terminate{});  // it is in no membership and would not listen
    }
  }
}

void JobRun::retire(ActorId actor) {
  send_to(actor, Retire{});
  tell(actor, actor_event::Retired{});
}

// What a job that waits for the next daemon has.
std::string JobRun::requeue_text() const {
  const std::string when = preempted_.empty() ? " when a daemon starts" : " in its turn";
  if (record_.checkpoint.empty()) return "; starts again" + when;
  std::uint64_t step = record_.step;
  const auto checkpoints = ports_.store.checkpoints(record_.id);
  for (const StoredCheckpoint& c : checkpoints.value_or(std::vector<StoredCheckpoint>{})) {
    if (place_now(c.path, job_dir(options_, record_.id)) == record_.checkpoint) step = c.step;
  }
  return fmt::format("; goes on from its checkpoint of step {}{}", step, when);
}

void JobRun::act(const job_action::StateChanged& action) {
  std::string reason = action.reason;
  if (action.to == JobState::kQueued) {
    reason += requeue_text();
    if (!preempted_.empty()) preempted_ = reason;
  }
  record_.state = action.to;
  record_.reason = shortened(reason, kReasonBytes);
  const double now = ports_.clock.wall();
  if (action.to == JobState::kStarting && record_.started_at == 0) record_.started_at = now;
  if (is_terminal(action.to)) record_.ended_at = now;
  if (!job_.runs()) {
    adoption_.reset();
    stop_deadline_.reset();
    epoch_retry_.reset();
    transition_due_.reset();
    policy_due_.reset();
    stall_.watch({}, ports_.clock.now());
    warm_ups_.over();
    last_checkpoint_.written();
  }
  event(action.severity, action.event_kind, reason);
  changed();
  observer_.flush_soon();
  observer_.slots_freed();  // an actor that never got a process holds none
}

void JobRun::act(ActorId actor, const actor_action::Signal& action) {
  ports_.processes.signal(static_cast<pid_t>(actors_.at(actor).record.pid), action.number);
}

std::string JobRun::loss_text(ActorId actor, const actor_action::Lost& loss) const {
  const Actor& a = actors_.at(actor);
  const std::string log = "; log: " + a.record.log_path;
  if (loss.why != actor_action::Lost::Why::kExited) {
    const char* verb = loss.why == actor_action::Lost::Why::kSilent ? " " : ": ";
    return fmt::format("actor {}{}{}{}", actor, verb, shortened(loss.message, kReasonBytes), log);
  }
  const auto& status = a.life.exit_status();
  std::string how = status ? in_words(*status) : "ended";
  if (status && status->signalled && status->number == SIGKILL) {
    // SIGKILLs of our own are no losses.
    how =
        "was killed by signal 9 (not by sengd: the kernel's out-of-memory killer, or somebody's kill -9), "
        "having reported ";
    how += a.record.memory_bytes > 0 ? fmt::format("{} MiB of memory", a.record.memory_bytes >> 20)
                                     : "nothing of its memory";
  }
  const std::string line = last_log_line(a.record.log_path);
  return fmt::format("actor {} {} before it finished{}{}", actor, how,
                     line.empty() ? "" : ", its last line: " + line, log);
}

void JobRun::act(ActorId actor, const actor_action::Lost& action) {
  using Why = MembershipPolicy::Loss::Why;
  const auto& status = actors_.at(actor).life.exit_status();
  Why why = Why::kEnded;
  if (action.why == actor_action::Lost::Why::kSaidSo) why = Why::kSaidSo;
  if (action.why == actor_action::Lost::Why::kExited && status && (status->signalled || status->unknown))
    why = Why::kKilled;
  // Nobody said it but the system, when the process was to be started.
  if (actors_.at(actor).record.pid == 0) why = Why::kEnded;
  lose(actor, why, loss_text(actor, action));
}

void JobRun::act(ActorId actor, const actor_action::Gone&) {
  const Actor& a = actors_.at(actor);
  event(Severity::kInfo, "ActorExited", a.record.exit, actor);
  ports_.actors.forget(record_.id, actor);
  liveness_.remove({record_.id, actor});
  speed_.forget(actor);
  // Its sockets, if it had no time to remove them.
  for (const char kind : {'a', 's'})
    unlink(fmt::format("{}/{}{}.{}", options_.peer_dir, kind, record_.id, actor).c_str());
  save(actor);
  observer_.flush_soon();
  observer_.slots_freed();
}

void JobRun::on_time() {
  const double now = ports_.clock.now();
  const auto due = [&](std::optional<double>& deadline) {
    if (!deadline || *deadline > now) return false;
    deadline.reset();
    return true;
  };
  for (auto& [actor, a] : actors_) {
    if (!a.life.deadline() || *a.life.deadline() > now) continue;
    const bool waits =
        !tuning_.settled() && !tuning_.is_at_it(actor) && a.life.state() == ActorState::kConnected;
    tell(actor, waits ? ActorEventIn(actor_event::Waits{}) : actor_event::Timeout{});
  }
  if (due(stop_deadline_)) stop_without_checkpoint();
  if (due(epoch_retry_)) store_epoch();
  if (due(tuning_retry_)) store_tuning();
  if (last_checkpoint_.deadline() && *last_checkpoint_.deadline() <= now) quiet_ = false;
  last_checkpoint_.on_time(now);
  if (due(policy_due_)) {
    quiet_ = false;
    observer_.slots_freed();
  }
  if (adoption_ && adoption_->until <= now) end_adoption(false);
  check_stalls();
  expire_warm_ups();
  drain();
}

std::optional<double> JobRun::deadline() const {
  std::optional<double> out = stop_deadline_;
  const auto take = [&](const std::optional<double>& due) {
    if (due) out = std::min(out.value_or(*due), *due);
  };
  for (const auto& due : {epoch_retry_, tuning_retry_, transition_due_, policy_due_, stall_.deadline(),
                          warm_ups_.deadline(), last_checkpoint_.deadline()})
    take(due);
  if (adoption_) take(adoption_->until);
  for (const auto& [actor, a] : actors_) take(a.life.deadline());
  return out;
}

bool JobRun::knows(ActorId actor) const {
  const auto found = actors_.find(actor);
  return found != actors_.end() && found->second.life.alive();
}

bool JobRun::idle() const {
  return !job_.runs() && slots().empty() && pending_.empty();
}

bool JobRun::over() const {
  return is_terminal(job_.state()) && idle();
}

std::vector<SlotUse> JobRun::slots() const {
  std::vector<SlotUse> out;
  for (const auto& [actor, a] : actors_) {
    if (a.life.state() != ActorState::kExited)
      out.push_back({a.record.slot, record_.id, plan_.memory_per_actor});
  }
  return out;
}

ActorId JobRun::actor_on(std::uint32_t slot) const {
  for (const auto& [actor, a] : actors_) {
    if (a.record.slot == slot && a.life.state() != ActorState::kExited) return actor;
  }
  return kNoActor;
}

std::vector<ActorRecord> JobRun::actors() const {
  std::vector<ActorRecord> out = former_;
  for (const auto& [actor, a] : actors_) out.push_back(a.record);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.actor < b.actor; });
  return out;
}

}  // namespace seng
