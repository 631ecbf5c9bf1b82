// What an actor's training loop needs of the others: sums of gradients come to a block's owner, directions go
// from owners to all, curvature fragments to owner and backup. The numbers do not depend on who computes
// what: every sum is formed along one fixed binary tree over the V micro-batches (tree.h).
//
// Vectors are the host's, or a device's (Group::vectors): then spans of blocks' vectors are its memory, calls
// that take or give them are queued there, and who goes on with them elsewhere waits for it first.
//
// A block's vector on the way to its owner is [gradient (count) | statistics (statistics_count)]; on the way
// back [direction (count) | statistics (statistics_count)]. One more block, the summary, index blocks.size(),
// is owned by the leader: {loss sum, hits, ...} of `kSummaryFloats` floats.
//
// Threads: add_*, direction_buffer and publish from any lane; the rest from the one driver thread. An
// implementation has its own I/O thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "actors/engine/block.h"
#include "actors/engine/vector_memory.h"
#include "actors/exchange/tree.h"
#include "protocol/base/bytes.h"
#include "protocol/base/error.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/peer.h"

namespace seng {

inline constexpr std::size_t kSummaryFloats = 4;
inline constexpr std::size_t kJudgedLoss = 2;  // where it holds the loss of the step before's batch, now

// What the owner says beside the direction.
struct PublishWord {
  double inner_product = 0;  // g^T d
  std::uint32_t flags = 0;   // the leader's StepFlag bits; only with the summary block
  bool refused = false;      // the refresh of this step was refused: the curvature of before stays in force
  double gradient_squared = 0, direction_squared = 0;  // |g|^2, |d|^2
  std::vector<double> model = {};  // kModelTerms numbers where the step's damping is tried, else none
};
inline constexpr std::size_t kModelTerms = 4;  // StepModel of actors/optim/damping_control.h

struct Placement {              // placement.h computes it: a pure function of blocks and members
  std::vector<ActorId> owner;   // per block, the summary last
  std::vector<ActorId> backup;  // per block; kNoActor in a group of one, and for the summary
};

// How sums and directions travel; everything else goes as messages over ZeroMQ.
enum class BlockPath { kZmq, kNccl };

// Who adds what the members have: a block's owner, along the fixed tree; or NCCL, in an order of its own, so
// that the bits depend on the group. Which of the two is as all members choose it (link_choice.h).
enum class Reduction { kOrdered, kFast };

struct Group {
  JobId job = 0;
  GroupEpoch epoch;
  ActorId self = kNoActor;
  std::uint32_t micro_batches = 0;  // V
  std::vector<Member> members;      // the leader first
  Placement placement;
  // Per block, without the summary: words of 4 bytes of one fragment, so that a peer's is checked against it.
  // May be left empty (sgd): then fragments are only bounded.
  std::vector<std::uint64_t> fragment_floats;
  BlockPath path = BlockPath::kZmq;           // all members choose the same (link_choice.h)
  Reduction reduction = Reduction::kOrdered;  // kFast: over NCCL only
  // Where this actor's vectors of blocks, but the summary's, are handed in, added and given back; null: the
  // host. A device's over NCCL only. What the members send each other is the same.
  std::shared_ptr<VectorMemory> vectors = {};
};

// Whether NCCL adds, in such a group.
inline bool is_fast(const Group& group) {
  return group.reduction == Reduction::kFast && group.path == BlockPath::kNccl;
}

struct StepTraffic {
  std::uint64_t sum_bytes = 0, direction_bytes = 0,
                fragment_bytes = 0;  // sent by this actor, headers included
};

// What next() returns; see there.
struct BlockSummed {  // this actor owns the block and the tree is complete
  std::uint32_t block;
  std::span<float> sum;  // [gradient | statistics], sums over the global batch; valid until the step is over
};
struct FragmentArrived {  // this actor owns or backs up the block
  std::uint32_t block, micro;
  std::span<const float> values;
  Frame owner;  // keeps `values`
};
// Every block's direction of this step is here; and, if curvature is renewed in it, every fragment that
// concerns this actor came as an event before.
struct StepComplete {
  std::vector<std::span<const float>> directions;  // per block, the summary last; valid until begin_step
  std::vector<double> inner_products;              // per block
  std::vector<bool> refused;                       // per block: publish() said so
  std::uint32_t flags = 0;                         // the leader's StepFlag bits
  // Per block, as published.
  std::vector<double> gradient_squares = {}, direction_squares = {};
  std::vector<std::vector<double>> models = {};
  std::shared_ptr<const void> keeps = {};  // of a device's directions: their memory, also beyond begin_step
};
// What came on the side channels. next() returns these only while no step is open (before begin_step, or
// after StepComplete), so that a peer that is already past the step disturbs nobody in it.
struct PeerMessage {
  ActorId from;
  std::uint64_t step = 0;
  std::variant<EvaluationPart, StateDigest, CheckpointShard> body;
};
struct Interrupted {  // interrupt() was called, or a peer cannot be reached
  std::string reason;
};
using ExchangeEvent = std::variant<BlockSummed, FragmentArrived, StepComplete, PeerMessage, Interrupted>;

class Exchange {
 public:
  virtual ~Exchange() = default;

  // Fixes the membership; whatever belongs to an older one is dropped from here on. Connects to all members,
  // and waits for them where their path needs that.
  // leaves: asked once, from when on interrupt() counts for this membership. True: another is announced, and
  // it is left at once, interrupted. So one that is announced before the call of interrupt() is never missed.
  virtual Status join(const Group& group, const std::function<bool()>& leaves = {}) = 0;

  // Opens step `step` (steps are numbered from 1: the step that makes the state "step"). Messages of step + 1
  // that faster peers already send are kept for it.
  // renews_curvature: fragments travel in it. Others are told by this actor's own fragments; one without
  // micro-batches has none and must be told here.
  virtual void begin_step(std::uint64_t step, bool renews_curvature = false) = 0;

  // A micro-batch's vector of a block; copied or added before it returns. When it completes a maximal subtree
  // of this actor's range, that sum leaves for the owner at once.
  virtual void add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                        std::span<const float> statistics) = 0;
  // The same of several of this actor's micro-batches, where their vectors have been added already: as the
  // tree adds them that own sums run along (own_tree(), sum_pieces.h), of which `node` is a node. No
  // micro-batch is in two, or in one and by itself.
  virtual void add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                        std::span<const float> statistics) = 0;
  // A micro-batch's fragment of a block, for its owner and backup (which may be this actor: then it comes
  // back as FragmentArrived without being copied). Comes before the same micro-batch's add_leaf of the block;
  // all micro-batches of a step have one of a block, or none has. An empty one is none.
  virtual void add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values) = 0;

  // Where the owner may form a block's [direction | statistics]: publishing this very span copies nothing.
  // Valid until the next begin_step. The block must be this actor's.
  virtual std::span<float> direction_buffer(std::uint32_t block) = 0;

  // The owner's direction, [direction | statistics], to all members. Where the step renews the block's
  // curvature it leaves only when the block's backup has all fragments too (CurvatureHeld): what any member
  // commits then survives the owner.
  virtual void publish(std::uint32_t block, std::span<const float> direction,
                       const PublishWord& word = {}) = 0;

  virtual void send(ActorId to, std::uint64_t step,
                    const std::variant<EvaluationPart, StateDigest, CheckpointShard>&) = 0;

  // Waits for the next event; an interruption goes before all others. After StepComplete of a step the next
  // event of the step's kind comes only after begin_step.
  virtual ExchangeEvent next() = 0;
  // next() would not wait.
  virtual bool has_event() const = 0;

  // Waits for the next message of that kind and step (see send()); whatever else has come stays for next()
  // and other calls. For a leader that gathers: a fast peer's shard may overtake a slow one's evaluation.
  // `missing`: of whom; awaits() says so meanwhile.
  virtual std::variant<PeerMessage, Interrupted> next_message(MessageKind kind, std::uint64_t step,
                                                              const std::vector<ActorId>& missing) = 0;
  // The same without waiting: empty where there is none, also in a step.
  virtual std::optional<PeerMessage> take_message(MessageKind kind, std::uint64_t step) = 0;

  // From any thread: next() returns Interrupted, now and until join().
  virtual void interrupt(std::string reason) = 0;
  // After an interruption: leaves the step in hand, and gives its fragments that have come and were not taken
  // yet. A backup that has said it holds a block's fragments must find them all; so from here on nothing more
  // of the step is taken, and nothing said.
  virtual std::vector<FragmentArrived> take_fragments() = 0;
  // From any thread: interrupt() was called since join(); what is computed for the step is for nothing.
  virtual bool interrupted() const = 0;

  // From any thread: whose parts of the step in hand, or of what next_message() waits for, are missing, in
  // order, without this actor. Else empty.
  virtual std::vector<ActorId> awaits() const = 0;

  virtual StepTraffic traffic() const = 0;  // of the step since begin_step
};

}  // namespace seng
