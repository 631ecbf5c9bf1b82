// What lasts: jobs, memberships, actors, events, metrics and checkpoints. README.md has the schema.
//
// Writes are of two kinds. Those that a decision hangs on (add_job, remove_job, put_epoch, put_tuning) are
// durable when they return, or have failed and changed nothing. All others are queued and written by flush(),
// many in one transaction; a flush that fails keeps them for the next. Reads see both.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/records.h"
#include "protocol/messages/tuning.h"

namespace seng {

struct StoredJob {
  JobRecord record;
  std::string spec_yaml, plan_json;
  TuningRecord tuning = {};  // of a job with engine.tune, once there are choices
};

struct StoredActor {
  ActorRecord record;
  std::uint64_t start_time_ticks = 0;
  std::string token;
};

struct StoredEpoch {
  GroupEpoch epoch;
  double at = 0;
  std::vector<Member> members;
  std::vector<Member> leavers = {};
  bool planned = false, restore = false;
  std::string job_token = {};  // the job's actors go on using it, whatever becomes of the daemon

  template <class V>
  void visit(V& v) {
    v.field(1, "epoch.incarnation", epoch.incarnation);
    v.field(2, "epoch.counter", epoch.counter);
    v.field(3, "at", at);
    v.field(4, "members", members);
    v.field(5, "leavers", leavers);
    v.field(6, "planned", planned);
    v.field(7, "restore", restore);
    v.field(8, "job_token", job_token);
  }
};

struct StoredCheckpoint {
  std::uint64_t step = 0;
  double at = 0;
  std::string path;
  std::string weights_sha256, state_sha256;
};

class Store {
 public:
  virtual ~Store() = default;

  // Grows with every opening of the store; durable.
  virtual std::uint64_t incarnation() const = 0;
  virtual JobId next_job_id() const = 0;

  virtual Status add_job(const StoredJob& job) = 0;
  // With all that belongs to it. Its number is not given again.
  virtual Status remove_job(JobId job) = 0;
  virtual Status put_epoch(JobId job, const StoredEpoch& epoch) = 0;
  virtual Status put_tuning(JobId job, const TuningRecord& tuning) = 0;

  virtual void put_record(const JobRecord& record) = 0;
  virtual void put_actor(JobId job, const StoredActor& actor) = 0;
  // Gives it the next id; returned with it.
  virtual EventRecord add_event(EventRecord event) = 0;
  // A row that is there stays, but for one without seconds, which was told by one who has not made the step.
  virtual void add_steps(JobId job, const std::vector<StepMetrics>& steps) = 0;
  // Later steps than `step`, also queued ones: they are made again, and added.
  virtual void drop_steps_after(JobId job, std::uint64_t step) = 0;
  virtual void add_epoch_metrics(JobId job, const EpochMetrics& metrics) = 0;
  virtual void add_checkpoint(JobId job, const StoredCheckpoint& checkpoint) = 0;
  // Those of later steps than `step`, also queued ones. Others of the same steps may be added again.
  virtual void drop_checkpoints_after(JobId job, std::uint64_t step) = 0;
  virtual bool dirty() const = 0;  // something is queued
  virtual Status flush() = 0;

  virtual Result<std::vector<JobRecord>> jobs() = 0;  // by number
  virtual Result<StoredJob> job(JobId job) = 0;
  virtual Result<std::vector<StoredActor>> actors(JobId job) = 0;  // by number
  virtual Result<std::vector<StoredEpoch>> epochs(JobId job) = 0;  // oldest first
  // job 0: of all jobs. Oldest first.
  virtual Result<std::vector<EventRecord>> events(JobId job, std::uint64_t after_id, std::uint32_t limit) = 0;
  virtual Result<std::vector<EventRecord>> newest_events(JobId job, std::uint32_t limit) = 0;
  virtual Result<std::vector<StepMetrics>> steps(JobId job, std::uint64_t after_step,
                                                 std::uint32_t limit) = 0;
  virtual Result<std::vector<EpochMetrics>> epoch_metrics(JobId job, std::uint64_t after_step) = 0;
  virtual Result<std::vector<StoredCheckpoint>> checkpoints(JobId job) = 0;  // oldest first
};

// Opens or makes the database. kCorrupt: it is damaged or no store of ours; kUnsupported: written by a newer
// sengd; kIo, kExhausted: the file system refuses. Every message says what to do.
Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path);

}  // namespace seng
