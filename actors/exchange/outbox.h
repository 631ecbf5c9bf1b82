// What leaves: runs become messages, small ones bundled, in the order in which they leave.
//
// Sums: a run of at least `bundle_bytes` is a message of its own, its buffer not copied. Smaller ones are
// gathered per destination until the bundle is full or the last run that this step owes the destination is
// in. Directions: the same, with one bundle for all peers, who get the same frames. Fragments: one message
// per run and destination.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/exchange/float_pool.h"
#include "actors/exchange/group_view.h"
#include "protocol/wire/message.h"

namespace seng {

struct Outgoing {
  ActorId to = kNoActor;
  Message message;
};

// Thread-safe.
class Outbox {
 public:
  Outbox(std::size_t bundle_bytes, std::shared_ptr<FloatPool> pool)
      : bundle_bytes_(bundle_bytes), pool_(std::move(pool)) {}

  // What has not been taken stays: of a step that this actor has completed, others may need it still to do
  // the same. Its epoch is the old one, so it disturbs nobody.
  void join(std::shared_ptr<const GroupView> group);
  void begin_step(std::uint64_t step);

  // To every peer; the first message to it in this membership.
  void add_hello(const std::string& token);
  void add_identity(const std::string& identity);  // likewise to every peer
  void add_sum(ActorId to, const SumPart& part, PooledFloats values);
  // values: part.count floats, immutable from here on.
  void add_direction(const DirectionPart& part, const Frame& values, std::uint32_t flags);
  void add_fragment(std::span<const ActorId> to, const Fragment& fragment, const Frame& values);
  void add_held(ActorId owner, std::uint32_t block);
  void add_message(ActorId to, std::uint64_t step,
                   const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body);

  // All that waits, in order; empty if nothing does.
  std::vector<Outgoing> take();
  bool empty() const;
  StepTraffic traffic() const;

 private:
  template <class Body>
  struct Bundle {
    Body body;
    PooledFloats values;  // capacity: bundle_bytes_
    std::size_t used = 0;
    std::uint64_t runs_owed = 0;  // runs of this step that have not been added yet
  };
  struct Peer {
    Bundle<PartialSums> sums;
    std::uint64_t sequence = 0;
  };

  // The rest requires mutex_.
  template <class Body>
  Frame take_values(Bundle<Body>& bundle);
  template <class Body>
  bool has_room(const Bundle<Body>& bundle, std::size_t count) const;
  template <class Body>
  void gather(Bundle<Body>& bundle, const float* values, std::size_t count);
  void flush_sums(ActorId to, Peer& peer);
  void flush_directions();
  void send_directions(const Directions& body, const Frame& values);
  void push(ActorId to, std::uint64_t step, Message message, std::uint64_t* bytes);

  const std::size_t bundle_bytes_;
  const std::shared_ptr<FloatPool> pool_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::shared_ptr<const GroupView> group_;
  std::uint64_t step_ = 0;
  std::map<ActorId, Peer> peers_;
  Bundle<Directions> directions_;
  std::vector<Outgoing> waiting_;
  StepTraffic traffic_;
};

}  // namespace seng
