// Vectors that arrive in runs, put together: the directions of a step, and curvature fragments.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "actors/exchange/float_pool.h"
#include "actors/exchange/group_view.h"
#include "protocol/base/bytes.h"
#include "protocol/base/error.h"

namespace seng {

enum class Arrival { kDuplicate, kTaken, kCompleted };

// Where blocks' vectors lie that are one: floats from its begin, each a multiple of 64.
struct JoinedBlocks {
  std::vector<std::size_t> offsets;  // per block
  std::size_t floats = 0;            // of the whole
};
JoinedBlocks join_blocks(std::span<const std::size_t> block_floats);

// One step's directions of all blocks, each contiguous; a device's are one vector, joined, that it goes along
// with in a few calls. Thread-safe but for begin() and directions().
class DirectionSet {
 public:
  DirectionSet(std::shared_ptr<const GroupView> group, StepPools pools);

  void begin();

  // This actor's own block: its place, and, once it is filled, the word that it is. kCompleted: all blocks
  // are here.
  std::span<float> buffer(std::uint32_t block);
  Arrival set_own(std::uint32_t block, const PublishWord& word);
  // The buffer's bytes, alive as long as somebody holds the frame.
  Frame frame(std::uint32_t block, std::uint32_t run);

  // A run of a peer's block, checked by GroupView.
  Arrival add(std::uint32_t block, std::uint32_t run, const PublishWord& word, const Frame& values);

  // Valid until begin(); only once all are here.
  std::vector<std::span<const float>> directions() const;
  std::shared_ptr<const void> keeps() const;  // of a device's: the vector
  std::vector<PublishWord> words() const;
  bool complete(std::uint32_t block) const;

 private:
  struct Entry {
    std::shared_ptr<const void> owner;
    float* data = nullptr;
    PublishWord word;
    std::vector<bool> seen;  // per run
    std::uint32_t runs_missing = 0;
  };
  void allocate(Entry& entry, std::uint32_t block);

  const std::shared_ptr<const GroupView> group_;
  const StepPools pools_;
  JoinedBlocks joined_;  // of the blocks on a device
  mutable std::mutex mutex_;
  // Guarded by mutex_, but for the floats: a run's are written by the one who first brings it.
  std::vector<Entry> entries_;
  std::uint32_t blocks_missing_ = 0;
  float* vector_ = nullptr;  // a device's of the step, and who keeps it
  std::shared_ptr<const void> keeps_;
};

// Peers' fragments of a step. Not thread-safe.
class FragmentSet {
 public:
  explicit FragmentSet(std::shared_ptr<const GroupView> group) : group_(std::move(group)) {}

  void begin() { fragments_.clear(); }

  struct Complete {
    std::span<const float> values;
    Frame owner;  // keeps them
  };
  // A run, checked by GroupView; gives the fragment once, when it is whole. Error: a length that differs from
  // that of the runs before.
  Result<std::optional<Complete>> add(const Fragment& part, const Frame& values, bool* duplicate);

 private:
  struct Partial {
    std::uint64_t total = 0;
    std::shared_ptr<float[]> data;  // null before the first run and after completion
    std::vector<bool> seen;
    std::uint32_t runs_missing = 0;
  };

  const std::shared_ptr<const GroupView> group_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Partial> fragments_;  // by block and micro-batch
};

}  // namespace seng
