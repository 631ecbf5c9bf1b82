#include "actors/exchange/sum_pieces.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace seng {
namespace {

struct Schedule {
  std::uint32_t longest = 0;          // of the lanes
  std::size_t last_piece = 0;         // of that lane
  std::vector<std::uint32_t> begins;  // per piece
};

// Each piece, in order, to the lane that is free first.
Schedule schedule(const std::vector<LeafRange>& pieces, int lanes) {
  std::vector<std::uint32_t> load(static_cast<std::size_t>(lanes));
  Schedule found;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    auto& least = *std::ranges::min_element(load);
    found.begins.push_back(least);
    least += pieces[i].size();
    if (least > found.longest) found.longest = least, found.last_piece = i;
  }
  return found;
}

void sort_pieces(std::vector<LeafRange>& pieces) {
  std::ranges::sort(pieces, [](const LeafRange& a, const LeafRange& b) {
    return a.size() != b.size() ? a.size() > b.size() : a.first < b.first;
  });
}

// Puts its halves in the place of a piece.
void split(std::vector<LeafRange>& pieces, std::size_t i) {
  const LeafRange piece = pieces[i];
  const std::uint32_t middle = split_point(piece);
  pieces[i].last = middle;
  pieces.push_back({middle, piece.last});
}

}  // namespace

OwnTree own_tree(const Group& group) {
  if (!is_fast(group)) return {group.micro_batches, 0};
  for (const Member& member : group.members)
    if (member.actor == group.self) return {member.last_micro - member.first_micro, member.first_micro};
  return {};
}

std::uint32_t balanced_share(std::uint32_t micro_batches, int lanes) {
  const auto count = static_cast<std::uint32_t>(lanes);
  return (micro_batches + count - 1) / count + micro_batches / (16 * count);
}

std::vector<LeafRange> sum_pieces(const OwnTree& tree, const LeafRange& range, int lanes) {
  if (range.size() == 0) return {};
  std::vector<LeafRange> pieces =
      maximal_subtrees({range.first - tree.first, range.last - tree.first}, tree.leaves);
  for (std::size_t i = 0; i < pieces.size(); ++i)
    while (pieces[i].size() > kMostOfAPiece) split(pieces, i);
  sort_pieces(pieces);
  const std::uint32_t share = balanced_share(range.size(), lanes);
  // The last piece of the longest lane made the difference: of one micro-batch it cannot be, since the lane
  // had the least before it.
  for (Schedule now = schedule(pieces, lanes); now.longest > share; now = schedule(pieces, lanes)) {
    split(pieces, now.last_piece);
    sort_pieces(pieces);
  }
  for (LeafRange& piece : pieces) piece = {piece.first + tree.first, piece.last + tree.first};
  return pieces;
}

std::vector<std::uint32_t> order_of_taking(const std::vector<LeafRange>& pieces, int lanes) {
  const Schedule found = schedule(pieces, lanes);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> taken;  // when, micro-batch
  for (std::size_t i = 0; i < pieces.size(); ++i)
    for (std::uint32_t micro = pieces[i].first; micro < pieces[i].last; ++micro)
      taken.emplace_back(found.begins[i] + micro - pieces[i].first, micro);
  std::ranges::sort(taken);
  std::vector<std::uint32_t> order;
  for (const auto& [when, micro] : taken) order.push_back(micro);
  return order;
}

std::vector<std::uint8_t> additions_after(std::uint32_t leaves) {
  const SumTree tree(leaves);
  std::vector<std::uint8_t> additions(leaves);
  for (std::uint32_t node = 0; node < tree.size(); ++node) {
    const LeafRange range = tree.range(node);
    if (range.size() > 1) ++additions[range.last - 1];
  }
  return additions;
}

int sums_held(std::uint32_t leaves) {
  return leaves == 0 ? 0 : std::bit_width(leaves) - 1;
}

std::uint32_t largest_piece(std::uint32_t micro_batches, int lanes) {
  return std::min(kMostOfAPiece, balanced_share(micro_batches, lanes));
}

}  // namespace seng
