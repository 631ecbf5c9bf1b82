// The vendor's handles and memory, each given back by its destructor.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "actors/engine/cuda/check.h"

namespace seng::cuda {

// A pointer that `Destroy` takes back. What it says is not asked for: a destructor can do nothing about it,
// and a lost device refuses everything.
template <class Pointer, auto Destroy>
struct Destroyer {
  using pointer = Pointer;
  void operator()(Pointer handle) const { (void)Destroy(handle); }
};
template <class Pointer, auto Destroy>
using Handle = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroyer<Pointer, Destroy>>;

using StreamHandle = Handle<cudaStream_t, cudaStreamDestroy>;
using EventHandle = Handle<cudaEvent_t, cudaEventDestroy>;
using GraphHandle = Handle<cudaGraph_t, cudaGraphDestroy>;
using GraphExecHandle = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;  // a graph that can be launched
using CudnnHandle = Handle<cudnnHandle_t, cudnnDestroy>;
using CublasHandle = Handle<cublasHandle_t, cublasDestroy>;
using CusolverHandle = Handle<cusolverDnHandle_t, cusolverDnDestroy>;
using CusolverParameters = Handle<cusolverDnParams_t, cusolverDnDestroyParams>;
using TensorDescriptor = Handle<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Handle<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Handle<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>;

inline StreamHandle make_stream() {
  cudaStream_t stream = nullptr;
  SENG_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return StreamHandle(stream);
}
inline EventHandle make_event() {
  cudaEvent_t event = nullptr;
  SENG_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return EventHandle(event);
}
// One that keeps the time at which the device came to it.
inline EventHandle make_timing_event() {
  cudaEvent_t event = nullptr;
  SENG_CUDA(cudaEventCreateWithFlags(&event, cudaEventDefault));
  return EventHandle(event);
}

// Memory of the device (aligned to 256 bytes at least), and of the host that copies reach without a detour.
using DeviceMemory = Handle<void*, cudaFree>;
using PinnedMemory = Handle<void*, cudaFreeHost>;

inline DeviceMemory make_device_memory(std::size_t bytes) {
  void* memory = nullptr;
  SENG_CUDA(cudaMalloc(&memory, bytes));
  return DeviceMemory(memory);
}
inline PinnedMemory make_pinned_memory(std::size_t bytes) {
  void* memory = nullptr;
  SENG_CUDA(cudaMallocHost(&memory, bytes));
  return PinnedMemory(memory);
}

}  // namespace seng::cuda
