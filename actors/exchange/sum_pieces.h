// How the micro-batches of an actor whose devices add for themselves are shared out to its lanes: in pieces,
// each a whole node of the tree that the actor's sums run along (tree.h). A lane computes a piece's
// micro-batches one after another and hands in the node's sum.
#pragma once

#include <cstdint>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/exchange/tree.h"

namespace seng {

// The most micro-batches of a piece. It bounds what a lane holds of sums (sums_held()), and lets the sums of
// longer ranges leave while the rest is computed; the host's part of a sum is then a thirty-second of what it
// would be.
inline constexpr std::uint32_t kMostOfAPiece = 32;

// The tree that an actor's own sums run along: its number of leaves, and the micro-batch that is leaf 0. It
// is that over the V micro-batches; with fast sums that over the actor's own.
struct OwnTree {
  std::uint32_t leaves = 0, first = 0;
};
OwnTree own_tree(const Group& group);

// Cuts `range`, micro-batches inside the tree's, into nodes of it, of at most kMostOfAPiece. They are as few
// as keep the lanes balanced: where each lane takes the next piece when it is done with one, in the order
// given, and all micro-batches take as long, the longest lane has no more than balanced_share(). The largest
// pieces come first, of equal ones the first.
std::vector<LeafRange> sum_pieces(const OwnTree& tree, const LeafRange& range, int lanes);
// An even share rounded up, and a sixteenth: so much is conceded for larger pieces.
std::uint32_t balanced_share(std::uint32_t micro_batches, int lanes);

// The micro-batches of such pieces, in the order in which the lanes come to them.
std::vector<std::uint32_t> order_of_taking(const std::vector<LeafRange>& pieces, int lanes);

// How a piece of `leaves` micro-batches is added up with a stack of sums (Replica::begin_sum): entry i is how
// often, once leaf i is on the stack, the two sums on its top become one, the lower plus the upper. A node's
// shape depends on its number of leaves alone.
std::vector<std::uint8_t> additions_after(std::uint32_t leaves);
// How many sums that stack holds at most, the leaf in hand not counted, for pieces of up to so many leaves.
int sums_held(std::uint32_t leaves);
// For any range of a job with so many micro-batches.
std::uint32_t largest_piece(std::uint32_t micro_batches, int lanes);

}  // namespace seng
