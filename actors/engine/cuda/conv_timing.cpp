#include "actors/engine/cuda/conv_timing.h"

namespace seng::cuda {
namespace {

constexpr int kRuns = 7;
// As a float 0.0115, as bf16 0.0115, as f16 1.06.
constexpr int kByte = 0x3c;

}  // namespace

void ConvolutionTiming::take_operands() {
  if (x_) return;
  x_ = make_device_memory(bytes_.x);
  weight_ = make_device_memory(bytes_.weight);
  y_ = make_device_memory(bytes_.y);
  SENG_CUDA(cudaMemsetAsync(x_.get(), kByte, bytes_.x, backend_.stream()));
  SENG_CUDA(cudaMemsetAsync(weight_.get(), kByte, bytes_.weight, backend_.stream()));
  SENG_CUDA(cudaMemsetAsync(y_.get(), kByte, bytes_.y, backend_.stream()));
}

std::vector<double> ConvolutionTiming::time(std::size_t workspace,
                                            const std::function<void(const Operands&)>& call) {
  const cudaStream_t stream = backend_.stream();
  std::vector<double> out;
  DeviceMemory space;
  try {
    take_operands();
    if (workspace > 0) space = make_device_memory(workspace);
    const EventHandle begin = make_timing_event(), end = make_timing_event();
    const Operands operands{x_.get(), weight_.get(), y_.get(), space.get()};
    call(operands);  // loads its kernels
    SENG_CUDA(cudaStreamSynchronize(stream));
    for (int run = 0; run < kRuns; ++run) {
      SENG_CUDA(cudaEventRecord(begin.get(), stream));
      call(operands);
      SENG_CUDA(cudaEventRecord(end.get(), stream));
      SENG_CUDA(cudaEventSynchronize(end.get()));
      float milliseconds = 0;
      SENG_CUDA(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
      out.push_back(milliseconds);
    }
  } catch (const VendorError&) {
    out.clear();
    (void)cudaGetLastError();                  // what is over is not to be found by the next launch
    SENG_CUDA(cudaStreamSynchronize(stream));  // where the device itself has failed it says so again
  }
  return out;
}

}  // namespace seng::cuda
