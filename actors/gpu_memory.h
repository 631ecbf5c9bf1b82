// What an actor of a job takes of a GPU's memory, reckoned without one.
#pragma once

#include <cstddef>

#include "actors/workload.h"

namespace seng {

struct GpuMemory {
  std::size_t replicas = 0;  // of all lanes: tensors, weights, a block's gradient
  std::size_t sums = 0;      // of all lanes: gradients of a micro-batch, and sums of several
  std::size_t samples =
      0;  // curvature's, K-FAC's eigenvectors too, of a group of one: in force and of a refresh
  std::size_t libraries = 0;  // CUDA's context, cuBLAS's and cuDNN's workspaces: about
  std::size_t total() const { return replicas + sums + samples + libraries; }
};

// What an actor takes beside that, whose step stays on the GPU (residence.h), is not counted: it does without
// where there is no room. `replica`: of one lane on the CPU, as replica_memory() has it.
GpuMemory gpu_memory(const Workload& workload, const ReplicaMemory& replica, int lanes);

}  // namespace seng
