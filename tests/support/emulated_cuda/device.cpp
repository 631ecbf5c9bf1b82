#include "tests/support/emulated_cuda/device.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include <sys/mman.h>

#include "tests/support/emulated_cuda/cuda_runtime_api.h"

struct CUstream_st {
  std::deque<std::function<void()>> waiting;
  std::uint64_t queued = 0, done = 0;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  std::uint64_t place = 0;
};

namespace {

constexpr std::size_t kPage = 4096;

// One for the process: lanes take turns.
std::recursive_mutex device_mutex;
std::map<void*, std::size_t> allocations;

void protect(int how) {
  for (const auto& [memory, bytes] : allocations) mprotect(memory, bytes, how);
}

void run_until(cudaStream_t stream, std::uint64_t place) {
  if (stream->done >= place) return;
  protect(PROT_READ | PROT_WRITE);
  while (stream->done < place) {
    stream->waiting.front()();
    stream->waiting.pop_front();
    ++stream->done;
  }
  protect(PROT_NONE);
}

// SENG_EMULATED_GPU_MIB: a GPU with so much memory. SENG_EMULATED_GPU_DIES: after so many pieces of work
// every call fails.
std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

cudaError_t last_error = cudaSuccess;
std::uint64_t total_work = 0;

bool is_dead() {
  static const std::uint64_t dies = setting("SENG_EMULATED_GPU_DIES", UINT64_MAX);
  return total_work > dies;
}

}  // namespace

namespace emulated_cuda {

void queue(CUstream_st* stream, std::function<void()> work) {
  const std::lock_guard lock(device_mutex);
  ++total_work;
  if (is_dead()) {
    last_error = cudaErrorECCUncorrectable;
    return;
  }
  stream->waiting.push_back(std::move(work));
  ++stream->queued;
}

}  // namespace emulated_cuda

cudaError_t cudaGetDeviceCount(int* count) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  *count = visible != nullptr && *visible == '\0' ? 0 : 1;
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::snprintf(properties->name, sizeof properties->name, "Emulated GPU");
  properties->major = 9;
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
  const std::lock_guard lock(device_mutex);
  if (is_dead()) return cudaErrorECCUncorrectable;
  run_until(stream, stream->queued);
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
  const std::lock_guard lock(device_mutex);
  *event = {stream, stream->queued};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(device_mutex);
  if (event->stream != nullptr) run_until(event->stream, event->place);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard lock(device_mutex);
  static const std::size_t most = setting("SENG_EMULATED_GPU_MIB", 16384) << 20;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  std::size_t held = bytes;
  for (const auto& [_, size] : allocations) held += size;
  if (bytes == 0 || held > most) return cudaErrorMemoryAllocation;
  *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (*memory == MAP_FAILED) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  mprotect(*memory, bytes, PROT_NONE);
  allocations[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const std::lock_guard lock(device_mutex);
  const auto found = allocations.find(memory);
  if (found == allocations.end()) return cudaErrorUnknown;
  munmap(memory, found->second);
  allocations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  emulated_cuda::queue(stream, [=] { std::memmove(to, from, bytes); });
  return cudaGetLastError();
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  emulated_cuda::queue(stream, [=] { std::memset(memory, value, bytes); });
  return cudaGetLastError();
}
cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device_mutex);
  return std::exchange(last_error, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorECCUncorrectable:
      return "uncorrectable ECC error encountered";
    default:
      return "an error";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorECCUncorrectable:
      return "cudaErrorECCUncorrectable";
    default:
      return "cudaErrorUnknown";
  }
}
