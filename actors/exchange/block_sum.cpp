#include "actors/exchange/block_sum.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace seng {
namespace {

bool is_aligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0;
}

}  // namespace

BlockSum::BlockSum(const SumTree& tree, RunGrid grid, std::shared_ptr<FloatPool> pool, bool owner,
                   std::vector<std::uint32_t> targets)
    : tree_(tree), grid_(grid), pool_(std::move(pool)), owner_(owner) {
  SENG_CHECK(grid_.floats > 0 && grid_.run_floats > 0, "a block without values");
  if (owner_) {
    targets = {SumTree::kRoot};
    total_ = pool_->take(grid_.floats);
  }
  target_.resize(tree_.size());
  below_target_.resize(tree_.size());
  for (const std::uint32_t node : targets) target_[node] = true;
  for (std::uint32_t node = 0; node < tree_.size(); ++node) {
    below_target_[node] = target_[node] || (node != SumTree::kRoot && below_target_[tree_.parent(node)]);
  }
  runs_ = std::make_unique<Run[]>(grid_.runs());
  begin();
}

void BlockSum::begin() {
  for (std::uint32_t i = 0; i < grid_.runs(); ++i) {
    std::lock_guard lock(runs_[i].mutex);
    runs_[i].waiting.clear();
    runs_[i].given.assign(tree_.size(), false);
    runs_[i].covered.assign(tree_.leaves(), false);
  }
  complete_.store(0, std::memory_order_release);
}

Result<BlockSum::Added> BlockSum::add_node(std::uint32_t node, std::uint32_t run,
                                           std::span<const float> gradient,
                                           std::span<const float> statistics) {
  SENG_CHECK(node < tree_.size() && run < grid_.runs(), "a node or run that does not exist");
  SENG_CHECK(gradient.size() + statistics.size() == grid_.floats, "a vector of another block's length");
  auto fresh = claim(node, run);
  if (!fresh) return fail(std::move(fresh).error());
  if (!*fresh) return Added{.duplicate = true, .finished = {}};

  const std::size_t offset = grid_.offset(run), count = grid_.count(run);
  Value value;
  if (offset + count <= gradient.size()) {
    value.data = gradient.data() + offset;
    value.borrowed = true;
  } else {
    value.own = pool_->take(count);
    value.data = value.own.data();
    const std::size_t from_gradient = offset < gradient.size() ? gradient.size() - offset : 0;
    if (from_gradient > 0) memory().copy(gradient.data() + offset, value.own.data(), from_gradient);
    const std::size_t skip = offset + from_gradient - gradient.size();
    memory().copy(statistics.data() + skip, value.own.data() + from_gradient, count - from_gradient);
  }
  return Added{.finished = insert(node, run, std::move(value))};
}

Result<BlockSum::Added> BlockSum::add_partial(std::uint32_t node, std::uint32_t run, const Frame& values) {
  SENG_CHECK(node < tree_.size() && run < grid_.runs(), "a node or run that does not exist");
  const std::size_t count = grid_.count(run);
  SENG_CHECK(values.size() == count * sizeof(float), "a partial sum of another length");
  auto fresh = claim(node, run);
  if (!fresh) return fail(std::move(fresh).error());
  if (!*fresh) return Added{.duplicate = true, .finished = {}};

  Value value;
  if (is_aligned(values.data())) {  // as a device's always are
    value.data = reinterpret_cast<const float*>(values.data());
    value.received = values;
  } else {
    value.own = pool_->take(count);
    value.data = value.own.data();
    std::memcpy(value.own.data(), values.data(), values.size());
  }
  return Added{.finished = insert(node, run, std::move(value))};
}

// True: new, and now taken note of; false: a duplicate.
Result<bool> BlockSum::claim(std::uint32_t node, std::uint32_t run) {
  const LeafRange range = tree_.range(node);
  if (!below_target_[node]) {
    return fail(ErrorCode::kInvalidArgument,
                "the sum of micro-batches " + to_string(range) + " is not expected here");
  }
  Run& here = runs_[run];
  std::lock_guard lock(here.mutex);
  if (here.given[node]) return false;
  for (std::uint32_t leaf = range.first; leaf < range.last; ++leaf) {
    if (here.covered[leaf]) {
      return fail(ErrorCode::kInvalidArgument, "the sum of micro-batches " + to_string(range) +
                                                   " overlaps another that has micro-batch " +
                                                   std::to_string(leaf));
    }
  }
  here.given[node] = true;
  std::fill(here.covered.begin() + range.first, here.covered.begin() + range.last, true);
  return true;
}

std::vector<bool> BlockSum::missing_leaves() const {
  std::vector<bool> missing(tree_.leaves(), false);
  for (std::uint32_t i = 0; i < grid_.runs(); ++i) {
    std::lock_guard lock(runs_[i].mutex);
    for (std::uint32_t leaf = 0; leaf < tree_.leaves(); ++leaf) {
      if (!runs_[i].covered[leaf]) missing[leaf] = true;
    }
  }
  return missing;
}

bool BlockSum::take(Run& run, std::uint32_t node, Value* value) {
  for (Waiting& waiting : run.waiting) {
    if (waiting.node != node) continue;
    *value = std::move(waiting.value);
    if (&waiting != &run.waiting.back()) waiting = std::move(run.waiting.back());
    run.waiting.pop_back();
    return true;
  }
  return false;
}

// Climbs from `node` to its target while siblings are there. A value taken out of `waiting` belongs to the
// taker, so the addition needs no lock.
std::optional<BlockSum::Finished> BlockSum::insert(std::uint32_t node, std::uint32_t run, Value value) {
  Run& here = runs_[run];
  while (!target_[node]) {
    Value other;
    {
      std::lock_guard lock(here.mutex);
      if (!take(here, tree_.sibling(node), &other) && !value.borrowed) {
        here.waiting.push_back({node, std::move(value)});
        return std::nullopt;
      }
    }
    if (other.data == nullptr) {
      // To be kept, it must be ours; the sibling may come while it is copied, so look again.
      value = copy(value.data, grid_.count(run));
      continue;
    }
    const bool left = tree_.is_left(node);
    node = tree_.parent(node);
    value = left ? combine(node, run, std::move(value), std::move(other))
                 : combine(node, run, std::move(other), std::move(value));
  }
  return finish(node, run, std::move(value));
}

BlockSum::Value BlockSum::combine(std::uint32_t node, std::uint32_t run, Value left, Value right) {
  Value sum;
  float* out = nullptr;
  if (owner_ && target_[node]) {
    out = total_.data() + grid_.offset(run);
  } else {
    sum.own = left.own    ? std::move(left.own)
              : right.own ? std::move(right.own)
                          : pool_->take(grid_.count(run));
    out = sum.own.data();
  }
  memory().add(left.data, right.data, out, grid_.count(run));
  sum.data = out;
  return sum;
}

BlockSum::Finished BlockSum::finish(std::uint32_t node, std::uint32_t run, Value value) {
  const std::size_t count = grid_.count(run);
  if (owner_) {
    float* out = total_.data() + grid_.offset(run);
    if (value.data != out) memory().copy(value.data, out, count);
    // Acquires what the other runs' threads wrote: whoever is last may hand out the whole.
    const bool last = complete_.fetch_add(1, std::memory_order_acq_rel) + 1 == grid_.runs();
    return {node, run, {}, last};
  }
  if (!value.own) value = copy(value.data, count);
  return {node, run, std::move(value.own), false};
}

BlockSum::Value BlockSum::copy(const float* data, std::size_t count) {
  Value value;
  value.own = pool_->take(count);
  value.data = value.own.data();
  memory().copy(data, value.own.data(), count);
  return value;
}

}  // namespace seng
