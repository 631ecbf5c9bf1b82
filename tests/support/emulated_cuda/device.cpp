#include "tests/support/emulated_cuda/device.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "tests/support/emulated_cuda/cuda_runtime_api.h"

struct CUstream_st {
  std::deque<std::pair<std::function<void()>, double>> waiting;
  std::uint64_t queued = 0, done = 0;
  double clock = 0;  // milliseconds
};
struct CUevent_st {
  bool timed = false;
  cudaStream_t stream = nullptr;
  std::uint64_t place = 0;
  std::shared_ptr<double> reached = {};  // the stream's clock
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
    const auto& [work, milliseconds] = stream->waiting.front();
    work();
    stream->clock += milliseconds;
    stream->waiting.pop_front();
    ++stream->done;
  }
  protect(PROT_NONE);
}

// SENG_EMULATED_GPU_MIB: a GPU with so much memory.
std::size_t memory_of_gpu() {
  const char* text = std::getenv("SENG_EMULATED_GPU_MIB");
  return (text == nullptr ? std::size_t{16384} : std::strtoull(text, nullptr, 10)) << 20;
}

// SENG_EMULATED_GPU_FAILS="UUID,AFTER,ERROR[,MARK]": for the process that sees that GPU, after so many pieces
// of work every call fails with this error; with AFTER 0 from the first on. With MARK, a path, only where
// that file is not there yet: the failing process makes it.
struct Failure {
  std::uint64_t after = UINT64_MAX;
  cudaError_t error = cudaErrorUnknown;
  std::string mark;
};
Failure read_failure() {
  const char *text = std::getenv("SENG_EMULATED_GPU_FAILS"), *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (text == nullptr || visible == nullptr) return {};
  std::vector<std::string> words;
  std::istringstream all(text);
  for (std::string word; std::getline(all, word, ',');) words.push_back(word);
  if (words.size() < 3 || words[0] != visible) return {};
  Failure failure{std::stoull(words[1]), static_cast<cudaError_t>(std::stoi(words[2])),
                  words.size() > 3 ? words[3] : ""};
  if (!failure.mark.empty() && std::filesystem::exists(failure.mark)) return {};
  return failure;
}

cudaError_t last_error = cudaSuccess;
std::uint64_t total_work = 0, allocated_times = 0;

// What every call gives once the device has failed.
cudaError_t failure_now() {
  static const Failure failure = read_failure();
  if (total_work < failure.after) return cudaSuccess;
  if (!failure.mark.empty()) std::ofstream(failure.mark) << "failed\n";
  return failure.error;
}

}  // namespace

namespace emulated_cuda {

void queue(CUstream_st* stream, std::function<void()> work, double milliseconds) {
  const std::lock_guard lock(device_mutex);
  ++total_work;
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) {
    last_error = failed;
    return;
  }
  stream->waiting.emplace_back(std::move(work), milliseconds);
  ++stream->queued;
}

}  // namespace emulated_cuda

// Device and pinned areas that were ever asked for: tests look whether a step asks for any.
extern "C" __attribute__((visibility("default"))) std::uint64_t emulated_cuda_allocations() {
  const std::lock_guard lock(device_mutex);
  return allocated_times;
}

// Copies from the device to the host that were ever asked for.
std::atomic<std::uint64_t> copied_to_host{0};
extern "C" __attribute__((visibility("default"))) std::uint64_t emulated_cuda_copies_to_host() {
  return copied_to_host;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
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
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  run_until(stream, stream->queued);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(device_mutex);
  if (event->timed) {
    event->reached = std::make_shared<double>(0);
    emulated_cuda::queue(stream, [stream, reached = event->reached] { *reached = stream->clock; });
  }
  event->stream = stream;
  event->place = stream->queued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(device_mutex);
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  if (event->stream != nullptr) run_until(event->stream, event->place);
  return cudaSuccess;
}
// SENG_EMULATED_CUDNN_HOLDS=PATH: whoever measures waits while that file is there.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const char* hold = std::getenv("SENG_EMULATED_CUDNN_HOLDS");
  while (hold != nullptr && std::filesystem::exists(hold))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::lock_guard lock(device_mutex);
  if (!begin->reached || !end->reached || end->stream->done < end->place) return cudaErrorUnknown;
  *milliseconds = static_cast<float>(*end->reached - *begin->reached);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard lock(device_mutex);
  static const std::size_t most = memory_of_gpu();
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  ++allocated_times;
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
  {
    const std::lock_guard lock(device_mutex);
    ++allocated_times;
  }
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (kind == cudaMemcpyDeviceToHost) ++copied_to_host;
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
cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device_mutex);
  const cudaError_t failed = failure_now();
  return failed != cudaSuccess ? failed : last_error;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorDevicesUnavailable:
      return "CUDA-capable device(s) is/are busy or unavailable";
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
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorDevicesUnavailable:
      return "cudaErrorDevicesUnavailable";
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
