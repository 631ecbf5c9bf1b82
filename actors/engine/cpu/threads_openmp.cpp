#include <mutex>

#include <cblas.h>
#include <omp.h>

#include "actors/engine/cpu/threads.h"

namespace seng::cpu {

void use_one_thread() {
  if (omp_get_max_threads() != 1) omp_set_num_threads(1);
  static std::once_flag blas;
  std::call_once(blas, [] { openblas_set_num_threads(1); });
}

}  // namespace seng::cpu
