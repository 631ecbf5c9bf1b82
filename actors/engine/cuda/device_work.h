// What the optimizer's operations share on a GPU: places in the backend's scratch space, products, copies
// back. Rows of ours are columns of cuBLAS's: an operand [rows, width] is its [width, rows].
#pragma once

#include <cstddef>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {

// So many floats that what follows begins on 256 bytes.
constexpr std::size_t padded(std::size_t floats) {
  return ((floats > 0 ? floats : 1) + 63) / 64 * 64;
}
int whole(std::size_t count);  // as cuBLAS counts

// Of a convolution's plain inputs, in floats.
inline Unfolding unfolding_of(const ConvolutionGeometry& g, int samples) {
  return {{samples, g.channels_in, g.height_in, g.width_in, false, Element::kF32},
          g.height_out,
          g.width_out,
          g.kernel_h,
          g.kernel_w,
          g.stride,
          g.padding};
}

class DeviceWork {
 protected:
  explicit DeviceWork(CudaBackend& backend) : backend_(backend) { backend.cublas(); }
  ~DeviceWork() = default;

  struct Operand {
    const float* data;
    std::size_t ld;
  };

  CudaBackend& backend() const { return backend_; }
  cudaStream_t stream() const { return backend_.stream(); }

  // Places in kBetweenSlot, which all blocks share; floats, or doubles in twice as many. While planning; then
  // reserve_work().
  std::size_t aside(std::size_t floats);
  void reserve_work() { backend_.reserve(CudaBackend::kBetweenSlot, work_floats_ * sizeof(float)); }
  float* at(std::size_t place) const { return backend_.scratch_floats(CudaBackend::kBetweenSlot) + place; }
  double* doubles(std::size_t place) const { return reinterpret_cast<double*>(at(place)); }

  // Waits for the device.
  void copy_back(const void* from, void* to, std::size_t bytes);
  void gemm(cublasOperation_t op_a, cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k,
            float alpha, Operand a, Operand b, float beta, float* c, std::size_t ldc);

 private:
  CudaBackend& backend_;
  std::size_t work_floats_ = 0;
};

}  // namespace seng::cuda
