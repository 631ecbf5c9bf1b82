// Threads of the vendor libraries on the CPU.
#pragma once

namespace seng::cpu {

// From here on OpenMP regions of the calling thread, and BLAS calls of the whole process, use one thread.
// Cheap; called by every lane and before kernels are planned or run.
void use_one_thread();

}  // namespace seng::cpu
