#include "actors/engine/cuda/device_work.h"

#include <algorithm>
#include <climits>

namespace seng::cuda {

int whole(std::size_t count) {
  SENG_CHECK(count <= INT_MAX, "more than cuBLAS counts");
  return static_cast<int>(count);
}

std::size_t DeviceWork::aside(std::size_t floats) {
  const std::size_t place = work_floats_;
  work_floats_ += padded(floats);
  return place;
}

void DeviceWork::copy_back(const void* from, void* to, std::size_t bytes) {
  const float* view = backend_.host_view(static_cast<const float*>(from), bytes / sizeof(float), 0, 1);
  std::copy_n(reinterpret_cast<const std::byte*>(view), bytes, static_cast<std::byte*>(to));
}

void DeviceWork::gemm(cublasOperation_t op_a, cublasOperation_t op_b, std::size_t m, std::size_t n,
                      std::size_t k, float alpha, Operand a, Operand b, float beta, float* c,
                      std::size_t ldc) {
  SENG_CUDA(cublasSgemm(backend_.cublas(), op_a, op_b, whole(m), whole(n), whole(k), &alpha, a.data,
                        whole(a.ld), b.data, whole(b.ld), &beta, c, whole(ldc)));
}

}  // namespace seng::cuda
