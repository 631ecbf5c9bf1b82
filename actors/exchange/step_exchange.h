// The exchange without sockets: what happens in a step, given what the lanes and the driver hand in and what
// peers send. Pure: no I/O, no clock, no thread of its own; the messages to send wait in take_outgoing(), the
// events for the driver in next_event().
//
//   add_leaf --> BlockSum --(own block: all leaves there)--> BlockSummed --> driver --> publish -->
//   DirectionSet, Outbox
//                   |  ^--- receive(PartialSums)                                           |
//                   `--(a maximal subtree of a peer's block)--> Outbox                     |
//   add_fragment --> Outbox, FragmentArrived   receive(Fragment) --> FragmentArrived       |
//                                     receive(Directions) --> DirectionSet --(all blocks)--> StepComplete
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <tuple>
#include <variant>
#include <vector>

#include "actors/exchange/assembly.h"
#include "actors/exchange/backup_wait.h"
#include "actors/exchange/block_carrier.h"
#include "actors/exchange/block_sums.h"
#include "actors/exchange/exchange.h"
#include "actors/exchange/group_view.h"
#include "actors/exchange/outbox.h"
#include "actors/exchange/step_progress.h"

namespace seng {

struct StepExchangeOptions {
  std::vector<std::size_t> block_floats;  // per block, gradient + statistics, without the summary
  GroupLimits limits;
  // Runs below it are gathered into one message. A quarter of the run length: large enough that the cost per
  // message (tens of microseconds) is small beside its bytes, small enough that gathering does not delay
  // much.
  std::size_t bundle_bytes = std::size_t{256} << 10;
  // PeerMessages that the driver has not taken, all peers together; beyond, the oldest are dropped. A step
  // has a few.
  std::size_t max_peer_messages = 10'000;
  // Messages of a membership that this actor has not joined yet are kept for its join(): a faster peer may be
  // in it already. Beyond that many bytes they are dropped.
  std::size_t max_future_bytes = std::size_t{256} << 20;
};
std::vector<std::size_t> block_floats(std::span<const Block> blocks);

// What was not taken, and why; since the start.
struct ExchangeCounters {
  std::uint64_t stale = 0;       // of another job, epoch or an older step: dropped
  std::uint64_t duplicates = 0;  // parts that were there already: dropped
  std::uint64_t refused = 0;     // messages that do not fit
};

// Thread-safe, with these exceptions: receive() from one thread at a time, and join, begin_step and
// next_event from the driver's only.
class StepExchange {
 public:
  explicit StepExchange(StepExchangeOptions options);

  // As in exchange.h. With a `carrier` sums and directions go by it, in that membership.
  Status join(const Group& group, std::shared_ptr<BlockCarrier> carrier = nullptr);
  void begin_step(std::uint64_t step, bool renews_curvature);
  void add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                std::span<const float> statistics);
  void add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                std::span<const float> statistics);
  void add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values);
  std::span<float> direction_buffer(std::uint32_t block);
  void publish(std::uint32_t block, std::span<const float> direction, const PublishWord& word);
  void send(ActorId to, std::uint64_t step,
            const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body);
  std::vector<ActorId> awaits() const;
  StepTraffic traffic() const;

  void say_hello(const std::string& token) { outbox_.add_hello(token); }
  // The leader's, to all: how the members' carriers come together.
  void say_identity(const std::string& identity) { outbox_.add_identity(identity); }
  // One message of an actor whose identity the caller has made sure of. What is stale or there already is
  // dropped and counted; what does not fit is an error that names it, and has no effect but for parts that
  // precede the misfit where only the state of the sums can tell.
  Status receive(const Message& message);

  // What the carrier has brought, whole: a node's sum of a block that is owned here, a peer's direction.
  // Dropped where the membership or step is not the one in hand.
  Status receive_sum(const GroupEpoch& epoch, std::uint64_t step, std::uint32_t block, std::uint32_t node,
                     const Frame& values);
  Status receive_direction(const GroupEpoch& epoch, std::uint64_t step, std::uint32_t block,
                           const PublishWord& word, const Frame& values);

  std::optional<ExchangeEvent> next_event();
  bool has_event() const;
  bool would_give_event() const;  // next_event() would: a message beside the step waits until that is over
  // The first message of that kind and step, if there is one.
  std::optional<PeerMessage> take_message(MessageKind kind, std::uint64_t step);
  std::vector<FragmentArrived> take_fragments();
  std::vector<Outgoing> take_outgoing() { return outbox_.take(); }
  bool has_outgoing() const { return !outbox_.empty(); }
  ExchangeCounters counters() const;
  const FloatPool& pool() const { return *pool_; }

 private:
  // A checked part of a message.
  struct SumArrival {
    GroupView::SumRun run;
    Frame values;
  };
  struct DirectionArrival {
    GroupView::DirectionRun run;
    PublishWord word;
    Frame values;
  };
  struct FragmentArrival {
    Fragment part;
    Frame values;
  };
  struct HeldArrival {
    std::uint32_t block;
  };
  using Arrived = std::variant<SumArrival, DirectionArrival, FragmentArrival, HeldArrival>;
  using EarlyKey = std::tuple<std::size_t, std::uint32_t, std::uint32_t, std::uint64_t>;
  using EarlyStep = std::map<EarlyKey, Arrived>;

  static EarlyKey key(const Arrived& arrived);
  // Require step_mutex_.
  Status receive_counted(const Message& message);
  Status receive_checked(const Message& message);
  Status receive_current(const Message& message);  // its envelope's job and epoch are the group's
  void keep_for_join(const Message& message);
  Status receive_side(const Message& message);
  Status receive_identity(const Message& message);
  bool in_hand(const GroupEpoch& epoch, std::uint64_t step) const;
  Result<std::vector<Arrived>> parse(const Message& message) const;
  bool expects(std::uint64_t step) const;
  Status apply(const Arrived& arrived);
  Status apply(const SumArrival& sum);
  Status apply(const DirectionArrival& direction);
  Status apply(const FragmentArrival& fragment);
  Status apply(const HeldArrival& held);
  void release(std::uint32_t block, const PublishWord& word);
  void finished(std::uint32_t block, std::optional<BlockSum::Finished> finished);
  void directions_complete();
  void fragment_seen(std::uint32_t block) { progress_.fragment_seen(block); }
  void fragment_complete(std::uint32_t block);
  void push_complete();
  void push(ExchangeEvent event);
  void push_message(PeerMessage message);

  const StepExchangeOptions options_;
  const std::shared_ptr<FloatPool> pool_;
  StepPools pools_;  // of the membership
  Outbox outbox_;

  // Exclusive while the step or the group changes; what follows is otherwise constant or has its own lock.
  mutable std::shared_mutex step_mutex_;
  std::shared_ptr<const GroupView> group_;
  std::shared_ptr<BlockCarrier> carrier_;  // null: messages
  std::uint64_t step_ = 0;                 // in hand; 0: none since join
  bool left_ = false;                      // take_fragments() was called in it
  std::unique_ptr<BlockSums> sums_;
  std::unique_ptr<DirectionSet> directions_;
  std::unique_ptr<FragmentSet> fragments_;    // receive() and begin_step only
  std::map<std::uint64_t, EarlyStep> early_;  // receive() and begin_step only
  std::vector<Message> future_;               // receive() and join only: of later memberships
  std::size_t future_bytes_ = 0;
  std::atomic<std::uint32_t> flags_{0};
  StepProgress progress_;
  BackupWait backups_;

  mutable std::mutex event_mutex_;
  // Guarded by event_mutex_.
  std::deque<ExchangeEvent> events_;  // of the step
  std::deque<PeerMessage> messages_;
  bool step_open_ = false;  // from begin_step until StepComplete has been taken

  std::atomic<std::uint64_t> stale_{0}, duplicates_{0}, refused_{0};
};

}  // namespace seng
