// Takes sums and directions to other members by another way than messages, where a group has one (Group::
// path). What is said, and when a step is complete, stays StepExchange's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/exchange/float_pool.h"
#include "actors/exchange/group_view.h"
#include "protocol/base/bytes.h"

namespace seng {

// Thread-safe. None of these waits for a device or for others.
class BlockCarrier {
 public:
  virtual ~BlockCarrier() = default;

  // A membership that goes this way; what belongs to one before is dropped.
  virtual void join(std::shared_ptr<const GroupView> group) = 0;
  // The leader's word by which the members come together (LinkIdentity).
  virtual void meet(const std::string& identity) = 0;
  virtual void begin_step(std::uint64_t step) = 0;
  // One run of a node's sum, of a block that another owns.
  virtual void add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t run, PooledFloats values) = 0;
  // The direction of a block of this actor's own, whole, in runs.
  virtual void add_direction(std::uint32_t block, const PublishWord& word, std::vector<Frame> runs) = 0;
  virtual StepTraffic traffic() const = 0;  // of the step since begin_step
};

}  // namespace seng
