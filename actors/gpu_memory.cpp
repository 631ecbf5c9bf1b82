#include "actors/gpu_memory.h"

#include "actors/engine/arithmetic.h"

namespace seng {
namespace {

constexpr std::size_t kContext = std::size_t{512} << 20;   // the driver's, and the libraries' code
constexpr std::size_t kPerStream = std::size_t{64} << 20;  // cuBLAS's workspace, a small one of cuDNN's

// Whether a block's samples go to the GPU: all but an implicit convolution's, and Kronecker factors.
bool goes_there(const Block& block, const CurvatureForm& form) {
  if (form.representation == Representation::kImplicit) return block.kind == BlockKind::kLinear;
  return form.representation == Representation::kExplicit || form.representation == Representation::kLowRank;
}

}  // namespace

GpuMemory gpu_memory(const Workload& workload, const ReplicaMemory& replica, int lanes) {
  const auto of_lanes = static_cast<std::size_t>(lanes);
  const bool halves = workload.spec.engine_precision == "bf16" || workload.spec.engine_precision == "f16";
  GpuMemory out;
  out.replicas = (replica.bytes - (halves ? replica.activations / 2 : 0)) * of_lanes;
  const auto& blocks = workload.network.blocks();
  for (std::size_t b = 0; b < workload.fragments.size(); ++b) {
    const CurvatureForm& form = workload.fragments[b].form;
    if (goes_there(blocks[b], form))
      out.samples +=
          2 * curvature_values(blocks[b], form, workload.spec.optimizer.curvature.samples) * sizeof(float);
  }
  out.libraries = kContext + (of_lanes + (workload.second_order ? 1 : 0)) * kPerStream;
  return out;
}

}  // namespace seng
