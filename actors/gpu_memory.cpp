#include "actors/gpu_memory.h"

#include <algorithm>

#include "actors/engine/arithmetic.h"
#include "actors/optim/device_kronecker.h"
#include "actors/resident_home.h"
#include "actors/sample_devices.h"

namespace seng {
namespace {

constexpr std::size_t kContext = std::size_t{512} << 20;   // the driver's, and the libraries' code
constexpr std::size_t kPerStream = std::size_t{64} << 20;  // cuBLAS's workspace, a small one of cuDNN's

constexpr std::size_t kRuns = std::size_t{128} << 20;  // what is made of raw convolutions' samples at a time

// Whether a block's samples stay on the GPU: not those of Kronecker factors, whose eigenvectors do.
bool stays_there(const CurvatureForm& form) {
  return form.representation == Representation::kExplicit ||
         form.representation == Representation::kImplicit || form.representation == Representation::kLowRank;
}
bool is_raw_convolution(const Block& block, const CurvatureForm& form) {
  return block.kind == BlockKind::kConvolution && form.representation == Representation::kImplicit;
}

// Eigenvectors and eigenvalues of both factors.
std::size_t inverse_floats(const KroneckerPlan& plan) {
  return plan.m * (plan.m + 1) + plan.n * (plan.n + 1);
}
// What all blocks share: a group of samples, raw and as rows, their product, sums in double, and beside them
// cuSOLVER's workspace, about.
std::size_t shared_floats(const KroneckerPlan& plan) {
  const std::size_t order = std::max(plan.m, plan.n);
  const std::size_t raw = std::max({plan.group() * plan.input_floats(), plan.group() * plan.output_floats(),
                                    plan.packed_a(), plan.packed_g()});
  const std::size_t sums =
      raw + plan.group() * plan.positions * order + order * order + 2 * (plan.packed_a() + plan.packed_g());
  return std::max(sums, raw + 3 * plan.parameters()) + 3 * order * order;
}

// What a lane takes to cut factors, where they lie: the blocks share it.
std::size_t cut_floats(const Workload& workload) {
  const std::vector<FactorCut> cuts = factor_cuts(workload);
  std::size_t floats = 0;
  for (std::size_t b = 0; b < cuts.size(); ++b) {
    if (cuts[b].rank == 0) continue;
    const auto samples = static_cast<std::size_t>(workload.factor_samples);
    floats = std::max(floats, LowRankPlan::of(workload.network.blocks()[b], cuts[b], samples).work_floats());
  }
  return floats;
}

}  // namespace

GpuMemory gpu_memory(const Workload& workload, const ReplicaMemory& replica, int lanes) {
  const auto of_lanes = static_cast<std::size_t>(lanes);
  const bool halves = workload.spec.engine_precision == "bf16" || workload.spec.engine_precision == "f16";
  GpuMemory out;
  out.replicas = (replica.bytes - (halves ? replica.activations / 2 : 0)) * of_lanes;
  const auto held = static_cast<std::size_t>(held_sums(workload, lanes));
  const std::size_t vector = workload.network.parameter_count() + workload.network.statistics_count();
  if (held > 0) out.sums = (1 + held) * vector * sizeof(float) * of_lanes;
  // Where the next micro-batch's images arrive, and a few words a sample.
  out.replicas +=
      workload.spec.batch_micro * (workload.network.input().count() + 4) * sizeof(float) * of_lanes;
  const auto& blocks = workload.network.blocks();
  bool raw = false;
  std::size_t shared = 0;  // of a stream: R^T R and cuSOLVER's workspace, about; or what K-FAC's factors take
  for (std::size_t b = 0; b < workload.fragments.size(); ++b) {
    const CurvatureForm& form = workload.fragments[b].form;
    if (stays_there(form)) {
      const std::size_t samples = workload.spec.optimizer.curvature.samples;
      const std::size_t system = samples * (samples + 1) * sizeof(double);
      out.samples += 2 * (curvature_values(blocks[b], form, samples) * sizeof(float) + system);
      shared = std::max(shared, 2 * system);
    }
    if (form.representation == Representation::kKronecker) {
      const KroneckerPlan plan = kronecker_plan(blocks[b]);
      out.samples += 2 * inverse_floats(plan) * sizeof(float);
      shared = std::max(shared, shared_floats(plan) * sizeof(float));
    }
    raw = raw || is_raw_convolution(blocks[b], form);
  }
  const auto streams = static_cast<std::size_t>(sample_streams(workload));
  if (raw) out.samples += streams * kRuns;
  out.replicas += cut_floats(workload) * sizeof(float) * of_lanes;
  out.samples += streams * shared;
  out.libraries = kContext + (of_lanes + streams) * kPerStream;
  return out;
}

}  // namespace seng
