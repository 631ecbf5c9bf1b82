// The fixed binary tree along which every sum over the V micro-batches of a global batch is formed.
//
// A node is a half-open range of leaves [first, last). One of a single leaf is a leaf; another splits in the
// middle, the left half being the larger where they differ. The root is [0, V). The value of a node is the
// value of its left child plus the value of its right child, so each floating-point addition of a step has
// one fixed pair of operands, whoever holds which leaves and whatever arrives first.
//
// In the middle, so that two actors, or any power of two of them that divides V, have ranges that are nodes:
// they send one sum per block.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seng {

// V is bounded so that a wrong number cannot make every actor allocate without limit.
inline constexpr std::uint32_t kMaxMicroBatches = 1u << 16;

struct LeafRange {
  std::uint32_t first = 0, last = 0;
  auto operator<=>(const LeafRange&) const = default;
  std::uint32_t size() const { return last - first; }
  bool contains(const LeafRange& other) const { return first <= other.first && other.last <= last; }
};
std::string to_string(const LeafRange& range);  // "[2, 4)"

// Where a node of at least two leaves splits.
std::uint32_t split_point(const LeafRange& node);

class SumTree {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;
  static constexpr std::uint32_t kRoot = 0;

  // leaves: V, in [1, kMaxMicroBatches]
  explicit SumTree(std::uint32_t leaves);

  std::uint32_t leaves() const { return leaves_; }
  std::uint32_t size() const {
    return static_cast<std::uint32_t>(nodes_.size());
  }  // 2V - 1; nodes in preorder

  LeafRange range(std::uint32_t node) const { return nodes_[node].range; }
  std::uint32_t parent(std::uint32_t node) const { return nodes_[node].parent; }    // kNone of the root
  std::uint32_t sibling(std::uint32_t node) const { return nodes_[node].sibling; }  // kNone of the root
  bool is_left(std::uint32_t node) const { return nodes_[node].left; }
  std::uint32_t leaf(std::uint32_t micro) const { return leaf_nodes_[micro]; }

  // The node that is exactly this range; nothing if the range is no node.
  std::optional<std::uint32_t> find(const LeafRange& range) const;

  // The nodes inside `range` that no other node inside it contains, left to right: disjoint, they cover it,
  // and no fewer nodes do. Empty for an empty range. Requires range.last <= leaves().
  std::vector<std::uint32_t> maximal_subtrees(const LeafRange& range) const;

 private:
  struct Node {
    LeafRange range;
    std::uint32_t parent = kNone, sibling = kNone;
    bool left = false;
  };
  std::uint32_t left_child(std::uint32_t node) const { return node + 1; }
  std::uint32_t right_child(std::uint32_t node) const;

  std::uint32_t leaves_;
  std::vector<Node> nodes_;  // preorder: a node's left child follows it
  std::vector<std::uint32_t> leaf_nodes_;
};

// As SumTree::maximal_subtrees, for V = leaves.
std::vector<LeafRange> maximal_subtrees(const LeafRange& range, std::uint32_t leaves);

}  // namespace seng
