// A checkpoint written by the whole group beside training: every member writes the curvature of the blocks
// that it owns into the step's staging directory and tells the leader, who writes the model, the manifest,
// and renames.
//
//   member:  begin() -> own files, on a thread -> advance(): the shard goes to the leader
//   leader:  begin() -> own files, on a thread -> advance(): all shards are here -> manifest, rename, on a
//   thread
//                                              -> advance(): the report
//
// What is written is the state of the moment of begin(): weights, momentum and statistics are copied,
// curvature is kept as it lies (it is replaced, never changed). One checkpoint at a time.
//
// A disk may hang: whoever waits for one asks `leave` meanwhile, and goes without it where that says so.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/checkpoint/storage.h"
#include "actors/exchange/exchange.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

// All methods are the driver's.
class GroupCheckpoint {
 public:
  using Leave = std::function<bool()>;  // whether to wait no longer; none: for ever

  // Borrowed; must outlive it. `directory`: the job's checkpoints, shared by the members.
  GroupCheckpoint(const Workload& workload, Exchange& exchange, std::string directory,
                  Storage& storage = posix_storage());
  ~GroupCheckpoint();  // waits for the thread

  // The state after `state.step` is to be written. Every member calls it at the same steps, and only when
  // finish() has seen to the one before. False: left, before it began, while what was given up was still
  // being written.
  bool begin(const TrainState& state, const Group& group, const Leave& leave = {});

  struct Report : CheckpointReport {
    GroupEpoch epoch;  // the membership that wrote it, which may have passed
  };
  // Goes on without waiting. The report, once, where this actor leads and the checkpoint is there, or could
  // not be written (`error` is set; training may go on).
  std::optional<Report> advance();

  struct Outcome {
    bool interrupted = false;  // the exchange was, or it was left: what is under way stays so until leave()
    std::optional<Report> report;
  };
  // The same, and waits until nothing is under way.
  Outcome finish(const Leave& leave = {});

  // The membership ends. What the members have not all written is given up: the step of that checkpoint, if
  // there is one. What they have is still committed.
  std::optional<std::uint64_t> leave();
  // Waits for what this actor's thread has in hand; where it commits a checkpoint, that is there afterwards.
  // False: left.
  bool wait_for_files(const Leave& leave = {});

 private:
  struct Snapshot;
  struct Pending {
    std::shared_ptr<const Snapshot> snapshot;
    std::future<CheckpointShard> own;           // valid until it is taken
    std::map<ActorId, CheckpointShard> shards;  // the leader's
    std::future<CheckpointReport> commit;       // the leader's, when it has all shards
  };
  // Of what is pending.
  bool leads() const;
  void take_own();
  void take(PeerMessage message);
  std::vector<ActorId> missing() const;
  void begin_commit();
  std::optional<Report> take_report();
  // On the thread.
  CheckpointShard write_shard(const Snapshot& snapshot) const;
  CheckpointReport commit(const Snapshot& snapshot, const std::map<ActorId, CheckpointShard>& shards) const;

  const Workload& workload_;
  Exchange& exchange_;
  const std::string directory_;
  Storage& storage_;
  std::optional<Pending> pending_;
  std::future<CheckpointShard> given_up_;  // its thread may still write
};

}  // namespace seng
