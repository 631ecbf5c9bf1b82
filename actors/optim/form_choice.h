// Which form each block's curvature takes: a choice by a cost model, the same on every actor since it follows
// from the job and the network alone. It changes results by rounding only, unless it cuts ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/block.h"
#include "actors/optim/approximate_columns.h"
#include "actors/optim/representation.h"
#include "protocol/base/error.h"

namespace seng {

// What a form costs by the model, with what is estimated of its products. Seconds are those of one lane that
// does 1e11 operations a second and reads 1e10 bytes a second: only their ratio matters, so that the choice
// does not depend on the machine.
struct FormCost {
  double step_seconds = 0;     // of an ordinary step: c = R^T g, K^-1 c and R b
  double refresh_seconds = 0;  // fragments, sketches, Gram matrix and its factor
  std::size_t bytes = 0;       // samples, their sketches and the factor, once in force
  // What they follow from: floating-point operations, and bytes that are read or written, each array once a
  // product; a refresh's from the samples' arrival on.
  double step_operations = 0, step_bytes = 0, refresh_operations = 0, refresh_bytes = 0;
};
FormCost form_cost(const Block& block, const CurvatureForm& form, std::size_t samples,
                   Precision stored = Precision::kF32, const Approximations& approximations = {});

struct FormOptions {
  std::size_t samples = 256;      // N
  std::uint32_t every = 100;      // steps between refreshes
  bool batch_norm_scale = false;  // batch norm: kScale, else kExplicit
  // Which forms are allowed: "auto", "explicit", "implicit" (raw or cut factors).
  std::string representation = "auto";
  // Per block: 0 keeps the full rank; else p of kLowRank, allowed where it is below the full rank
  // ("implicit" then means it). Empty: all full.
  std::span<const int> ranks;
  RankMethod rank_method = RankMethod::kSubspace;
  Precision stored = Precision::kF32;
  Approximations approximations;
  std::size_t memory_bytes = 0;  // for all blocks together; 0: no bound
  // 0: SENG; else K-FAC's factors for every block but batch norms: so many sets of them.
  int factor_sets = 0;
};

// The quickest form of each block (step + refresh / every); while all together take more than `memory_bytes`,
// the block that saves most bytes for a second more goes over to a smaller one. Error: the smallest do not
// fit either; says by how much.
Result<std::vector<CurvatureForm>> choose_forms(const std::vector<Block>& blocks, const FormOptions& options);

}  // namespace seng
