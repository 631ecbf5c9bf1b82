#include "actors/exchange/tree.h"

#include <algorithm>
#include <limits>
#include <set>

#include <gtest/gtest.h>

namespace seng {
namespace {

// All nodes by the definition's own words.
void collect(LeafRange node, std::set<LeafRange>& nodes) {
  nodes.insert(node);
  if (node.size() == 1) return;
  std::uint32_t left = 0, right = 0;
  while (left + right < node.size()) ++(left == right ? left : right);
  collect({node.first, node.first + left}, nodes);
  collect({node.last - right, node.last}, nodes);
}

TEST(SumTree, HasTheNodesOfItsDefinition) {
  for (std::uint32_t leaves = 1; leaves <= 40; ++leaves) {
    std::set<LeafRange> expected;
    collect({0, leaves}, expected);
    const SumTree tree(leaves);
    ASSERT_EQ(tree.size(), expected.size());
    std::set<LeafRange> found;
    for (std::uint32_t node = 0; node < tree.size(); ++node) found.insert(tree.range(node));
    EXPECT_EQ(found, expected);
    for (std::uint32_t first = 0; first <= leaves; ++first) {
      for (std::uint32_t last = 0; last <= leaves + 1; ++last) {
        const auto node = tree.find({first, last});
        ASSERT_EQ(node.has_value(), expected.contains({first, last}))
            << first << " " << last << " of " << leaves;
        if (node) {
          EXPECT_EQ(tree.range(*node), (LeafRange{first, last}));
        }
      }
    }
  }
}

TEST(SumTree, ParentsAreTheirChildrenTogether) {
  for (std::uint32_t leaves = 1; leaves <= 40; ++leaves) {
    const SumTree tree(leaves);
    EXPECT_EQ(tree.parent(SumTree::kRoot), SumTree::kNone);
    EXPECT_EQ(tree.range(SumTree::kRoot), (LeafRange{0, leaves}));
    for (std::uint32_t node = 1; node < tree.size(); ++node) {
      const std::uint32_t other = tree.sibling(node);
      EXPECT_EQ(tree.sibling(other), node);
      EXPECT_EQ(tree.parent(other), tree.parent(node));
      EXPECT_NE(tree.is_left(node), tree.is_left(other));
      const LeafRange left = tree.range(tree.is_left(node) ? node : other);
      const LeafRange right = tree.range(tree.is_left(node) ? other : node);
      EXPECT_EQ(left.last, right.first);
      EXPECT_EQ(tree.range(tree.parent(node)), (LeafRange{left.first, right.last}));
    }
    for (std::uint32_t micro = 0; micro < leaves; ++micro) {
      EXPECT_EQ(tree.range(tree.leaf(micro)), (LeafRange{micro, micro + 1}));
    }
  }
}

TEST(SumTree, MaximalSubtreesCoverDisjointlyWithTheFewestNodes) {
  for (std::uint32_t leaves = 1; leaves <= 40; ++leaves) {
    std::set<LeafRange> nodes;
    collect({0, leaves}, nodes);
    for (std::uint32_t first = 0; first <= leaves; ++first) {
      // fewest[last]: the smallest number of nodes that cut [first, last)
      std::vector<std::size_t> fewest(leaves + 1, std::numeric_limits<std::size_t>::max() / 2);
      fewest[first] = 0;
      for (std::uint32_t last = first; last <= leaves; ++last) {
        for (const LeafRange& node : nodes) {
          if (node.last == last && node.first >= first)
            fewest[last] = std::min(fewest[last], fewest[node.first] + 1);
        }
        const auto found = maximal_subtrees({first, last}, leaves);
        std::uint32_t next = first;
        for (const LeafRange& node : found) {
          ASSERT_TRUE(nodes.contains(node)) << to_string(node);
          ASSERT_EQ(node.first, next);
          next = node.last;
        }
        ASSERT_EQ(next, last);
        ASSERT_EQ(found.size(), fewest[last]) << first << " " << last << " of " << leaves;
      }
    }
  }
}

TEST(SumTree, KnownCuts) {
  EXPECT_EQ(split_point({0, 8}), 4u);
  EXPECT_EQ(split_point({0, 5}), 3u);
  EXPECT_EQ(split_point({4, 7}), 6u);
  EXPECT_EQ(split_point({3, 5}), 4u);
  EXPECT_EQ(maximal_subtrees({0, 3}, 8), (std::vector<LeafRange>{{0, 2}, {2, 3}}));
  EXPECT_EQ(maximal_subtrees({3, 6}, 8), (std::vector<LeafRange>{{3, 4}, {4, 6}}));
  EXPECT_EQ(maximal_subtrees({4, 4}, 8), (std::vector<LeafRange>{}));
}

// Ranges of equal size, or two of them that differ by one, are nodes; so they cost one sum per block.
TEST(SumTree, PowersOfTwoOfActorsHaveNodesForRanges) {
  for (std::uint32_t leaves = 1; leaves <= 200; ++leaves) {
    const SumTree tree(leaves);
    if (leaves > 1) {
      EXPECT_TRUE(tree.find({0, (leaves + 1) / 2}));
      EXPECT_TRUE(tree.find({(leaves + 1) / 2, leaves}));
    }
    for (std::uint32_t actors = 1; actors <= leaves; actors *= 2) {
      if (leaves % actors != 0) continue;
      const std::uint32_t size = leaves / actors;
      for (std::uint32_t i = 0; i < actors; ++i)
        EXPECT_TRUE(tree.find({i * size, (i + 1) * size})) << leaves << " " << i;
    }
  }
}

}  // namespace
}  // namespace seng
