// A checkpoint written by the whole group: every member writes the curvature of the blocks that it owns into
// the step's staging directory and tells the leader, who writes the model, the manifest, and renames.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "actors/exchange/exchange.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

class GroupCheckpoint {
 public:
  // Borrowed; must outlive it. `directory`: the job's checkpoints, shared by the members.
  GroupCheckpoint(const Workload& workload, Exchange& exchange, std::string directory);

  // Writes the state after `state.step`. Every member calls it at the same steps; the leader gets the report
  // (whose `error` is set when it could not be written; training may go on), the others an empty one at once.
  // Empty for the leader: interrupted.
  std::optional<CheckpointReport> write(const TrainState& state, const Group& group);

 private:
  // `staging` empty: only the digests, which the state's hash needs also when nothing can be written.
  CheckpointShard own_shard(const TrainState& state, const Group& group, const std::string& staging);
  std::optional<CheckpointReport> finish(const TrainState& state, const Group& group,
                                         const std::string& staging, CheckpointShard own);

  const Workload& workload_;
  Exchange& exchange_;
  std::string directory_;
};

}  // namespace seng
