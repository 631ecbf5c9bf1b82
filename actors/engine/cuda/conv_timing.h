// Times one convolution's algorithms on the device, for a ConvolutionChooser.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {

// Holds the operands while it lives: finite values in every arithmetic, that nothing else uses. Each is read
// by one pass and written by another.
class ConvolutionTiming {
 public:
  struct Bytes {
    std::size_t x = 0, weight = 0, y = 0;
  };
  struct Operands {
    void *x = nullptr, *weight = nullptr, *y = nullptr, *workspace = nullptr;
  };
  // Memory is taken with the first run.
  ConvolutionTiming(CudaBackend& backend, Bytes bytes) : backend_(backend), bytes_(bytes) {}

  // Milliseconds of each of some runs of `call`, which queues one; the device is idle before and behind it.
  // Empty: it could not be run, for the workspace does not fit or the library refuses it after all. A device
  // that has failed is a VendorError.
  std::vector<double> time(std::size_t workspace, const std::function<void(const Operands&)>& call);

 private:
  void take_operands();

  CudaBackend& backend_;
  Bytes bytes_;
  DeviceMemory x_, weight_, y_;
};

}  // namespace seng::cuda
