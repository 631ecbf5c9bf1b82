#include "actors/exchange/tree.h"

#include <fmt/format.h>

#include "protocol/base/error.h"

namespace seng {

std::string to_string(const LeafRange& range) {
  return fmt::format("[{}, {})", range.first, range.last);
}

std::uint32_t split_point(const LeafRange& node) {
  return node.first + (node.size() + 1) / 2;
}

SumTree::SumTree(std::uint32_t leaves) : leaves_(leaves) {
  SENG_CHECK(leaves >= 1 && leaves <= kMaxMicroBatches, "number of micro-batches: " + std::to_string(leaves));
  nodes_.resize(2 * std::size_t{leaves} - 1);
  leaf_nodes_.resize(leaves);
  nodes_[kRoot].range = {0, leaves};
  // Parents precede their children in preorder, so one pass down sees each node's range before it is used.
  for (std::uint32_t node = 0; node < size(); ++node) {
    const LeafRange range = nodes_[node].range;
    if (range.size() == 1) {
      leaf_nodes_[range.first] = node;
      continue;
    }
    const std::uint32_t middle = split_point(range);
    const std::uint32_t left = left_child(node), right = right_child(node);
    nodes_[left] = {{range.first, middle}, node, right, true};
    nodes_[right] = {{middle, range.last}, node, left, false};
  }
}

std::uint32_t SumTree::right_child(std::uint32_t node) const {
  const LeafRange range = nodes_[node].range;
  return node + 2 * (split_point(range) - range.first);
}

std::optional<std::uint32_t> SumTree::find(const LeafRange& range) const {
  if (range.first >= range.last || range.last > leaves_) return std::nullopt;
  std::uint32_t node = kRoot;
  while (nodes_[node].range != range) {
    const LeafRange here = nodes_[node].range;
    if (here.size() == 1) return std::nullopt;
    const std::uint32_t middle = split_point(here);
    if (range.last <= middle) {
      node = left_child(node);
    } else if (range.first >= middle) {
      node = right_child(node);
    } else {
      return std::nullopt;
    }
  }
  return node;
}

std::vector<std::uint32_t> SumTree::maximal_subtrees(const LeafRange& range) const {
  std::vector<std::uint32_t> found;
  if (range.first >= range.last) return found;
  SENG_CHECK(range.last <= leaves_, "range " + to_string(range) + " of " + std::to_string(leaves_));
  std::vector<std::uint32_t> open{kRoot};
  while (!open.empty()) {
    const std::uint32_t node = open.back();
    open.pop_back();
    const LeafRange here = nodes_[node].range;
    if (range.contains(here)) {
      found.push_back(node);
    } else if (here.first < range.last && range.first < here.last) {
      open.push_back(right_child(node));
      open.push_back(left_child(node));
    }
  }
  return found;
}

std::vector<LeafRange> maximal_subtrees(const LeafRange& range, std::uint32_t leaves) {
  const SumTree tree(leaves);
  std::vector<LeafRange> ranges;
  for (const std::uint32_t node : tree.maximal_subtrees(range)) ranges.push_back(tree.range(node));
  return ranges;
}

}  // namespace seng
