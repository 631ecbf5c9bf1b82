#include "actors/exchange/assembly.h"

#include <cstring>
#include <string>

namespace seng {

JoinedBlocks join_blocks(std::span<const std::size_t> block_floats) {
  constexpr std::size_t kBoundary = 64;
  JoinedBlocks joined;
  for (const std::size_t floats : block_floats) {
    joined.offsets.push_back(joined.floats);
    joined.floats += (floats + kBoundary - 1) / kBoundary * kBoundary;
  }
  return joined;
}

DirectionSet::DirectionSet(std::shared_ptr<const GroupView> group, StepPools pools)
    : group_(std::move(group)), pools_(std::move(pools)), entries_(group_->blocks()) {
  std::vector<std::size_t> floats;
  for (std::uint32_t block = 0; block < group_->summary(); ++block)
    floats.push_back(group_->grid(block).floats);
  joined_ = join_blocks(floats);
  begin();
}

void DirectionSet::begin() {
  std::lock_guard lock(mutex_);
  for (std::uint32_t block = 0; block < entries_.size(); ++block) {
    Entry& entry = entries_[block];
    entry.owner.reset();
    entry.data = nullptr;
    entry.word = {};
    entry.runs_missing = group_->grid(block).runs();
    entry.seen.assign(entry.runs_missing, false);
  }
  blocks_missing_ = group_->blocks();
  vector_ = nullptr;
  keeps_.reset();
}

void DirectionSet::allocate(Entry& entry, std::uint32_t block) {
  if (entry.data != nullptr) return;
  if (!group_->on_device(block)) {
    PooledFloats floats = pools_.host->take(group_->grid(block).floats);
    entry.data = floats.data();
    entry.owner = std::move(floats).share();
    return;
  }
  if (vector_ == nullptr) {
    PooledFloats floats = pools_.blocks->take(joined_.floats);
    vector_ = floats.data();
    keeps_ = std::move(floats).share();
  }
  entry.data = vector_ + joined_.offsets[block];
  entry.owner = keeps_;
}

std::span<float> DirectionSet::buffer(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  allocate(entries_[block], block);
  return {entries_[block].data, group_->grid(block).floats};
}

Arrival DirectionSet::set_own(std::uint32_t block, const PublishWord& word) {
  std::lock_guard lock(mutex_);
  Entry& entry = entries_[block];
  if (entry.runs_missing == 0) return Arrival::kDuplicate;
  entry.runs_missing = 0;
  entry.word = word;
  return --blocks_missing_ == 0 ? Arrival::kCompleted : Arrival::kTaken;
}

Frame DirectionSet::frame(std::uint32_t block, std::uint32_t run) {
  std::lock_guard lock(mutex_);
  const RunGrid& grid = group_->grid(block);
  const Entry& entry = entries_[block];
  return Frame(entry.owner, entry.data + grid.offset(run), grid.count(run) * sizeof(float));
}

Arrival DirectionSet::add(std::uint32_t block, std::uint32_t run, const PublishWord& word,
                          const Frame& values) {
  float* data = nullptr;
  {
    std::lock_guard lock(mutex_);
    Entry& entry = entries_[block];
    if (entry.seen[run]) return Arrival::kDuplicate;
    entry.seen[run] = true;
    if (run == 0) entry.word = word;
    allocate(entry, block);
    data = entry.data;
  }
  float* place = data + group_->grid(block).offset(run);
  if (group_->on_device(block))
    pools_.blocks->memory().copy(reinterpret_cast<const float*>(values.data()), place,
                                 values.size() / sizeof(float));
  else
    std::memcpy(place, values.data(), values.size());
  std::lock_guard lock(mutex_);
  if (--entries_[block].runs_missing > 0) return Arrival::kTaken;
  return --blocks_missing_ == 0 ? Arrival::kCompleted : Arrival::kTaken;
}

std::vector<std::span<const float>> DirectionSet::directions() const {
  std::lock_guard lock(mutex_);
  std::vector<std::span<const float>> all;
  all.reserve(entries_.size());
  for (std::uint32_t block = 0; block < entries_.size(); ++block) {
    all.emplace_back(entries_[block].data, group_->grid(block).floats);
  }
  return all;
}

std::shared_ptr<const void> DirectionSet::keeps() const {
  std::lock_guard lock(mutex_);
  return keeps_;
}

std::vector<PublishWord> DirectionSet::words() const {
  std::lock_guard lock(mutex_);
  std::vector<PublishWord> all;
  all.reserve(entries_.size());
  for (const Entry& entry : entries_) all.push_back(entry.word);
  return all;
}

bool DirectionSet::complete(std::uint32_t block) const {
  std::lock_guard lock(mutex_);
  return entries_[block].runs_missing == 0;
}

Result<std::optional<FragmentSet::Complete>> FragmentSet::add(const Fragment& part, const Frame& values,
                                                              bool* duplicate) {
  const RunGrid grid = group_->fragment_grid(part.total);
  auto [place, fresh] = fragments_.try_emplace({part.block, part.micro});
  Partial& partial = place->second;
  if (fresh) {
    partial.total = part.total;
    partial.runs_missing = grid.runs();
    partial.seen.resize(grid.runs());
  } else if (partial.total != part.total) {
    return fail(ErrorCode::kInvalidArgument, "block " + std::to_string(part.block) + ", micro-batch " +
                                                 std::to_string(part.micro) + ": a fragment of " +
                                                 std::to_string(part.total) + " values, before of " +
                                                 std::to_string(partial.total));
  }
  const std::uint32_t run = *grid.find(part.offset, part.count);
  *duplicate = partial.seen[run];
  if (*duplicate) return std::nullopt;
  partial.seen[run] = true;
  --partial.runs_missing;

  const bool aligned = reinterpret_cast<std::uintptr_t>(values.data()) % alignof(float) == 0;
  if (grid.runs() == 1 && aligned) {
    return Complete{{reinterpret_cast<const float*>(values.data()), grid.floats}, values};
  }
  // Not from the pool: fragments come once in many steps and are large, so their memory must be free in
  // between.
  if (!partial.data) partial.data = std::make_shared_for_overwrite<float[]>(grid.floats);
  std::memcpy(partial.data.get() + grid.offset(run), values.data(), values.size());
  if (partial.runs_missing > 0) return std::nullopt;
  const std::shared_ptr<float[]> data = std::move(partial.data);
  return Complete{{data.get(), grid.floats}, Frame(data, data.get(), grid.floats * sizeof(float))};
}

}  // namespace seng
