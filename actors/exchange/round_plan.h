// Which sums and directions a member sends and receives over a device link in a step, and in which order.
// Pure: every member computes the plan of all for itself, and all come to the same.
//
// A link's operations must be posted in an order that fits on all ranks, and may not wait for each other in a
// circle. So a step is one list of rounds, the same on all; a rank posts its part of each round in that
// order, as soon as what it sends in it is there. Sums come first: none waits for anything but its sender's
// own work. Directions follow: they wait for sums, and for messages beside the link.
//
//   sums        for each subtree, the last of a range last; in it the blocks as backward reaches them, the
//   last
//               block first, then the summary: from every member that does not own the block to its owner
//   directions  the blocks in the same order, each from its owner to all
//
// In a group whose sums are fast there is one list of sums: of each block, all members' vectors are added at
// its owner. A member without micro-batches adds zeros.
//
// Neighbours in that list share a round until its busiest rank moves `round_bytes`. What a rank sends to one
// other in a round lies together and is one operation:
//
//   sums        [mark][summary][values of a part][values ...]   fast: the mark is of floats, and added too
//   directions  [mark][words][summary][values][values] ...      each piece padded to 16 bytes
//
// The values of blocks stand last: a member whose vectors are a device's leaves them there, and stages what
// is before them (Transfer::unstaged). The bytes on the way are the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "actors/exchange/device_link.h"
#include "actors/exchange/exchange.h"
#include "actors/exchange/group_view.h"

namespace seng {

inline constexpr std::size_t kRoundBytes = std::size_t{4} << 20;

// Says what an operation belongs to, so that ranks that are out of step notice.
struct RoundMark {
  std::uint64_t incarnation = 0, counter = 0, step = 0;
  std::uint32_t round = 0, from = 0;  // the round's number in the list of all; the sender's rank
  bool operator==(const RoundMark&) const = default;
};
inline constexpr std::size_t kMarkBytes = 32;
static_assert(sizeof(RoundMark) == kMarkBytes);

// A mark in whole numbers that floats hold exactly, also added up `times` times, in any order: who adds the
// marks of all ranks up knows whether they belong together. Of 84 bits of a hash; RoundMark::from is left
// out.
using SumMark = std::array<float, kMarkBytes / sizeof(float)>;
SumMark sum_mark(const RoundMark& mark, int times);

// PublishWord as it travels before a direction.
inline constexpr std::size_t kWordBytes = 80;
void write_word(const PublishWord& word, std::byte* out);
PublishWord read_word(const std::byte* in);

// A few bytes between all pairs and from each to all, the first rounds of a link: what it builds when it is
// first used, and may take seconds for, is there before a step waits for it. They need this much of the
// staging memory for each rank. `fast`: a sum at each rank too.
inline constexpr std::size_t kMeetingBytes = 256;
std::vector<std::vector<link::Transfer>> meeting_rounds(int rank, int ranks, bool fast);

struct PlannedPart {
  std::uint32_t block = 0;
  std::uint32_t node = SumTree::kNone;  // of the tree: the sum's, fast: kRoot; kNone: a direction
  std::size_t offset = 0;               // of its values in the staging memory
  std::size_t word = 0;                 // likewise of a direction's word
  bool direction() const { return node == SumTree::kNone; }
};
struct PlannedTransfer {
  link::Transfer wire;
  std::vector<PlannedPart> parts;
};
struct PlannedRound {
  std::uint32_t number = 0;  // in the list of all
  std::vector<PlannedTransfer> transfers;
  bool sums = false;       // else directions
  std::uint32_t owed = 0;  // pieces that this rank hands in before it may post: runs of sums, directions
};

// Immutable.
class RoundPlan {
 public:
  explicit RoundPlan(std::shared_ptr<const GroupView> group, std::size_t round_bytes = kRoundBytes);

  const GroupView& group() const { return *group_; }
  int rank() const { return rank_; }
  int ranks() const { return static_cast<int>(group_->group().members.size()); }
  // This rank's, in order; those in which it does nothing are left out.
  const std::vector<PlannedRound>& rounds() const { return rounds_; }
  std::size_t staging_bytes() const { return staging_bytes_; }  // kMeetingBytes * ranks() at least

  struct Place {
    std::size_t round = 0;   // index in rounds()
    std::size_t offset = 0;  // of the values
    std::size_t word = 0;    // of a direction's word
  };
  // Where what this rank sends goes. `node`: kNone for a direction.
  Place place(std::uint32_t block, std::uint32_t node) const { return places_.at({block, node}); }

  // Bytes that this rank sends in a step, marks and words included; a broadcast counts once for each that
  // receives it, a reduction once for each that gives to it.
  std::uint64_t sum_bytes() const { return sum_bytes_; }
  std::uint64_t direction_bytes() const { return direction_bytes_; }

 private:
  struct Item {  // between whom a part travels; -1: all
    int from = 0, to = 0;
    std::uint32_t block = 0, node = SumTree::kNone;
  };
  using Round = std::vector<Item>;
  std::vector<Round> all_rounds(std::size_t round_bytes) const;
  std::vector<std::vector<Item>> in_order() const;
  void add_round(std::uint32_t number, const Round& items);
  void lay_out(PlannedTransfer& transfer);
  std::size_t value_bytes(std::uint32_t block) const;
  std::size_t part_bytes(const Item& item) const;

  const std::shared_ptr<const GroupView> group_;
  int rank_ = 0;
  std::vector<PlannedRound> rounds_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Place> places_;
  std::size_t staging_bytes_ = 0;
  std::uint64_t sum_bytes_ = 0, direction_bytes_ = 0;
};

}  // namespace seng
