// A member's part in a warm-up (WarmUp): beside the training it offers to newcomers what they need to catch
// up.
//
//   all members   the curvature in force of the blocks that the membership to come places with a newcomer
//   the source    a snapshot, made between two steps, and a record of every step from there on
//
// A snapshot is a copy, of twice the parameters: the members wait as long as the source copies. A step's
// record is a copy of its directions. Curvature is not copied: an accepted version never changes, and is
// shared. While nobody follows nothing is kept and nothing is done.
//
// Records are bounded: the oldest are let go where they are more than WarmUpLimits. A newcomer that is
// further behind gives up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "actors/engine/lanes.h"
#include "actors/exchange/exchange.h"
#include "actors/state/blob_server.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/messages/membership.h"

namespace seng {

struct WarmUpLimits {
  std::size_t record_bytes = std::size_t{256} << 20;  // of records that are kept
  std::size_t records_min = 4;                        // that are kept though they are larger
  // Where steps are so short that more fit, nobody waits for what is pulled instead.
  std::size_t records_max = 4096;

  // Of `bytes` each.
  std::size_t records(std::size_t bytes) const {
    return std::clamp(record_bytes / bytes, records_min, records_max);
  }
};

// The driver's thread's.
class WarmUpService {
 public:
  // Borrowed; must outlive it. The server's offer must run.
  struct Parts {
    BlobServer* server = nullptr;
    const Workload* workload = nullptr;
    const TrainState* state = nullptr;
    Lanes* lanes = nullptr;
    WarmUpLimits limits;
  };
  explicit WarmUpService(Parts parts) : parts_(parts) {}

  // Between two steps: takes the place of the order before. `group`: the membership that trains.
  void begin(const WarmUp& order, const Group& group);
  // The membership ends; what is offered stays until the server's offer does.
  void end();

  // The step was committed: `state` is the one behind it.
  void committed(const StepComplete& step);
  // Between two steps: offers what was renewed.
  void renew();
  // committed() has something to do.
  bool is_followed() const { return records_; }

 private:
  void drop_all();
  void make_snapshot(std::uint64_t number);

  const Parts parts_;
  bool records_ = false;                              // it is the source
  std::set<std::uint32_t> blocks_;                    // whose curvature is asked for
  std::vector<BlobKey> snapshot_;                     // as offered
  std::deque<std::uint64_t> steps_;                   // whose records are offered
  std::map<std::uint32_t, std::uint64_t> curvature_;  // offered: block and version
};

}  // namespace seng
