#include "daemon/head.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>

#include "daemon/leftovers.h"
#include "daemon/recovery.h"
#include "protocol/base/limits.h"
#include "protocol/base/log.h"
#include "protocol/base/text.h"
#include "protocol/base/version.h"
#include "protocol/spec/job_spec.h"

namespace seng {

namespace {

// Without links, "..", and "//"; as it is where it cannot be told.
std::string real_path(const std::string& path) {
  std::error_code failed;
  const auto real = std::filesystem::weakly_canonical(path, failed);
  return failed ? path : real.string();
}

}  // namespace

Head::Head(HeadOptions options, HeadPorts ports)
    : options_(std::move(options)),
      ports_(ports),
      liveness_(options_.timeouts),
      admission_({options_.actor_binary, options_.threads_per_slot, options_.timeouts.admission_s()},
                 ports_.processes, ports_.clock) {
  observer_.record_changed = [this](JobId job) {
    if (on_change_) on_change_(job);
  };
  observer_.slots_freed = [this] { reschedule_ = true; };
  observer_.flush_soon = [this] { flush_due_ = ports_.clock.now(); };
}

Head::~Head() = default;

void Head::event(Severity severity, std::string_view kind, std::string text, JobId job) {
  EventRecord record;
  record.at = ports_.clock.wall();
  record.job = job;
  record.severity = severity;
  record.kind = kind;
  record.text = std::move(text);
  ports_.store.add_event(std::move(record));
}

JobRun* Head::running(JobId job) {
  const auto found = runs_.find(job);
  return found == runs_.end() ? nullptr : found->second.get();
}

JobRun& Head::add_run(JobRecord record, JobPlan plan, std::string spec_yaml) {
  const JobId id = record.id;
  auto& run = runs_[id];
  spec_yaml = decided_spec(spec_yaml, plan);
  run = std::make_unique<JobRun>(options_, ports_, liveness_, observer_, std::move(record), std::move(plan),
                                 std::move(spec_yaml));
  reschedule_ = true;
  return *run;
}

Status Head::recover() {
  const auto records = ports_.store.jobs();
  if (!records) return fail(records.error());
  std::vector<StartedProcess> leftovers;
  std::vector<JobId> ended_badly;
  for (JobRecord record : *records) {
    if (record.id == 0) continue;
    record.checkpoint = place_now(record.checkpoint, job_dir(options_, record.id));
    const std::size_t before = leftovers.size();
    SENG_TRY(recover_one(record, leftovers));
    if (leftovers.size() > before && over_.contains(record.id)) ended_badly.push_back(record.id);
  }
  if (const int ended = ports_.processes.end_leftovers(leftovers, options_.timeouts.terminate_s());
      ended > 0) {
    log_warning("ended {} of the daemon before", counted(static_cast<std::uint64_t>(ended), "actor process"));
  }
  remove_sockets(options_.peer_dir, [this](JobId job, ActorId actor) {
    const auto run = runs_.find(job);
    return run != runs_.end() && run->second->knows(actor);
  });
  for (const JobId job : ended_badly) remove_unfinished_checkpoints(job_dir(options_, job));
  for (std::string& left : set_aside_in(options_.state_dir + "/jobs")) remover_.remove(std::move(left));
  return ports_.store.flush();
}

Status Head::recover_one(const JobRecord& record, std::vector<StartedProcess>& leftovers) {
  const auto actors = ports_.store.actors(record.id);
  if (!actors) return fail(actors.error());
  const auto epochs = is_terminal(record.state) ? Result<std::vector<StoredEpoch>>(std::vector<StoredEpoch>{})
                                                : ports_.store.epochs(record.id);
  if (!epochs) return fail(epochs.error());
  const Recovery recovery = recover_job(record, *actors, !epochs->empty());
  leftovers.insert(leftovers.end(), recovery.leftovers.begin(), recovery.leftovers.end());
  if (recovery.verdict != Recovery::Verdict::kKeep)
    return take_over(record, recovery.verdict == Recovery::Verdict::kAdopt, *actors, *epochs);
  for (const StoredActor& a : *actors) {
    if (a.record.state == actor_state_name(ActorState::kExited)) continue;
    StoredActor ended = a;
    ended.record.state = actor_state_name(ActorState::kExited);
    if (ended.record.exit.empty()) ended.record.exit = "ended by the next daemon";
    ports_.store.put_actor(record.id, ended);
  }
  over_[record.id] = record;
  return {};
}

// A job that the daemon before left running or waiting.
Status Head::take_over(JobRecord record, bool adopt, const std::vector<StoredActor>& actors,
                       const std::vector<StoredEpoch>& epochs) {
  const auto stored = ports_.store.job(record.id);
  if (!stored) return fail(stored.error());
  auto plan = make_job_plan(stored->spec_yaml, "the stored specification", stored->plan_json);
  Status fits = plan ? Status() : Status(fail(plan.error()));
  if (plan) {
    plan->actors_min = record.actors_min;  // they may have been scaled
    plan->actors_max = record.actors_max;
    if (!stored->tuning.choices.empty()) plan->choices = stored->tuning.choices;
    if (!adopt) fits = check_fit(*plan, limits());
  }
  ++record.revision;
  if (!fits) {
    record.state = JobState::kFailed;
    record.reason = "this daemon cannot run it: " + fits.error().message;
    record.ended_at = ports_.clock.wall();
    event(Severity::kError, "Failed", record.reason, record.id);
    ports_.store.put_record(record);
    over_[record.id] = record;
    return {};
  }
  if (!adopt && record.state != JobState::kQueued) {
    record.state = JobState::kQueued;
    record.reason.clear();
    event(Severity::kInfo, "Queued", "the daemon was started anew while the job started", record.id);
  }
  ports_.store.put_record(record);
  add_run(record, *plan, stored->spec_yaml).take_over(actors, adopt ? epochs : std::vector<StoredEpoch>{});
  return {};
}

void Head::submit(const SubmitRequest& request, std::function<void(Result<JobRecord>)> done) {
  if (stopping_) return done(fail(ErrorCode::kUnavailable, "sengd is stopping and takes no more jobs"));
  const std::string source = request.source.empty() ? "job" : request.source;
  const auto spec = parse_job_spec(request.spec_yaml, source);
  if (!spec) return done(fail(spec.error()));
  const auto begins_with =
      admitting_.insert(spec->initial_checkpoint.empty() ? spec->initial_weights : spec->initial_checkpoint);
  admission_.plan(request.spec_yaml,
                  [this, request, begins_with, done = std::move(done)](const Result<std::string>& plan) {
                    admitting_.erase(begins_with);
                    finish_submit(request, plan, done);
                  });
}

void Head::finish_submit(const SubmitRequest& request, const Result<std::string>& plan_json,
                         const std::function<void(Result<JobRecord>)>& done) {
  if (!plan_json) return done(fail(plan_json.error()));
  const auto plan =
      make_job_plan(request.spec_yaml, request.source.empty() ? "job" : request.source, *plan_json);
  if (!plan) return done(fail(plan.error()));
  if (auto fits = check_fit(*plan, limits()); !fits) return done(fail(fits.error()));
  if (stopping_) return done(fail(ErrorCode::kUnavailable, "sengd is stopping and takes no more jobs"));
  auto record = store_new(*plan, request.spec_yaml, *plan_json);
  if (!record) return done(fail(std::move(record).error()));
  event(Severity::kInfo, "Submitted", "as " + record->name, record->id);
  log_info("job {} ({}) submitted", record->id, record->name);
  flush_due_ = ports_.clock.now();
  add_run(*record, *plan, request.spec_yaml);
  done(*record);
}

Result<JobRecord> Head::store_new(const JobPlan& plan, const std::string& spec_yaml,
                                  const std::string& plan_json) {
  JobId id = ports_.store.next_job_id();
  // Where an older database was moved away its jobs' directories are still there, and stay as they are.
  for (struct stat info{}; stat(job_dir(options_, id).c_str(), &info) == 0;) ++id;
  const JobRecord record = record_of(plan, id, ports_.clock.wall());
  SENG_TRY(ports_.store.add_job({record, spec_yaml, plan_json, tuning_of(plan)}));
  return record;
}

Result<JobRecord> Head::stop(const std::string& job) {
  const auto record = find(job);
  if (!record) return record;
  JobRun* run = running(record->id);
  if (run == nullptr) return record;  // over already
  run->stop("stopped by the user", false);
  return find(std::to_string(record->id));
}

Result<JobRecord> Head::scale(const std::string& job, std::uint32_t actors) {
  const auto record = find(job);
  if (!record) return record;
  JobRun* run = running(record->id);
  if (run == nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("job {} is over: {}", record->id, job_state_name(record->state)));
  }
  SENG_TRY(run->scale(actors));
  if (actors > options_.slots) {
    run->set_waiting(
        fmt::format("{} actors are asked for, this node has {}", actors, counted(options_.slots, "slot")));
  }
  return run->record();
}

Result<JobRecord> Head::drain(const std::string& job, ActorId actor) {
  const auto record = find(job);
  if (!record) return record;
  JobRun* run = running(record->id);
  if (run == nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("job {} is over: {}", record->id, job_state_name(record->state)));
  }
  SENG_TRY(run->drain_actor(actor));
  return run->record();
}

// The job's checkpoints must stay while another that is not over, or about to be taken, begins with one.
Status Head::needed_by_others(JobId job, const std::string& directory) const {
  const std::string within = real_path(directory) + "/";
  const auto is_within = [&](const std::string& path) {
    return !path.empty() && real_path(path).starts_with(within);
  };
  const auto needed = [&](const std::string& by) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} begins with a checkpoint of job {}: it must stay until that has ended", by, job));
  };
  for (const auto& [id, run] : runs_)
    if (is_within(run->plan().begins_with)) return needed(fmt::format("job {}", id));
  if (std::ranges::any_of(admitting_, is_within)) return needed("a job that was just submitted");
  return {};
}

// The files first: what is left of them can be asked to be removed again as long as the job is known.
Result<DeleteReply> Head::remove(const std::string& job, bool checkpoints) {
  const auto record = find(job);
  if (!record) return fail(record.error());
  if (running(record->id) != nullptr) {
    const bool over = is_terminal(record->state);
    return fail(over ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument,
                over
                    ? fmt::format("job {}: its actors are still ending; try again in a moment", record->id)
                    : fmt::format("job {} is {}: only a job that has ended can be deleted; `sengctl stop {}` "
                                  "ends it",
                                  record->id, job_state_name(record->state), record->id));
  }
  const std::string directory = job_dir(options_, record->id);
  if (checkpoints) SENG_TRY(needed_by_others(record->id, directory));
  DeleteReply reply{*record, directory + "/checkpoints"};
  // Of a link only the link goes.
  std::error_code unknown;
  if (checkpoints && std::filesystem::is_symlink(reply.kept, unknown)) reply.kept = real_path(reply.kept);
  const auto aside = set_aside_job_files(directory, checkpoints);
  if (!aside) return fail(aside.error());
  if (!aside->empty()) remover_.remove(*aside);
  SENG_TRY(ports_.store.remove_job(record->id));
  over_.erase(record->id);
  if (!std::filesystem::exists(reply.kept, unknown)) reply.kept.clear();
  event(Severity::kInfo, "Deleted",
        fmt::format("job {} ({}), {}", record->id, record->name,
                    reply.kept.empty() ? "with all its files" : "but for its checkpoints"));
  log_info("job {} ({}) deleted", record->id, record->name);
  if (on_change_) on_change_(record->id);
  flush_due_ = ports_.clock.now();
  return reply;
}

NodeLimits Head::limits() const {
  NodeLimits limits{options_.slots, options_.memory_bytes};
  if (!options_.devices.empty()) limits.slots_of_one_kind = most_of_one_kind(options_.devices);
  limits.gpu_slots = static_cast<std::uint32_t>(
      std::ranges::count_if(options_.devices, [](const SlotDevice& slot) { return slot.device != "cpu"; }));
  limits.gpu_memory_bytes = largest_gpu_memory(options_.devices);
  limits.nccl = options_.nccl;
  return limits;
}

void Head::schedule_jobs() {
  reschedule_ = false;
  if (stopping_) return;
  std::vector<JobDemand> demands;
  Capacity capacity{{}, options_.memory_bytes};
  for (std::uint32_t slot = 0; slot < options_.slots; ++slot)
    capacity.slots.push_back({slot, 0, 0, device_of(options_, slot).kind});
  for (const auto& [id, run] : runs_) {
    if (!is_terminal(run->record().state)) demands.push_back(run->demand());
    for (const SlotUse& use : run->slots()) {
      // Adopted from a daemon with more slots: it counts, but the slot is not given again.
      if (use.slot < options_.slots) {
        capacity.slots[use.slot] = {use.slot, use.job, use.memory, capacity.slots[use.slot].kind};
      } else {
        capacity.slots.push_back(use);
      }
    }
  }
  if (demands.empty()) return;
  const Schedule plan = schedule(std::move(demands), capacity);
  std::map<JobId, Limit> limits;
  for (const Limit& limit : plan.limits) limits[limit.job] = limit;
  for (const auto& [id, run] : runs_) {
    const auto limit = limits.find(id);
    if (limit == limits.end()) {
      run->set_limit(0xffffffffu, 0);
    } else {
      run->set_limit(limit->second.actors, limit->second.waiting);
    }
  }
  for (const Preemption& p : plan.preemptions) runs_.at(p.job)->preempt(p.waiting);
  for (const Wait& wait : plan.waits) runs_.at(wait.job)->set_waiting(wait.why);
  for (const Grant& grant : plan.grants) runs_.at(grant.job)->grant(grant.slots);
}

void Head::reap() {
  for (auto it = runs_.begin(); it != runs_.end();) {
    if (!it->second->over()) {
      ++it;
      continue;
    }
    const JobId ended = it->first;
    over_[ended] = it->second->record();
    it = runs_.erase(it);
    remove_sockets(options_.peer_dir, [&](JobId job, ActorId) { return job != ended; });
    remove_unfinished_checkpoints(job_dir(options_, ended));
  }
}

void Head::flush() {
  const Status written = ports_.store.flush();
  const double now = ports_.clock.now();
  if (written) {
    if (store_failed_) event(Severity::kInfo, "StoreRecovered", "");
    flush_due_ = store_failed_ ? std::optional(now) : std::nullopt;
    if (store_failed_) log_info("the store can be written again");
    store_failed_ = false;
    return;
  }
  if (!store_failed_) {
    log_error("{}; what is to be stored is kept and tried again", written.error().message);
    event(Severity::kError, "StoreFailed", written.error().message);
  }
  store_failed_ = true;
  flush_due_ = now + options_.timeouts.store_retry_s();
}

void Head::before_sleep() {
  // Granting may end a job (nothing can be started), and what a job decides may free slots.
  int rounds = 0;
  do {
    if (reschedule_) schedule_jobs();
    for (const auto& [id, run] : runs_) run->steer();
  } while (reschedule_ && !stopping_ && ++rounds < 100);
  reap();
  const double now = ports_.clock.now();
  awake_at_ = now;
  if (!flush_due_ && ports_.store.dirty()) flush_due_ = now + options_.timeouts.flush_s();
  if (flush_due_ && *flush_due_ <= now) flush();
}

bool Head::calm() const {
  return !stopping_ && !reschedule_ &&
         std::ranges::all_of(runs_, [](const auto& entry) { return entry.second->calm(); });
}

void Head::on_time() {
  const double now = ports_.clock.now();
  // Woken much too late, the daemon itself was held up: what was said meanwhile may not have been read yet.
  const auto lease = liveness_.deadline();
  if (lease && awake_at_ > 0 && now > std::max(*lease, awake_at_) + options_.timeouts.lease_s / 2)
    liveness_.excuse(now);
  for (const auto& [id, run] : runs_) run->on_time();
  for (const Liveness::Finding& finding : liveness_.check(now)) {
    if (JobRun* run = running(finding.who.first)) run->on_lease(finding.who.second, finding);
  }
  admission_.on_time();
}

std::optional<double> Head::deadline() const {
  std::optional<double> out = flush_due_;
  const auto take = [&](const std::optional<double>& due) {
    if (due) out = std::min(out.value_or(*due), *due);
  };
  take(liveness_.deadline());
  take(admission_.deadline());
  for (const auto& [id, run] : runs_) take(run->deadline());
  return out;
}

void Head::begin_shutdown(const std::string& reason, bool keep_actors) {
  if (stopping_) return;
  stopping_ = true;
  keep_actors_ = keep_actors;
  admission_.cancel_all();
  if (keep_actors) return;
  for (const auto& [id, run] : runs_) run->stop(reason, true);
}

void Head::hurry_shutdown() {
  keep_actors_ = false;
  for (const auto& [id, run] : runs_) run->stop_now();
}

bool Head::shut_down() const {
  return keep_actors_ ||
         std::all_of(runs_.begin(), runs_.end(), [](const auto& entry) { return entry.second->idle(); });
}

}  // namespace seng
