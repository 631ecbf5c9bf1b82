#include "actors/exchange/outbox.h"

#include <algorithm>
#include <utility>

namespace seng {

void Outbox::join(std::shared_ptr<const GroupView> group) {
  std::lock_guard lock(mutex_);
  group_ = std::move(group);
  step_ = 0;
  directions_ = {};
  traffic_ = {};
  // Sequences count per connection, and connections outlive a membership.
  std::map<ActorId, Peer> peers;
  for (const ActorId peer : group_->peers()) peers[peer].sequence = peers_[peer].sequence;
  peers_ = std::move(peers);
}

void Outbox::begin_step(std::uint64_t step) {
  std::lock_guard lock(mutex_);
  step_ = step;
  traffic_ = {};
  directions_ = {};
  directions_.runs_owed = group_->owned_runs(group_->self());
  for (auto& [actor, peer] : peers_) {
    peer.sums = {};
    peer.sums.runs_owed = group_->own_subtrees().size() * group_->owned_runs(actor);
  }
}

void Outbox::add_hello(const std::string& token) {
  std::lock_guard lock(mutex_);
  for (const ActorId peer : group_->peers()) push(peer, 0, make_message({}, PeerHello{token}), nullptr);
}

void Outbox::add_identity(const std::string& identity) {
  std::lock_guard lock(mutex_);
  for (const ActorId peer : group_->peers()) push(peer, 0, make_message({}, LinkIdentity{identity}), nullptr);
}

void Outbox::add_sum(ActorId to, const SumPart& part, PooledFloats values) {
  std::lock_guard lock(mutex_);
  Peer& peer = peers_.at(to);
  Bundle<PartialSums>& bundle = peer.sums;
  --bundle.runs_owed;
  const std::size_t count = part.count;
  if (count * sizeof(float) >= bundle_bytes_) {
    const void* data = values.data();
    Frame frame(std::move(values).share(), data, count * sizeof(float));
    push(to, step_, make_message({}, PartialSums{{part}}, {std::move(frame)}), &traffic_.sum_bytes);
  } else {
    if (!has_room(bundle, count)) flush_sums(to, peer);
    bundle.body.parts.push_back(part);
    gather(bundle, values.data(), count);
  }
  if (bundle.runs_owed == 0) flush_sums(to, peer);
}

void Outbox::add_direction(const DirectionPart& part, const Frame& values, std::uint32_t flags) {
  std::lock_guard lock(mutex_);
  --directions_.runs_owed;
  if (values.size() >= bundle_bytes_) {
    send_directions(Directions{{part}, flags}, values);
  } else {
    if (!has_room(directions_, part.count)) flush_directions();
    directions_.body.parts.push_back(part);
    directions_.body.flags |= flags;
    gather(directions_, reinterpret_cast<const float*>(values.data()), part.count);
  }
  if (directions_.runs_owed == 0) flush_directions();
}

void Outbox::add_fragment(std::span<const ActorId> to, const Fragment& fragment, const Frame& values) {
  const Message message = make_message({}, fragment, {values});
  std::lock_guard lock(mutex_);
  for (const ActorId actor : to) push(actor, step_, message, &traffic_.fragment_bytes);
}

void Outbox::add_held(ActorId owner, std::uint32_t block) {
  std::lock_guard lock(mutex_);
  push(owner, step_, make_message({}, CurvatureHeld{{block}}), &traffic_.fragment_bytes);
}

void Outbox::add_message(ActorId to, std::uint64_t step,
                         const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body) {
  Message message = std::visit([](const auto& typed) { return make_message({}, typed); }, body);
  std::lock_guard lock(mutex_);
  push(to, step, std::move(message), nullptr);
}

std::vector<Outgoing> Outbox::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(waiting_, {});
}

bool Outbox::empty() const {
  std::lock_guard lock(mutex_);
  return waiting_.empty();
}

StepTraffic Outbox::traffic() const {
  std::lock_guard lock(mutex_);
  return traffic_;
}

template <class Body>
bool Outbox::has_room(const Bundle<Body>& bundle, std::size_t count) const {
  return (bundle.used + count) * sizeof(float) <= bundle_bytes_ && bundle.body.parts.size() < kMaxListItems;
}

template <class Body>
void Outbox::gather(Bundle<Body>& bundle, const float* values, std::size_t count) {
  if (!bundle.values) bundle.values = pool_->take(bundle_bytes_ / sizeof(float));
  std::copy_n(values, count, bundle.values.data() + bundle.used);
  bundle.used += count;
}

template <class Body>
Frame Outbox::take_values(Bundle<Body>& bundle) {
  const void* data = bundle.values.data();
  const std::size_t bytes = std::exchange(bundle.used, 0) * sizeof(float);
  return Frame(std::move(bundle.values).share(), data, bytes);
}

void Outbox::flush_sums(ActorId to, Peer& peer) {
  if (peer.sums.body.parts.empty()) return;
  const PartialSums body = std::exchange(peer.sums.body, {});
  push(to, step_, make_message({}, body, {take_values(peer.sums)}), &traffic_.sum_bytes);
}

void Outbox::flush_directions() {
  if (directions_.body.parts.empty()) return;
  const Directions body = std::exchange(directions_.body, {});
  send_directions(body, take_values(directions_));
}

void Outbox::send_directions(const Directions& body, const Frame& values) {
  const Message message = make_message({}, body, {values});
  for (const ActorId peer : group_->peers()) push(peer, step_, message, &traffic_.direction_bytes);
}

void Outbox::push(ActorId to, std::uint64_t step, Message message, std::uint64_t* bytes) {
  const Group& group = group_->group();
  Envelope& envelope = message.envelope;
  envelope.job = group.job;
  envelope.epoch = group.epoch;
  envelope.step = step;
  envelope.from = group.self;
  envelope.sequence = ++peers_.at(to).sequence;
  if (bytes != nullptr) {
    *bytes += encode(envelope).size() + message.body.size();
    for (const Frame& frame : message.payload) *bytes += frame.size();
  }
  waiting_.push_back({to, std::move(message)});
}

}  // namespace seng
