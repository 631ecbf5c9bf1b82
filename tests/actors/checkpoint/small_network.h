// The blocks of a small network (a convolution, its batch norm, a linear layer), and states for it.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "actors/checkpoint/checkpoint.h"
#include "actors/engine/block.h"

namespace seng {

std::vector<Block> small_network();  // conv1 [2,1,3,3] + [2], bn1 [2], fc [3,4] + [3]

struct SmallState {
  std::vector<float> parameters, statistics, momentum;
  std::vector<CurvatureValues> curvature;
  std::uint64_t step = 0;
};
// Random values: all bit patterns of finite floats.
SmallState random_state(const std::vector<Block>& blocks, std::uint64_t step, unsigned seed);

// Writes and commits through `storage`; the curvature goes into two files, as from two actors.
Result<std::string> write_state(const std::string& directory, const std::vector<Block>& blocks,
                                const SmallState& state, std::uint32_t keep,
                                Storage& storage = posix_storage());

// Empty, or how the checkpoint differs from the state.
std::string difference(const CheckpointContent& content, const SmallState& state);

}  // namespace seng
