#include "tests/actors/exchange/memory_group.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "actors/exchange/placement.h"

namespace seng::testing {

StepNumbers::StepNumbers(std::uint64_t seed, const std::vector<Block>& blocks, std::uint32_t micro_batches)
    : seed_(seed), floats_(block_floats(blocks)), micro_batches_(micro_batches) {
  floats_.push_back(kSummaryFloats);
}

std::vector<float> StepNumbers::leaf(std::uint64_t step, std::uint32_t block, std::uint32_t micro) const {
  return Random(seed_ + 1'000'003 * step + 1009 * block + micro).floats(floats_[block]);
}

std::vector<float> StepNumbers::sum(std::uint64_t step, std::uint32_t block) const {
  return sum(step, block, {0, micro_batches_});
}

std::vector<float> StepNumbers::sum(std::uint64_t step, std::uint32_t block, const LeafRange& node) const {
  std::vector<std::vector<float>> leaves;
  for (std::uint32_t micro = node.first; micro < node.last; ++micro)
    leaves.push_back(leaf(step, block, micro));
  return tree_sum(leaves, 0, node.size());
}

std::vector<std::uint64_t> StepNumbers::fragment_floats() const {
  std::vector<std::uint64_t> floats;
  for (std::size_t block = 0; block + 1 < floats_.size(); ++block) {
    floats.push_back(block % 4 == 3 ? 0 : 1 + 3 * floats_[block] / 2);
  }
  return floats;
}

std::vector<float> StepNumbers::fragment(std::uint64_t step, std::uint32_t block, std::uint32_t micro) const {
  return Random(~(seed_ + 1'000'003 * step + 1009 * block + micro)).floats(fragment_floats()[block]);
}

std::vector<float> StepNumbers::direction(std::span<const float> sum) {
  std::vector<float> direction(sum.begin(), sum.end());
  for (float& value : direction) value = 0.3f * value;
  return direction;
}

MemoryGroup::MemoryGroup(Random& random, MemoryGroupOptions options, std::uint32_t micro_batches)
    : random_(random),
      options_(std::move(options)),
      micro_batches_(micro_batches),
      numbers_(random.seed, options_.blocks, micro_batches) {}

void MemoryGroup::join(const std::vector<Member>& members, GroupEpoch epoch) {
  std::map<ActorId, Peer> old = std::move(members_);
  members_.clear();
  for (const Member& member : members) {
    Peer& peer = members_[member.actor];
    if (old.contains(member.actor)) peer.exchange = std::move(old[member.actor].exchange);
    if (!peer.exchange) {
      StepExchangeOptions options;
      options.block_floats = block_floats(options_.blocks);
      options.limits.run_floats = options_.run_floats;
      options.bundle_bytes = options_.bundle_bytes;
      peer.exchange = std::make_unique<StepExchange>(options);
    }
    peer.group = make_group(options_.blocks, members, member.actor, epoch);
    if (options_.fragment_sizes_known) peer.group.fragment_floats = numbers_.fragment_floats();
    const Status joined = peer.exchange->join(peer.group);
    ASSERT_TRUE(joined) << joined.error().message;
  }
}

void MemoryGroup::run(std::uint64_t from, std::uint64_t to, std::uint64_t ticks) {
  for (auto& [actor, peer] : members_) peer.step = from;
  for (; ticks > 0; --ticks) {
    std::vector<Peer*> busy;
    bool done = true;
    for (auto& [actor, peer] : members_) {
      if (peer.step < to || peer.open) done = false;
      busy.push_back(&peer);
    }
    if (done || ::testing::Test::HasFatalFailure()) break;
    Peer& peer = *busy[random_.below(static_cast<std::uint32_t>(busy.size()))];
    switch (random_.below(6)) {
      case 0:
        if (!peer.open && peer.step < to) begin(peer, peer.step + 1);
        break;
      case 1:
      case 2:
        work(peer);
        break;
      case 3:
        publish(peer);
        break;
      case 4:
        take_event(peer);
        break;
      default:
        for (int i = 0; i < 3; ++i) deliver();
    }
    collect(peer);
  }
}

void MemoryGroup::begin(Peer& peer, std::uint64_t step) {
  collect(peer);  // what a delivery had it say in the membership before is not the step's
  peer.step = step;
  peer.open = true;
  peer.fragments.clear();
  peer.sent = {};
  peer.tasks.clear();
  for (const Member& member : peer.group.members) {
    if (member.actor != peer.group.self) continue;
    for (std::uint32_t block = 0; block < numbers_.blocks(); ++block) {
      std::vector<LeafRange> open = maximal_subtrees({member.first_micro, member.last_micro}, micro_batches_);
      while (!open.empty()) {
        const LeafRange node = open.back();
        open.pop_back();
        if (node.size() == 1 || random_.chance(options_.sums)) {
          peer.tasks.push_back({block, node});
        } else {
          open.push_back({node.first, split_point(node)});
          open.push_back({split_point(node), node.last});
        }
      }
    }
  }
  std::shuffle(peer.tasks.begin(), peer.tasks.end(), random_.engine);
  // Only who has no micro-batches needs to be told.
  peer.exchange->begin_step(step, refresh(step) && (peer.tasks.empty() || random_.chance(0.5)));
}

void MemoryGroup::work(Peer& peer) {
  if (peer.tasks.empty()) return;
  const auto [block, node] = peer.tasks.back();
  peer.tasks.pop_back();
  for (std::uint32_t micro = node.first; micro < node.last; ++micro) {
    if (refresh(peer.step) && block + 1 < numbers_.blocks())
      peer.exchange->add_fragment(block, micro, numbers_.fragment(peer.step, block, micro));
  }
  const std::vector<float> sum = numbers_.sum(peer.step, block, node);
  const std::span<const float> values = sum;
  const std::size_t statistics = block < options_.blocks.size() ? options_.blocks[block].statistics_count : 0;
  const auto gradient = values.first(values.size() - statistics);
  if (node.size() == 1 && random_.chance(0.5)) {
    peer.exchange->add_leaf(block, node.first, gradient, values.last(statistics));
  } else {
    peer.exchange->add_node(block, node, gradient, values.last(statistics));
  }
}

void MemoryGroup::publish(Peer& peer) {
  if (peer.to_publish.empty() || !fragments_are_in(peer, peer.to_publish.back().first)) return;
  auto [block, direction] = std::move(peer.to_publish.back());
  peer.to_publish.pop_back();
  std::span<const float> from = direction;
  if (random_.chance(0.5)) {
    const std::span<float> buffer = peer.exchange->direction_buffer(block);
    std::copy(direction.begin(), direction.end(), buffer.begin());
    from = buffer;
  }
  const bool summary = block + 1 == numbers_.blocks();
  peer.exchange->publish(block, from,
                         {.inner_product = StepNumbers::inner_product(peer.step, block),
                          .flags = summary ? static_cast<std::uint32_t>(peer.step) : 0,
                          .gradient_squared = 2 * StepNumbers::inner_product(peer.step, block),
                          .direction_squared = 3 * StepNumbers::inner_product(peer.step, block),
                          .model = StepNumbers::model(peer.step, block)});
}

// An owner forms a block's direction of a refresh step from all its fragments.
bool MemoryGroup::fragments_are_in(const Peer& peer, std::uint32_t block) const {
  const auto floats = numbers_.fragment_floats();
  if (!refresh(peer.step) || block >= floats.size() || floats[block] == 0) return true;
  std::uint32_t here = 0;
  for (const auto& [key, times] : peer.fragments) here += key.first == block ? 1 : 0;
  return here == micro_batches_;
}

void MemoryGroup::expect_refreshes_are_held() {
  std::set<std::uint64_t> committed;
  for (const auto& [actor, peer] : members_) {
    if (!peer.open && peer.step > 0 && refresh(peer.step)) committed.insert(peer.step);
  }
  for (auto& [actor, peer] : members_) {
    for (const FragmentArrived& fragment : peer.exchange->take_fragments())
      ++peer.fragments[{fragment.block, fragment.micro}];
    if (!committed.contains(peer.step)) continue;
    for (std::uint32_t block = 0; block + 1 < numbers_.blocks(); ++block) {
      if (peer.group.placement.backup[block] != actor) continue;
      EXPECT_TRUE(fragments_are_in(peer, block))
          << "a member has committed step " << peer.step << ", but the backup of block " << block
          << " cannot stand in for its owner";
      ++held_;
    }
  }
}

void MemoryGroup::take_event(Peer& peer) {
  auto event = peer.exchange->next_event();
  if (!event) return;
  if (const auto* summed = std::get_if<BlockSummed>(&*event)) {
    ASSERT_TRUE(same_bits(summed->sum, numbers_.sum(peer.step, summed->block)))
        << "block " << summed->block << " of step " << peer.step;
    peer.to_publish.emplace_back(summed->block, StepNumbers::direction(summed->sum));
  } else if (const auto* fragment = std::get_if<FragmentArrived>(&*event)) {
    ASSERT_TRUE(same_bits(fragment->values, numbers_.fragment(peer.step, fragment->block, fragment->micro)));
    ++peer.fragments[{fragment->block, fragment->micro}];
  } else if (const auto* done = std::get_if<StepComplete>(&*event)) {
    complete(peer, *done);
  } else {
    FAIL() << "an event of another kind";
  }
}

void MemoryGroup::complete(Peer& peer, const StepComplete& done) {
  ASSERT_TRUE(peer.open);
  peer.open = false;
  ASSERT_EQ(done.directions.size(), numbers_.blocks());
  for (std::uint32_t block = 0; block < numbers_.blocks(); ++block) {
    ASSERT_TRUE(same_bits(done.directions[block], StepNumbers::direction(numbers_.sum(peer.step, block))))
        << block;
    const double product = StepNumbers::inner_product(peer.step, block);
    ASSERT_EQ(done.inner_products[block], product);
    ASSERT_EQ(done.gradient_squares[block], 2 * product);
    ASSERT_EQ(done.direction_squares[block], 3 * product);
    ASSERT_EQ(done.models[block], StepNumbers::model(peer.step, block));
  }
  EXPECT_EQ(done.flags, peer.step);
  // Every fragment that concerns this member came before, once.
  std::size_t expected = 0;
  const auto floats = numbers_.fragment_floats();
  for (std::uint32_t block = 0; block < floats.size() && refresh(peer.step); ++block) {
    const Placement& placement = peer.group.placement;
    const bool here = placement.owner[block] == peer.group.self || placement.backup[block] == peer.group.self;
    if (here && floats[block] > 0) expected += micro_batches_;
  }
  EXPECT_EQ(peer.fragments.size(), expected) << "step " << peer.step;
  for (const auto& [key, times] : peer.fragments) EXPECT_EQ(times, 1);
  collect(peer);
  const StepTraffic counted = peer.exchange->traffic();
  EXPECT_EQ(counted.sum_bytes, peer.sent.sum_bytes);
  EXPECT_EQ(counted.direction_bytes, peer.sent.direction_bytes);
  EXPECT_EQ(counted.fragment_bytes, peer.sent.fragment_bytes);
}

void MemoryGroup::collect(Peer& peer) {
  for (Outgoing& outgoing : peer.exchange->take_outgoing()) {
    auto header = encode_header(outgoing.message);
    ASSERT_TRUE(header) << header.error().message;
    std::uint64_t bytes = header->size();
    std::vector<Frame> frames{Frame::from_string(*std::move(header))};
    for (const Frame& frame : outgoing.message.payload) {
      frames.push_back(frame);
      bytes += frame.size();
    }
    const auto kind = static_cast<MessageKind>(outgoing.message.envelope.kind);
    if (kind == MessageKind::kPartialSums) peer.sent.sum_bytes += bytes;
    if (kind == MessageKind::kDirections) peer.sent.direction_bytes += bytes;
    if (kind == MessageKind::kFragment || kind == MessageKind::kCurvatureHeld) {
      peer.sent.fragment_bytes += bytes;
    }
    in_flight_.push_back({outgoing.to, kind, std::move(frames)});
  }
}

void MemoryGroup::deliver() {
  auto& from = !late_.empty() && random_.chance(0.05) ? late_ : in_flight_;
  if (from.empty()) return;
  std::swap(from[random_.below(static_cast<std::uint32_t>(from.size()))], from.back());
  const bool slow =
      from.back().to == options_.slow_fragments_to && from.back().kind == MessageKind::kFragment;
  if (slow && random_.chance(0.98)) return;
  Sent sent = std::move(from.back());
  from.pop_back();
  if (&from == &in_flight_ && random_.chance(options_.duplicate)) {
    // A copy of the bytes: the buffers themselves are used again.
    Sent copy{sent.to, sent.kind, {}};
    for (const Frame& frame : sent.frames) copy.frames.push_back(Frame::copy_of(frame.data(), frame.size()));
    (random_.chance(0.5) ? in_flight_ : late_).push_back(std::move(copy));
  }
  const auto receiver = members_.find(sent.to);
  if (receiver == members_.end()) return;
  auto message = parse_message(std::move(sent.frames));
  ASSERT_TRUE(message) << message.error().message;
  ++delivered_;
  const Status received = receiver->second.exchange->receive(*message);
  if (!received) errors_.push_back(received.error().message);
  // No collect() here: what a delivery makes the receiver send leaves at one of its later turns.
}

}  // namespace seng::testing
