// How a member comes to the state of the base step when the membership changes: it offers what it holds,
// pulls what it lacks from those who have it, and takes it over when the group goes on.
//
//   Assign --> pull() --> Ready ... Resume --> take_over()
//      `--> offers what it holds ----------------^ withdrawn
//
// Until take_over() nothing that is offered changes, since others may be reading it. From then on an offer
// runs (BlobServer::run), to which WarmUpService adds what newcomers follow.
//
// Blobs: "parameters", "momentum", "statistics" and "meta" in the version of their step; "curvature/B/inputs"
// and "curvature/B/gradients" of block B in the version of its refresh (Curvature::Version::first and
// second).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/state/blob_fetch.h"
#include "actors/state/blob_server.h"
#include "actors/train_state.h"
#include "protocol/base/error.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

// The state after a step as blobs that keep their memory: a copy.
std::vector<Blob> copy_state(const TrainState& state, Lanes& lanes);
// Of one version of a block's curvature, which they share; their names.
std::vector<Blob> curvature_blobs(std::uint32_t block, const Curvature::Version& version);
std::vector<std::string> curvature_blob_names(std::uint32_t block);
// Says of which step the snapshot of a WarmUp is: 8 bytes, in the version of the WarmUp's number.
inline constexpr const char* kSnapshotBlob = "snapshot";
// A step record (step_update.h) in the version of its step.
inline constexpr const char* kStepBlob = "step";

struct StateTransferOptions {
  std::string endpoint;                          // where this actor offers its state
  std::string token;                             // the job's
  double stall_s = 10;                           // a holder that says nothing for so long has stalled
  std::atomic<std::uint64_t>* pieces = nullptr;  // counts what it pulls; must outlive it
};

// All methods are the driver's, but for interrupt().
class StateTransfer {
 public:
  // Borrowed; must outlive it.
  static Result<std::unique_ptr<StateTransfer>> open(StateTransferOptions options, const Workload& workload,
                                                     TrainState& state);

  // What is here of curvature, as Parked says it.
  std::vector<HeldCurvature> held() const;

  // A change of the membership begins: what was pulled for another is dropped, and nothing is offered any
  // more but, `planned`, what runs beside the training: newcomers are still taking the last step.
  void begin(bool planned = false);

  struct Outcome {
    bool lost = false;  // nobody holds a piece of the state: StateLost
    bool interrupted = false;
    std::string what;         // which piece
    std::uint64_t bytes = 0;  // pulled
  };
  // Offers, then pulls what is lacking of the state after `assign.base_step` and of the curvature of blocks
  // that `group` places here; all of it, where the state here is of another lineage. `participants`: members
  // and leavers, with their endpoints. Error: the state cannot be had although somebody holds it.
  Result<Outcome> pull(const Assign& assign, const Group& group, const std::vector<Member>& participants);
  // A leaver's part: offers only.
  void offer(const Assign& assign, GroupEpoch epoch);
  // The group goes on: what it offers may change from here on, and what was pulled is put in place.
  Status take_over(GroupEpoch epoch);

  // For a newcomer, while the group trains: the state after step `step` of the one who offers a snapshot of
  // it, in the group's epoch.
  Result<Outcome> pull_snapshot(std::uint64_t step, ActorId source, const Group& group);
  // Likewise: the curvature that is in force in this state, of the blocks that `future` places here, from
  // those who keep it in `group`.
  Result<Outcome> pull_curvature_ahead(const Group& group, const Group& future);
  // The number of the newest step of which the source offers the snapshot `number`; waits for it.
  Result<Outcome> find_snapshot(std::uint64_t number, ActorId source, const Group& group,
                                std::uint64_t& step);

  BlobServer& server() { return *server_; }

  // From any thread: a pull under way, or the next before begin(), ends.
  void interrupt();
  // Forgets an interruption.
  void go_on();

 private:
  StateTransfer(StateTransferOptions options, const Workload& workload, TrainState& state,
                std::unique_ptr<BlobServer> server);
  struct Holders;
  Result<Outcome> pull_state(const Assign& assign, const Group& group, const Holders& holders);
  Result<Outcome> pull_curvature(const Assign& assign, const Group& group, const Holders& holders,
                                 bool with_waiting);
  Status finish_incoming();
  void drop_incoming();
  Result<Outcome> fetch(const Group& group, const Holders& holders, std::vector<BlobWant> wants);

  const StateTransferOptions options_;
  const Workload& workload_;
  TrainState& state_;
  std::unique_ptr<BlobServer> server_;
  std::vector<std::byte> meta_;          // as it is offered
  std::vector<std::uint32_t> incoming_;  // blocks whose curvature was pulled

  std::mutex mutex_;
  bool interrupted_ = false;    // guarded by mutex_
  BlobFetch* fetch_ = nullptr;  // under way; guarded by mutex_
};

}  // namespace seng
