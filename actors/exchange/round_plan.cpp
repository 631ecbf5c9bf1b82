#include "actors/exchange/round_plan.h"

#include <algorithm>
#include <cstring>

namespace seng {
namespace {

using Kind = link::Transfer::Kind;

constexpr int kAll = -1;
constexpr std::size_t kPadding = 16;        // of pieces within an operation
constexpr std::size_t kPlacePadding = 256;  // of operations: where devices copy fast

std::size_t padded(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

struct Word {
  double inner_product, gradient_squared, direction_squared;
  double model[kModelTerms];
  std::uint32_t flags, refused, has_model, unused[3];
};
static_assert(sizeof(Word) == kWordBytes && kWordBytes % kPadding == 0);

}  // namespace

void write_word(const PublishWord& word, std::byte* out) {
  Word plain{.inner_product = word.inner_product,
             .gradient_squared = word.gradient_squared,
             .direction_squared = word.direction_squared,
             .model = {},
             .flags = word.flags,
             .refused = word.refused ? 1u : 0u,
             .has_model = word.model.empty() ? 0u : 1u,
             .unused = {}};
  SENG_CHECK(word.model.empty() || word.model.size() == kModelTerms, "a model of another length");
  std::copy(word.model.begin(), word.model.end(), plain.model);
  std::memcpy(out, &plain, sizeof plain);
}

PublishWord read_word(const std::byte* in) {
  Word plain;
  std::memcpy(&plain, in, sizeof plain);
  PublishWord word{.inner_product = plain.inner_product,
                   .flags = plain.flags,
                   .refused = plain.refused != 0,
                   .gradient_squared = plain.gradient_squared,
                   .direction_squared = plain.direction_squared};
  if (plain.has_model != 0) word.model.assign(plain.model, plain.model + kModelTerms);
  return word;
}

// The mixing steps are SplitMix64's (Steele, Lea, Flood, OOPSLA 2014).
SumMark sum_mark(const RoundMark& mark, int times) {
  std::uint64_t hash = 0;
  const auto mix = [&](std::uint64_t word) {
    hash += word + 0x9e3779b97f4a7c15u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^= hash >> 31;
  };
  for (const std::uint64_t word : {mark.incarnation, mark.counter, mark.step}) mix(word);
  constexpr std::uint64_t kDigit = 4096;  // times at most 4096 ranks is below 2^24
  SumMark sum;
  std::uint64_t bits = mix(mark.round);
  for (std::size_t i = 0; i + 1 < sum.size(); ++i) {
    if (i == 4) bits = mix(mark.round);
    sum[i] = static_cast<float>(bits % kDigit * static_cast<std::uint64_t>(times));
    bits /= kDigit;
  }
  sum.back() = static_cast<float>(times);
  return sum;
}

std::vector<std::vector<link::Transfer>> meeting_rounds(int rank, int ranks, bool fast) {
  std::vector<link::Transfer> pairs, all, sums;
  const auto place = [](int of) { return static_cast<std::size_t>(of) * kMeetingBytes; };
  for (int other = 0; other < ranks; ++other) {
    all.push_back({Kind::kBroadcast, other, place(other), kPadding});
    sums.push_back({Kind::kReduce, other, place(other), kPadding});
    if (other == rank) continue;
    pairs.push_back({Kind::kSend, other, place(rank), kPadding});
    pairs.push_back({Kind::kReceive, other, place(other), kPadding});
  }
  if (!fast) return {std::move(pairs), std::move(all)};
  return {std::move(pairs), std::move(all), std::move(sums)};
}

RoundPlan::RoundPlan(std::shared_ptr<const GroupView> group, std::size_t round_bytes)
    : group_(std::move(group)) {
  const auto& members = group_->group().members;
  while (members[static_cast<std::size_t>(rank_)].actor != group_->self()) ++rank_;
  std::uint32_t number = 0;
  for (const Round& round : all_rounds(round_bytes)) add_round(number++, round);
  staging_bytes_ = std::max(staging_bytes_, kMeetingBytes * members.size());
}

std::size_t RoundPlan::value_bytes(std::uint32_t block) const {
  return padded(group_->grid(block).floats * sizeof(float), kPadding);
}

std::size_t RoundPlan::part_bytes(const Item& item) const {
  return value_bytes(item.block) + (item.to == kAll ? kWordBytes : 0);
}

// What travels, in order: lists whose neighbours may share a round, each list for itself.
std::vector<std::vector<RoundPlan::Item>> RoundPlan::in_order() const {
  const auto& members = group_->group().members;
  std::map<ActorId, int> rank_of;
  std::vector<std::vector<std::uint32_t>> subtrees;
  std::size_t phases = 0;
  for (const Member& member : members) {
    const int rank = static_cast<int>(rank_of.size());
    rank_of[member.actor] = rank;
    subtrees.push_back(group_->tree().maximal_subtrees({member.first_micro, member.last_micro}));
    phases = std::max(phases, subtrees.back().size());
  }
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t block = group_->summary(); block-- > 0;) blocks.push_back(block);
  blocks.push_back(group_->summary());

  std::vector<Item> sums, directions;
  for (const std::uint32_t block : blocks)
    if (group_->fast()) sums.push_back({kAll, rank_of.at(group_->owner(block)), block, SumTree::kRoot});
  if (group_->fast()) phases = 0;
  for (std::size_t phase = 0; phase < phases; ++phase) {
    for (const std::uint32_t block : blocks) {
      const int owner = rank_of.at(group_->owner(block));
      for (int rank = 0; rank < static_cast<int>(members.size()); ++rank) {
        const auto& own = subtrees[static_cast<std::size_t>(rank)];
        if (rank == owner || phase + own.size() < phases) continue;
        sums.push_back({rank, owner, block, own[phase + own.size() - phases]});
      }
    }
  }
  for (const std::uint32_t block : blocks)
    directions.push_back({rank_of.at(group_->owner(block)), kAll, block, SumTree::kNone});
  return {std::move(sums), std::move(directions)};
}

std::vector<RoundPlan::Round> RoundPlan::all_rounds(std::size_t round_bytes) const {
  std::vector<Round> rounds;
  if (ranks() < 2) return rounds;
  for (const std::vector<Item>& items : in_order()) {
    std::vector<std::size_t> moved(static_cast<std::size_t>(ranks()));  // by each rank in the last round
    bool fresh = true;
    for (const Item& item : items) {
      if (std::exchange(fresh, false)) {
        rounds.emplace_back();
        std::ranges::fill(moved, 0);
      }
      rounds.back().push_back(item);
      for (int rank = 0; rank < ranks(); ++rank) {
        if (rank == item.from || rank == item.to || item.from == kAll || item.to == kAll)
          moved[static_cast<std::size_t>(rank)] += part_bytes(item);
      }
      fresh = *std::ranges::max_element(moved) >= round_bytes;
    }
  }
  return rounds;
}

void RoundPlan::add_round(std::uint32_t number, const Round& items) {
  PlannedRound round{.number = number, .transfers = {}, .sums = items[0].to != kAll, .owed = 0};
  std::map<std::pair<int, int>, std::size_t> index;  // by sender and receiver
  for (const Item& item : items) {
    const bool sends = item.from == rank_ || item.from == kAll;
    if (!sends && item.to != rank_ && item.to != kAll) continue;
    const auto [found, fresh] = index.try_emplace({item.from, item.to}, round.transfers.size());
    if (fresh) {
      const Kind kind = item.from == kAll ? Kind::kReduce
                        : item.to == kAll ? Kind::kBroadcast
                        : sends           ? Kind::kSend
                                          : Kind::kReceive;
      const int peer = kind == Kind::kSend || kind == Kind::kReduce ? item.to : item.from;
      round.transfers.push_back({{kind, peer}, {}});
    }
    round.transfers[found->second].parts.push_back({item.block, item.node});
    if (sends && (item.from != kAll || group_->own_range().size() > 0))
      round.owed += item.to == kAll ? 1 : group_->grid(item.block).runs();
  }
  if (round.transfers.empty()) return;
  for (PlannedTransfer& transfer : round.transfers) {
    lay_out(transfer);
    const bool sends = link::sends(transfer.wire, rank_);
    for (const PlannedPart& part : transfer.parts)
      if (sends) places_[{part.block, part.node}] = {rounds_.size(), part.offset, part.word};
    const bool gives = transfer.wire.kind == Kind::kReduce && transfer.wire.peer != rank_;
    if (gives || transfer.wire.kind == Kind::kSend) sum_bytes_ += transfer.wire.bytes;
    if (sends && transfer.wire.kind == Kind::kBroadcast)
      direction_bytes_ += transfer.wire.bytes * static_cast<std::uint64_t>(ranks() - 1);
  }
  rounds_.push_back(std::move(round));
}

void RoundPlan::lay_out(PlannedTransfer& transfer) {
  std::size_t at = staging_bytes_ + kMarkBytes, staged = 0;
  for (PlannedPart& part : transfer.parts) {
    if (!part.direction()) continue;
    part.word = at;
    at += kWordBytes;
  }
  for (const bool summary : {true, false}) {
    for (PlannedPart& part : transfer.parts) {
      if ((part.block == group_->summary()) != summary) continue;
      part.offset = at;
      at += value_bytes(part.block);
    }
    if (summary) staged = at;
  }
  transfer.wire.offset = staging_bytes_;
  transfer.wire.bytes = at - staging_bytes_;
  if (group_->group().vectors) transfer.wire.unstaged = at - staged;
  staging_bytes_ = padded(at, kPlacePadding);
}

}  // namespace seng
