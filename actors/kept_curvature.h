// A block's curvature as a checkpoint has it: what is in force after a step, and the refresh that waits to
// take effect in the next one.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "actors/checkpoint/checkpoint.h"
#include "actors/optim/curvature.h"

namespace seng {

struct KeptCurvature {
  std::optional<Curvature::Kept> in_force, waiting;
  bool empty() const { return !in_force && !waiting; }
};

KeptCurvature keep_curvature(const Curvature& curvature);
// As actors/checkpoint/README.md defines a block's digest.
Digest digest_of(const KeptCurvature& kept);
// As tensors of a file; borrowed from `kept`.
void append_views(std::size_t block, const KeptCurvature& kept, std::vector<CurvatureView>& views);

}  // namespace seng
