// The head: owns the node's jobs and decides. Runs on the event loop's thread, does no waiting itself; what
// it does goes through HeadPorts, so that tests drive it with a fake clock, processes and actors.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/admission.h"
#include "daemon/head_context.h"
#include "daemon/job_run.h"
#include "daemon/remover.h"
#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

class Head {
 public:
  Head(HeadOptions options, HeadPorts ports);
  ~Head();

  // Reads the store: queued jobs go on waiting, those that ran are dealt with as recovery.h says. Call once,
  // first.
  Status recover();

  // What users ask. `job` is a number or a name, see control.h. kNotFound says which jobs there are.
  void submit(const SubmitRequest& request, std::function<void(Result<JobRecord>)> done);
  Result<JobRecord> stop(const std::string& job);
  Result<JobRecord> scale(const std::string& job, std::uint32_t actors);
  Result<JobRecord> drain(const std::string& job, ActorId actor);
  Result<DeleteReply> remove(const std::string& job, bool checkpoints);
  std::vector<JobRecord> jobs() const;
  Result<JobRecord> find(const std::string& job) const;
  Result<DescribeReply> describe(const std::string& job) const;
  Result<std::vector<ActorRecord>> actors(JobId job) const;
  NodeRecord node() const;
  Store& store() const { return ports_.store; }

  // What actors say. welcomed() follows when the Welcome has been sent.
  Result<Welcome> hello(JobId job, ActorId actor, const ActorHello& hello);
  void welcomed(JobId job);
  void on_message(JobId job, ActorId actor, const Message& message);
  // It was started for a job that is not over, and may be asked to say hello again.
  bool knows(JobId job, ActorId actor) const;

  // Time: on_time() is to be called when deadline() has come, before_sleep() whenever all events so far are
  // dealt with.
  void on_time();
  std::optional<double> deadline() const;
  void before_sleep();
  // All that runs trains, and nothing but heartbeats has come since the last before_sleep().
  bool calm() const;

  // Called when a job's record has changed.
  void on_change(std::function<void(JobId)> callback) { on_change_ = std::move(callback); }

  // Takes no more jobs. Those that run are asked to stop, with a checkpoint, and wait in the queue for the
  // next daemon; or, if `keep_actors`, they are left as they are for it.
  void begin_shutdown(const std::string& reason, bool keep_actors = false);
  // Ends what has not stopped.
  void hurry_shutdown();
  bool shut_down() const;  // no process is left, or none needs to be

 private:
  Status recover_one(const JobRecord& record, std::vector<StartedProcess>& leftovers);
  Status take_over(JobRecord record, bool adopt, const std::vector<StoredActor>& actors,
                   const std::vector<StoredEpoch>& epochs);
  void finish_submit(const SubmitRequest& request, const Result<std::string>& plan,
                     const std::function<void(Result<JobRecord>)>& done);
  Result<JobRecord> store_new(const JobPlan& plan, const std::string& spec_yaml,
                              const std::string& plan_json);
  JobRun& add_run(JobRecord record, JobPlan plan, std::string spec_yaml);
  NodeLimits limits() const;
  void schedule_jobs();
  void reap();
  void flush();
  void event(Severity severity, std::string_view kind, std::string text, JobId job = 0);
  JobRun* running(JobId job);
  Status needed_by_others(JobId job, const std::string& directory) const;

  HeadOptions options_;
  HeadPorts ports_;
  Liveness liveness_;
  Admission admission_;
  JobRun::Observer observer_;
  std::function<void(JobId)> on_change_;
  std::map<JobId, std::unique_ptr<JobRun>> runs_;  // not over
  std::map<JobId, JobRecord> over_;
  bool reschedule_ = false;
  bool stopping_ = false;
  bool keep_actors_ = false;
  double awake_at_ = 0;  // when before_sleep() was last called
  std::optional<double> flush_due_;
  bool store_failed_ = false;
  std::multiset<std::string> admitting_;  // the paths with which jobs begin that are still being planned
  Remover remover_;
};

}  // namespace seng
