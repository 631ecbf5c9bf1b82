#include "tests/support/emulated_nccl/runtime.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "tests/support/emulated_nccl/other_device.h"

struct CUstream_st {
  std::deque<std::function<bool()>> waiting;
  std::uint64_t queued = 0, done = 0;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  std::uint64_t place = 0;
};

namespace {

// Of the maps; a stream is used by one thread.
std::mutex mutex;
std::map<const void*, std::size_t> device_memory, host_memory;
std::atomic<std::uint64_t> bytes_to_host{0};

bool contains(const std::map<const void*, std::size_t>& areas, const void* memory, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  auto after = areas.upper_bound(memory);
  if (after == areas.begin()) return false;
  const auto& [start, size] = *--after;
  return static_cast<const char*>(memory) + bytes <= static_cast<const char*>(start) + size;
}

cudaError_t allocate(std::map<const void*, std::size_t>& areas, void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  const std::lock_guard lock(mutex);
  areas[*memory] = bytes;
  return cudaSuccess;
}

cudaError_t release(std::map<const void*, std::size_t>& areas, void* memory) {
  {
    const std::lock_guard lock(mutex);
    if (areas.erase(memory) == 0) return cudaErrorInvalidValue;
  }
  std::free(memory);
  return cudaSuccess;
}

void move(cudaStream_t stream) {
  while (!stream->waiting.empty() && stream->waiting.front()()) {
    stream->waiting.pop_front();
    ++stream->done;
  }
}

}  // namespace

namespace emulated_nccl {

void queue(cudaStream_t stream, std::function<bool()> work) {
  stream->waiting.push_back(std::move(work));
  ++stream->queued;
}

bool on_device(const void* memory, std::size_t bytes) {
  return contains(device_memory, memory, bytes) || other_device().has(memory, bytes);
}

void move_bytes(void* to, const void* from, std::size_t bytes) {
  const OtherDevice other = other_device();
  if (other.has(to, bytes) || other.has(from, bytes))
    other.move(to, from, bytes);
  else
    std::memmove(to, from, bytes);
}

std::string visible_device() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible == nullptr ? "" : visible;
}

}  // namespace emulated_nccl

// What tests look at.
extern "C" __attribute__((visibility("default"))) std::uint64_t emulated_nccl_bytes_to_host() {
  return bytes_to_host;
}

cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof properties->name, "Emulated GPU");
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : emulated_nccl::visible_device())
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  std::memcpy(properties->uuid.bytes, &hash, sizeof hash);
  std::memset(properties->uuid.bytes + sizeof hash, 0, sizeof hash);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  for (move(stream); stream->done < stream->queued; move(stream)) std::this_thread::yield();
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {stream, stream->queued};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  move(event->stream);
  return event->stream->done >= event->place ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return allocate(device_memory, memory, bytes);
}
cudaError_t cudaFree(void* memory) {
  return release(device_memory, memory);
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return allocate(host_memory, memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) {
  return release(host_memory, memory);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const bool down = kind == cudaMemcpyDeviceToHost;
  if (!emulated_nccl::on_device(down ? from : to, bytes) || !contains(host_memory, down ? to : from, bytes))
    return cudaErrorInvalidValue;
  emulated_nccl::queue(stream, [=] {
    if (down) bytes_to_host += bytes;
    emulated_nccl::move_bytes(to, from, bytes);
    return true;
  });
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidValue ? "invalid argument" : "an error";
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorInvalidValue ? "cudaErrorInvalidValue" : "cudaErrorUnknown";
}
