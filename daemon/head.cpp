#include "daemon/head.h"

#include <algorithm>

#include <fmt/format.h>
#include <sys/stat.h>

#include "daemon/recovery.h"
#include "protocol/base/limits.h"
#include "protocol/base/log.h"
#include "protocol/base/version.h"
#include "protocol/spec/job_spec.h"

namespace seng {

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

void Head::add_run(JobRecord record, JobPlan plan, std::string spec_yaml) {
  const JobId id = record.id;
  runs_[id] = std::make_unique<JobRun>(options_, ports_, liveness_, observer_, std::move(record),
                                       std::move(plan), std::move(spec_yaml));
  reschedule_ = true;
}

Status Head::recover() {
  const auto records = ports_.store.jobs();
  if (!records) return fail(records.error());
  std::vector<StartedProcess> leftovers;
  for (const JobRecord& record : *records) {
    if (record.id == 0) continue;
    const auto actors = ports_.store.actors(record.id);
    if (!actors) return fail(actors.error());
    const Recovery recovery = recover_job(record, *actors);
    leftovers.insert(leftovers.end(), recovery.leftovers.begin(), recovery.leftovers.end());
    for (const StoredActor& a : *actors) {
      if (a.record.state == actor_state_name(ActorState::kExited)) continue;
      StoredActor ended = a;
      ended.record.state = actor_state_name(ActorState::kExited);
      if (ended.record.exit.empty()) ended.record.exit = "ended by the next daemon";
      ports_.store.put_actor(record.id, ended);
    }
    if (recovery.verdict == Recovery::Verdict::kQueue) {
      take_over(record);
      continue;
    }
    JobRecord ended = record;
    if (recovery.verdict == Recovery::Verdict::kAbandon) {
      Job job(record.state);
      for (const JobAction& action : job.on(job_event::Abandoned{recovery.reason})) {
        const auto* change = std::get_if<job_action::StateChanged>(&action);
        if (change == nullptr) continue;
        ended.state = change->to;
        ended.reason = change->reason;
        ended.ended_at = ports_.clock.wall();
        ++ended.revision;
        event(change->severity, change->event_kind, change->reason, ended.id);
        ports_.store.put_record(ended);
      }
    }
    over_[ended.id] = ended;
  }
  if (const int ended = ports_.processes.end_leftovers(leftovers, options_.timeouts.terminate_s());
      ended > 0) {
    log_warning("ended {} actor process{} of the daemon before", ended, ended == 1 ? "" : "es");
  }
  return ports_.store.flush();
}

// A job that the daemon before left waiting.
void Head::take_over(const JobRecord& record) {
  const auto stored = ports_.store.job(record.id);
  const auto plan = stored ? make_job_plan(stored->spec_yaml, "the stored specification", stored->plan_json)
                           : Result<JobPlan>(tl::unexpected<Error>(stored.error()));
  Status fits = plan ? check_fit(*plan, {options_.slots, options_.memory_bytes}) : Status(fail(plan.error()));
  if (fits) return add_run(record, *plan, stored->spec_yaml);
  JobRecord failed = record;
  failed.state = JobState::kFailed;
  failed.reason = "this daemon cannot run it: " + fits.error().message;
  failed.ended_at = ports_.clock.wall();
  ++failed.revision;
  event(Severity::kError, "Failed", failed.reason, failed.id);
  ports_.store.put_record(failed);
  over_[failed.id] = failed;
}

void Head::submit(const SubmitRequest& request, std::function<void(Result<JobRecord>)> done) {
  if (stopping_) return done(fail(ErrorCode::kUnavailable, "sengd is stopping and takes no more jobs"));
  const std::string source = request.source.empty() ? "job" : request.source;
  if (auto spec = parse_job_spec(request.spec_yaml, source); !spec)
    return done(fail(std::move(spec).error()));
  admission_.plan(request.spec_yaml,
                  [this, request, done = std::move(done)](const Result<std::string>& plan) {
                    finish_submit(request, plan, done);
                  });
}

void Head::finish_submit(const SubmitRequest& request, const Result<std::string>& plan_json,
                         const std::function<void(Result<JobRecord>)>& done) {
  if (!plan_json) return done(fail(plan_json.error()));
  const auto plan =
      make_job_plan(request.spec_yaml, request.source.empty() ? "job" : request.source, *plan_json);
  if (!plan) return done(fail(plan.error()));
  if (auto fits = check_fit(*plan, {options_.slots, options_.memory_bytes}); !fits)
    return done(fail(fits.error()));
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
  SENG_TRY(ports_.store.add_job({record, spec_yaml, plan_json}));
  return record;
}

Result<JobRecord> Head::stop(const std::string& job) {
  const auto record = find(job);
  if (!record) return record;
  JobRun* run = running(record->id);
  if (run == nullptr) return record;  // over already
  run->stop("stopped by the user");
  return find(std::to_string(record->id));
}

void Head::schedule_jobs() {
  reschedule_ = false;
  if (stopping_) return;
  std::vector<JobDemand> demands;
  Capacity capacity{{}, options_.memory_bytes};
  for (std::uint32_t slot = 0; slot < options_.slots; ++slot) capacity.slots.push_back({slot, 0, 0});
  for (const auto& [id, run] : runs_) {
    if (run->record().state == JobState::kQueued) {
      demands.push_back({id, run->plan().actors_min, run->plan().actors_max, run->plan().memory_per_actor});
    }
    for (const SlotUse& use : run->slots()) capacity.slots.at(use.slot) = use;
  }
  if (demands.empty()) return;
  const Schedule plan = schedule(std::move(demands), capacity);
  for (const Wait& wait : plan.waits) runs_.at(wait.job)->set_waiting(wait.why);
  for (const Grant& grant : plan.grants) runs_.at(grant.job)->grant(grant.slots);
}

void Head::reap() {
  for (auto it = runs_.begin(); it != runs_.end();) {
    if (!it->second->over()) {
      ++it;
      continue;
    }
    over_[it->first] = it->second->record();
    it = runs_.erase(it);
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
  // Granting may end a job (nothing can be started), which frees its slots for the next.
  for (int rounds = 0; reschedule_ && rounds < 100; ++rounds) schedule_jobs();
  reap();
  const double now = ports_.clock.now();
  if (!flush_due_ && ports_.store.dirty()) flush_due_ = now + options_.timeouts.flush_s();
  if (flush_due_ && *flush_due_ <= now) flush();
}

void Head::on_time() {
  const double now = ports_.clock.now();
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

void Head::begin_shutdown(const std::string& reason) {
  if (stopping_) return;
  stopping_ = true;
  admission_.cancel_all();
  for (const auto& [id, run] : runs_) {
    if (run->record().state != JobState::kQueued) run->stop(reason);
  }
}

void Head::hurry_shutdown() {
  for (const auto& [id, run] : runs_) {
    if (run->record().state != JobState::kQueued) run->stop_now();
  }
}

bool Head::shut_down() const {
  return std::all_of(runs_.begin(), runs_.end(), [](const auto& entry) {
    return entry.second->record().state == JobState::kQueued || entry.second->over();
  });
}

}  // namespace seng
