// A newcomer's part in a warm-up (WarmUp): while the group goes on training it pulls the source's snapshot
// and the curvature that it will keep, and from there on applies every step that the group commits, as a
// member does. When the group takes it in it lacks nothing, or little; whatever it lacks is pulled then. So a
// warm-up may end at any point.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "actors/engine/lanes.h"
#include "actors/gauges.h"
#include "actors/state/blob_stream.h"
#include "actors/state_transfer.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/messages/membership.h"

namespace seng {

// The driver's thread's, but for interrupt().
class Follower {
 public:
  // Borrowed; all must outlive it.
  struct Parts {
    JobId job = 0;
    ActorId actor = kNoActor;
    std::string token;  // the job's
    const Workload* workload = nullptr;
    Lanes* lanes = nullptr;
    TrainState* state = nullptr;
    StateTransfer* transfer = nullptr;
    Gauges* gauges = nullptr;
    std::function<void()> followed = {};  // the state is that of another step; may be empty
    int patience_ms = 500;  // a source of which nothing comes for so long has nothing: its step takes longer
  };
  explicit Follower(Parts parts) : parts_(std::move(parts)) {}

  enum class End {
    kLeft,      // `leave` said so
    kLastStep,  // the group's last step before it changes is applied
    kGaveUp,    // see why()
  };
  // Until one of these. `leave` is asked whenever interrupt() was called; `warm` is told once, when what is
  // left to catch up with is a step, or little to transfer. The state is always that of a committed step,
  // whole; its curvature may be older.
  End run(GroupEpoch epoch, const WarmUp& order, const std::function<bool()>& leave,
          const std::function<void()>& warm);
  const std::string& why() const { return why_; }
  // Since it began to follow this source in this membership.
  std::uint64_t bytes() const;     // pulled
  std::uint64_t followed() const;  // steps applied

  // The membership that it followed is over: what it keeps for going on there, a connection and memory for
  // several steps, is let go.
  void end();

  void interrupt();  // any thread

 private:
  class Waiting;
  using Pulled = Result<StateTransfer::Outcome>;
  // Empty: go on.
  std::optional<End> begin(const WarmUp& order, const std::function<bool()>& leave);
  enum class Curvatures {
    kWhole,    // what is in force in this state is here
    kRenewed,  // before it was here: the record that says so is next
    kNotYet,   // its holders are in the middle of a long step, and have not heard of this newcomer
  };
  std::optional<End> pull_curvature(const Group& future, const std::function<bool()>& leave,
                                    Curvatures& found);
  Pulled attempt(const std::function<Pulled()>& pull, const std::function<bool()>& leave);
  std::optional<End> judge(const Pulled& pulled, const std::function<bool()>& leave);
  End give_up(std::string why);
  std::uint32_t apply(std::span<const std::byte> record);  // the leader's flags

  const Parts parts_;
  Group group_;  // that it follows
  ActorId source_ = kNoActor;
  std::uint64_t pulled_ = 0, followed_ = 0;
  std::string why_;
  std::mutex mutex_;
  std::unique_ptr<BlobStream> stream_;  // replaced under mutex_
};

}  // namespace seng
