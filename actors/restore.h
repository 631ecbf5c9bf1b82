// Where a job's training begins, or goes on after everybody's state is gone: a checkpoint of its own, the one
// that it resumes, weights from a file, or its seed.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "actors/checkpoint/checkpoint.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/base/error.h"

namespace seng {

// What TrainState holds, with the curvature of all blocks.
struct RestoredState {
  std::string source;  // for people: the checkpoint's directory, the weights' file, or "the seed 7"
  std::uint64_t step = 0;
  std::vector<float> parameters, momentum, statistics;
  std::vector<CurvatureValues> curvature;  // by block; none of a block that was never refreshed
  EpochSoFar epoch_so_far;                 // a checkpoint's
  std::string state_sha256;                // a checkpoint's; empty at step 0
  DampingState damping;
  LossScale loss_scale;
  std::string weights_file_sha256;  // of the file that initial.weights names; else empty
};

// Whether a job goes on from a checkpoint of the job `checkpoint` with the bits that the latter would have
// had. kInvalidArgument names every key that differs and both values. Members, cadence of checkpoints and
// evaluations, name, place of the data, ledger, restart, priority and initial may differ; so may the length
// and `end_epochs`, where the learning rate's schedule ends at the same step. The message names the way out.
Status check_agrees(const Workload& job, const JobSpec& checkpoint);

// A job that goes on from initial.checkpoint takes the ranks and the convolutions' choices that were decided
// for that one's job, where it leaves them open. What cannot be read of it the checkpoint's reader will say.
void take_decided(JobSpec& spec);

// The whole checkpoint, checked against its manifest: files, weights, state_sha256. kInvalidArgument: of
// another job (check_agrees), or behind the job's end. kCorrupt, kNotFound, kIo: not whole; file and reason.
Result<RestoredState> restore_state(const Workload& workload, const std::string& checkpoint_dir);

// `on_refused`: a checkpoint that cannot be used, and why.
using OnRefused = std::function<void(const std::string& directory, const Error& error)>;

// Called when something there could not be read, or has gone or been replaced meanwhile, which says nothing
// about what it held: whether to look again. `looks`: so often it was asked before.
using LookAgain = std::function<bool(int looks)>;

// The newest checkpoint below `checkpoints_dir` that can be restored; each newer one was refused by name.
// kNotFound: there is none. kUnavailable: there may be one, for something could not be read; beginning anew
// would throw away what was trained.
Result<RestoredState> newest_restorable(const Workload& workload, const std::string& checkpoints_dir,
                                        const OnRefused& on_refused, const LookAgain& look_again = {});

// The state of the job's beginning: its initial.checkpoint or initial.weights, else from its seed. Errors as
// restore_state and load_initial_weights: the job cannot begin. `sha256`: what initial_sha256() gave when the
// job was planned; kInvalidArgument where the file or the checkpoint is another one now. Empty: not known.
Result<RestoredState> beginning(const Workload& workload, const std::string& sha256 = "");
// What a job begins with, in one number: the checkpoint's state_sha256, or the weights' file's. Empty: its
// seed.
std::string initial_sha256(const RestoredState& beginning);

// The state for training, with the curvature of every block in force (unformed): the first member's, from
// whom the others pull what they own or back up.
Result<TrainState> to_train_state(const Workload& workload, RestoredState restored);

// Weights and running statistics of the job's network under PyTorch's names, from a safetensors file as
// `sengctl export` or the safetensors package writes it. kInvalidArgument names all tensors that are missing,
// of another type or shape, not finite, or not of this network; num_batches_tracked may be there or not.
// Both spans whole; after an error they hold anything.
Status load_initial_weights(const Workload& workload, const std::string& safetensors_path,
                            std::span<float> parameters, std::span<float> statistics);

}  // namespace seng
