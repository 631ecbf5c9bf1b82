#include "actors/exchange/sum_pieces.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

namespace seng::sum_pieces_test {
namespace {

std::vector<LeafRange> in_order(std::vector<LeafRange> pieces) {
  std::ranges::sort(pieces);
  return pieces;
}

// What the longest lane has, where each takes the next piece when it is done with one.
std::uint32_t longest(const std::vector<LeafRange>& pieces, int lanes) {
  std::multiset<std::uint32_t> loads;
  for (int i = 0; i < lanes; ++i) loads.insert(0);
  for (const LeafRange& piece : pieces) {
    const std::uint32_t load = *loads.begin() + piece.size();
    loads.erase(loads.begin());
    loads.insert(load);
  }
  return *loads.rbegin();
}

void expect_good_pieces(std::uint32_t leaves, const LeafRange& range, int lanes) {
  SCOPED_TRACE(::testing::Message() << to_string(range) << " of " << leaves << ", " << lanes << " lanes");
  const auto pieces = sum_pieces({leaves, 0}, range, lanes);
  const SumTree tree(leaves);
  std::uint32_t next = range.first;
  for (const LeafRange& piece : in_order(pieces)) {
    ASSERT_EQ(piece.first, next);
    ASSERT_TRUE(tree.find(piece)) << to_string(piece);
    ASSERT_LE(piece.size(), largest_piece(leaves, lanes));
    next = piece.last;
  }
  ASSERT_EQ(next, range.last);
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    ASSERT_GE(pieces[i - 1].size(), pieces[i].size());
    if (pieces[i - 1].size() == pieces[i].size()) {
      ASSERT_LT(pieces[i - 1].first, pieces[i].first);
    }
  }
  ASSERT_LE(longest(pieces, lanes), balanced_share(range.size(), lanes));
}

TEST(SumPieces, AreNodesThatCoverTheRangeAndKeepLanesBalanced) {
  for (std::uint32_t leaves = 1; leaves <= 24; ++leaves)
    for (std::uint32_t first = 0; first <= leaves; ++first)
      for (std::uint32_t last = first; last <= leaves; ++last)
        for (const int lanes : {1, 2, 3, 4, 7, 30})
          ASSERT_NO_FATAL_FAILURE(expect_good_pieces(leaves, {first, last}, lanes));
  for (const std::uint32_t leaves : {40u, 64u, 100u, 127u, 256u, 391u, 1000u, kMaxMicroBatches})
    for (const int lanes : {1, 2, 3, 5, 8}) {
      ASSERT_NO_FATAL_FAILURE(expect_good_pieces(leaves, {0, leaves}, lanes));
      ASSERT_NO_FATAL_FAILURE(expect_good_pieces(leaves, {leaves / 3, leaves - 1}, lanes));
    }
}

TEST(SumPieces, AreFew) {
  const auto count = [](std::uint32_t leaves, int lanes) {
    return sum_pieces({leaves, 0}, {0, leaves}, lanes).size();
  };
  EXPECT_EQ(count(16, 1), 1u);
  EXPECT_EQ(count(16, 2), 2u);
  EXPECT_EQ(count(16, 4), 4u);
  EXPECT_EQ(count(256, 1), 256u / kMostOfAPiece);
  EXPECT_EQ(sum_pieces({8, 0}, {0, 8}, 3), (std::vector<LeafRange>{{0, 2}, {2, 4}, {4, 6}, {6, 7}, {7, 8}}));
  // What is left beyond two pieces of 32 a lane is cut, not all.
  EXPECT_LE(count(256, 3), 11u);
  for (const std::uint32_t leaves : {96u, 128u, 391u, 1000u})
    for (int lanes = 1; lanes <= 8; ++lanes)
      EXPECT_LE(count(leaves, lanes), leaves / kMostOfAPiece * 2 + std::size_t(4 * lanes))
          << leaves << " " << lanes;
}

TEST(SumPieces, AreTakenByLanesSideBySide) {
  using Order = std::vector<std::uint32_t>;
  EXPECT_EQ(order_of_taking({{3, 4}, {4, 5}, {5, 6}}, 2), (Order{3, 4, 5}));
  EXPECT_EQ(order_of_taking({{0, 4}, {4, 6}, {6, 7}, {7, 8}}, 2), (Order{0, 4, 1, 5, 2, 6, 3, 7}));
  EXPECT_EQ(order_of_taking({{4, 8}, {2, 4}}, 1), (Order{4, 5, 6, 7, 2, 3}));
  EXPECT_EQ(order_of_taking({}, 3), Order{});
}

Group group_of(std::uint32_t first, std::uint32_t last, std::uint32_t micro_batches) {
  Group group;
  group.self = 1;
  group.micro_batches = micro_batches;
  group.members = {{0, "", "", 0, first}, {1, "", "", first, last}};
  return group;
}

// Where NCCL adds what members have, an actor's own sums run along a tree of its own.
TEST(SumPieces, FollowTheTreeOfTheGroup) {
  Group group = group_of(3, 8, 8);
  EXPECT_EQ(own_tree(group).leaves, 8u);
  EXPECT_EQ(own_tree(group).first, 0u);
  EXPECT_EQ(in_order(sum_pieces(own_tree(group), {3, 8}, 1)), (std::vector<LeafRange>{{3, 4}, {4, 8}}));
  group.reduction = Reduction::kFast;  // over ZeroMQ there are ordered sums
  EXPECT_EQ(own_tree(group).leaves, 8u);
  group.path = BlockPath::kNccl;
  EXPECT_EQ(own_tree(group).leaves, 5u);
  EXPECT_EQ(own_tree(group).first, 3u);
  EXPECT_EQ(in_order(sum_pieces(own_tree(group), {3, 8}, 1)), (std::vector<LeafRange>{{3, 8}}));
  EXPECT_EQ(in_order(sum_pieces(own_tree(group), {3, 8}, 2)), (std::vector<LeafRange>{{3, 6}, {6, 8}}));
}

// The value of a node, written out: leaves are letters.
std::string sum_of(const LeafRange& node) {
  if (node.size() == 1) return std::string(1, static_cast<char>('a' + node.first));
  const std::uint32_t middle = split_point(node);
  return "(" + sum_of({node.first, middle}) + "+" + sum_of({middle, node.last}) + ")";
}

TEST(SumPieces, AreAddedUpAsTheTreeDoes) {
  std::map<int, std::uint32_t> held_first;
  for (std::uint32_t leaves = 1; leaves <= 70; ++leaves) {
    std::vector<std::string> stack;
    std::size_t held = 0;
    const auto additions = additions_after(leaves);
    ASSERT_EQ(additions.size(), leaves);
    for (std::uint32_t leaf = 0; leaf < leaves; ++leaf) {
      stack.push_back(sum_of({leaf, leaf + 1}));
      for (int i = 0; i < additions[leaf]; ++i) {
        ASSERT_GE(stack.size(), 2u);
        const std::string upper = stack.back();
        stack.pop_back();
        stack.back() = "(" + stack.back() + "+" + upper + ")";
      }
      if (leaves > 1) held = std::max(held, stack.size());
    }
    ASSERT_EQ(stack.size(), 1u);
    EXPECT_EQ(stack[0], sum_of({0, leaves}));
    EXPECT_EQ(sums_held(leaves), static_cast<int>(held)) << leaves;
  }
}

}  // namespace
}  // namespace seng::sum_pieces_test
