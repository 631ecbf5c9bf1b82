// Factorisations by cuSOLVER's dense library, by its 64-bit interface, on one stream. Its results repeat
// (CUSOLVER_DETERMINISTIC_RESULTS, which is its default and is said here).
#pragma once

#include <cstddef>
#include <vector>

#include "actors/engine/cuda/handles.h"

namespace seng::cuda {

class Solver {
 public:
  explicit Solver(cudaStream_t stream);

  // Bytes that a factorisation takes of the device and of the host while it runs. Its `info` is read back
  // before the next one is asked for.
  struct Room {
    std::size_t device = 0, host = 0;
  };

  // A symmetric matrix [n, n], both of whose triangles are given, becomes its eigenvectors as rows, smallest
  // eigenvalue first; values [n]. `info`, of the device: 0, or what check_info() says.
  Room eigen_room(std::size_t n, const float* a, const float* values);
  void eigen(std::size_t n, float* a, float* values, const Room& room, void* workspace, int* info);

  // A symmetric matrix [n, n] in double becomes its Cholesky factor L (row-major, in the lower triangle).
  Room cholesky_room(std::size_t n, const double* a);
  void cholesky(std::size_t n, double* a, const Room& room, void* workspace, int* info);
  // x [n] <- (L L^T)^-1 x. `info` says of arguments alone, which are the program's.
  void solve(std::size_t n, const double* l, double* x, int* info);

 private:
  CusolverHandle handle_;
  CusolverParameters parameters_;
  std::vector<std::byte> host_;  // room of the call that runs
};

// Of an `info` that was read back: true for 0, false above (it does not converge, or the matrix is not
// positive definite); a VendorError for an argument that the call did not take.
bool check_info(int info, const char* call);

}  // namespace seng::cuda
