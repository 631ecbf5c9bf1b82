#include "actors/gpu_memory.h"

#include "actors/engine/arithmetic.h"
#include "actors/exchange/sum_pieces.h"

namespace seng {
namespace {

constexpr std::size_t kContext = std::size_t{512} << 20;   // the driver's, and the libraries' code
constexpr std::size_t kPerStream = std::size_t{64} << 20;  // cuBLAS's workspace, a small one of cuDNN's

constexpr std::size_t kRuns = std::size_t{128} << 20;  // what is made of raw convolutions' samples at a time

// Whether a block's samples go to the GPU: all but Kronecker factors.
bool goes_there(const CurvatureForm& form) {
  return form.representation == Representation::kExplicit ||
         form.representation == Representation::kImplicit || form.representation == Representation::kLowRank;
}
bool is_raw_convolution(const Block& block, const CurvatureForm& form) {
  return block.kind == BlockKind::kConvolution && form.representation == Representation::kImplicit;
}

}  // namespace

GpuMemory gpu_memory(const Workload& workload, const ReplicaMemory& replica, int lanes) {
  const auto of_lanes = static_cast<std::size_t>(lanes);
  const bool halves = workload.spec.engine_precision == "bf16" || workload.spec.engine_precision == "f16";
  GpuMemory out;
  out.replicas = (replica.bytes - (halves ? replica.activations / 2 : 0)) * of_lanes;
  const auto held = static_cast<std::size_t>(sums_held(largest_piece(workload.spec.micro_batches(), lanes)));
  const std::size_t vector = workload.network.parameter_count() + workload.network.statistics_count();
  if (held > 0) out.sums = (1 + held) * vector * sizeof(float) * of_lanes;
  // Where the next micro-batch's images arrive, and a few words a sample.
  out.replicas +=
      workload.spec.batch_micro * (workload.network.input().count() + 4) * sizeof(float) * of_lanes;
  const auto& blocks = workload.network.blocks();
  bool raw = false;
  for (std::size_t b = 0; b < workload.fragments.size(); ++b) {
    const CurvatureForm& form = workload.fragments[b].form;
    if (goes_there(form))
      out.samples +=
          2 * curvature_values(blocks[b], form, workload.spec.optimizer.curvature.samples) * sizeof(float);
    raw = raw || is_raw_convolution(blocks[b], form);
  }
  if (raw) out.samples += kRuns;
  out.libraries = kContext + (of_lanes + (workload.second_order ? 1 : 0)) * kPerStream;
  return out;
}

}  // namespace seng
