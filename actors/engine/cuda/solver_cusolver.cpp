#include "actors/engine/cuda/solver_cusolver.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/base/error.h"

namespace seng::cuda {

Solver::Solver(cudaStream_t stream) {
  cusolverDnHandle_t handle = nullptr;
  SENG_CUDA(cusolverDnCreate(&handle));
  handle_.reset(handle);
  SENG_CUDA(cusolverDnSetStream(handle, stream));
  SENG_CUDA(cusolverDnSetDeterministicMode(handle, CUSOLVER_DETERMINISTIC_RESULTS));
  cusolverDnParams_t parameters = nullptr;
  SENG_CUDA(cusolverDnCreateParams(&parameters));
  parameters_.reset(parameters);
}

Solver::Room Solver::eigen_room(std::size_t n, const float* a, const float* values) {
  Room room;
  const auto order = static_cast<std::int64_t>(n);
  SENG_CUDA(cusolverDnXsyevd_bufferSize(handle_.get(), parameters_.get(), CUSOLVER_EIG_MODE_VECTOR,
                                        CUBLAS_FILL_MODE_UPPER, order, CUDA_R_32F, a, order, CUDA_R_32F,
                                        values, CUDA_R_32F, &room.device, &room.host));
  return room;
}

void Solver::eigen(std::size_t n, float* a, float* values, const Room& room, void* workspace, int* info) {
  const auto order = static_cast<std::int64_t>(n);
  host_.resize(std::max(host_.size(), room.host));
  SENG_CUDA(cusolverDnXsyevd(handle_.get(), parameters_.get(), CUSOLVER_EIG_MODE_VECTOR,
                             CUBLAS_FILL_MODE_UPPER, order, CUDA_R_32F, a, order, CUDA_R_32F, values,
                             CUDA_R_32F, workspace, room.device, host_.data(), room.host, info));
}

// A lower triangle of ours is an upper one of cuSOLVER's.
Solver::Room Solver::cholesky_room(std::size_t n, const double* a) {
  Room room;
  const auto order = static_cast<std::int64_t>(n);
  SENG_CUDA(cusolverDnXpotrf_bufferSize(handle_.get(), parameters_.get(), CUBLAS_FILL_MODE_UPPER, order,
                                        CUDA_R_64F, a, order, CUDA_R_64F, &room.device, &room.host));
  return room;
}

void Solver::cholesky(std::size_t n, double* a, const Room& room, void* workspace, int* info) {
  const auto order = static_cast<std::int64_t>(n);
  host_.resize(std::max(host_.size(), room.host));
  SENG_CUDA(cusolverDnXpotrf(handle_.get(), parameters_.get(), CUBLAS_FILL_MODE_UPPER, order, CUDA_R_64F, a,
                             order, CUDA_R_64F, workspace, room.device, host_.data(), room.host, info));
}

void Solver::solve(std::size_t n, const double* l, double* x, int* info) {
  const auto order = static_cast<std::int64_t>(n);
  SENG_CUDA(cusolverDnXpotrs(handle_.get(), parameters_.get(), CUBLAS_FILL_MODE_UPPER, order, 1, CUDA_R_64F,
                             l, order, CUDA_R_64F, x, order, info));
}

bool check_info(int info, const char* call) {
  if (info < 0)
    throw VendorError(std::string("cuSOLVER: argument ") + std::to_string(-info) + " is not valid; in " +
                      call);
  return info == 0;
}

}  // namespace seng::cuda
