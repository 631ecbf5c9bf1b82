#include "tests/support/emulated_cuda/device.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "tests/support/emulated_cuda/stream.h"

namespace {

constexpr std::size_t kPage = 4096;

std::map<void*, std::size_t> allocations;
std::map<void*, std::size_t> pinned;
int running = 0;  // streams, that wait for one another

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Of big areas whole huge pages, on their boundary: what the host may see of them changes at every wait.
std::size_t mapped(std::size_t bytes) {
  return bytes < kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
}
void* map(std::size_t bytes) {
  const std::size_t size = mapped(bytes), spare = bytes < kHugePage ? 0 : kHugePage;
  void* area = mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return nullptr;
  if (spare == 0) return area;
  auto* begin = static_cast<std::byte*>(area);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before > 0) munmap(begin, before);
  if (spare > before) munmap(begin + before + size, spare - before);
  madvise(begin + before, size, MADV_HUGEPAGE);
  return begin + before;
}

void protect(int how) {
  for (const auto& [memory, bytes] : allocations) mprotect(memory, mapped(bytes), how);
}

bool is_pinned(const void* memory) {
  const auto after = pinned.upper_bound(const_cast<void*>(memory));
  if (after == pinned.begin()) return false;
  const auto found = std::prev(after);
  return static_cast<const std::byte*>(memory) < static_cast<const std::byte*>(found->first) + found->second;
}

// The host waits for a stream's work.
void wait_until(cudaStream_t stream, std::uint64_t place) {
  if (stream->done < place) ++emulated_cuda::counts.waits;
  emulated_cuda::run_until(stream, place);
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

}  // namespace

namespace emulated_cuda {

std::recursive_mutex device_mutex;
cudaError_t last_error = cudaSuccess;
Counts counts;

cudaError_t failure_now() {
  static const Failure failure = read_failure();
  if (counts.work < failure.after) return cudaSuccess;
  if (!failure.mark.empty()) std::ofstream(failure.mark) << "failed\n";
  return failure.error;
}

void run_until(cudaStream_t stream, std::uint64_t place) {
  if (stream->done >= place) return;
  if (running++ == 0) protect(PROT_READ | PROT_WRITE);
  while (stream->done < place) {
    const auto& [work, milliseconds] = stream->waiting.front();
    work();
    stream->clock += milliseconds;
    stream->waiting.pop_front();
    ++stream->done;
  }
  if (--running == 0) protect(PROT_NONE);
}

void queue(CUstream_st* stream, std::function<void()> work, double milliseconds) {
  const std::lock_guard lock(device_mutex);
  if (captured(stream, {work, milliseconds})) return;
  ++counts.work;
  ++counts.calls;
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) {
    last_error = failed;
    return;
  }
  stream->waiting.emplace_back(std::move(work), milliseconds);
  ++stream->queued;
}

}  // namespace emulated_cuda

using namespace emulated_cuda;

// What tests look at; `what` is a name of stream.h's Counts.
extern "C" __attribute__((visibility("default"))) std::uint64_t emulated_cuda_count(const char* what) {
  const std::lock_guard lock(device_mutex);
  const std::string name = what;
  if (name == "allocations") return counts.allocations;
  if (name == "copies_to_host") return counts.copies_to_host;
  if (name == "bytes_to_host") return counts.bytes_to_host;
  if (name == "waits") return counts.waits;
  if (name == "calls") return counts.calls;
  if (name == "graphs") return counts.graphs;
  if (name == "captures") return counts.captures;
  throw std::invalid_argument(name);
}

// For the emulated NCCL beside, which reads and writes the device's memory as a GPU's own copies do.
extern "C" __attribute__((visibility("default"))) int emulated_cuda_owns(const void* memory,
                                                                         std::size_t bytes) {
  const std::lock_guard lock(device_mutex);
  auto after = allocations.upper_bound(const_cast<void*>(memory));
  if (after == allocations.begin()) return 0;
  const auto& [begin, size] = *--after;
  return static_cast<const std::byte*>(memory) + bytes <= static_cast<const std::byte*>(begin) + size;
}
extern "C" __attribute__((visibility("default"))) void emulated_cuda_move(void* to, const void* from,
                                                                          std::size_t bytes) {
  const std::lock_guard lock(device_mutex);
  if (running++ == 0) protect(PROT_READ | PROT_WRITE);
  std::memmove(to, from, bytes);
  if (--running == 0) protect(PROT_NONE);
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
  if (stream->capture) return refuse(stream);
  wait_until(stream, stream->queued);
  return cudaSuccess;
}
// A GPU takes an event that was never recorded for one that has passed: here it is a mistake.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(device_mutex);
  if (event->stream == nullptr) return cudaErrorInvalidValue;
  if (event->captured) return cudaErrorCapturedEvent;
  if (stream->capture) {
    refuse(stream);
    return cudaErrorStreamCaptureIsolation;
  }
  emulated_cuda::queue(stream, [of = event->stream, place = event->place] { run_until(of, place); });
  return cudaGetLastError();
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
  event->captured = stream->capture != nullptr;
  if (event->captured) return cudaSuccess;
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
  if (event->captured) return cudaErrorCapturedEvent;
  if (event->stream != nullptr) wait_until(event->stream, event->place);
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
  const std::size_t most = memory_of_gpu();
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  if (refused_in_capture()) return last_error;
  ++counts.allocations;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  std::size_t held = bytes;
  for (const auto& [_, size] : allocations) held += size;
  if (bytes == 0 || held > most) return last_error = cudaErrorMemoryAllocation;
  *memory = map(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  mprotect(*memory, mapped(bytes), PROT_NONE);
  allocations[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const std::lock_guard lock(device_mutex);
  if (refused_in_capture()) return last_error;
  const auto found = allocations.find(memory);
  if (found == allocations.end()) return cudaErrorUnknown;
  munmap(memory, mapped(found->second));
  allocations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const std::lock_guard lock(device_mutex);
  if (refused_in_capture()) return last_error;
  ++counts.allocations;
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  pinned[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(device_mutex);
  if (refused_in_capture()) return last_error;
  pinned.erase(memory);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const std::lock_guard lock(device_mutex);
  const void* host = kind == cudaMemcpyHostToDevice ? from : kind == cudaMemcpyDeviceToHost ? to : nullptr;
  const bool of_pinned = host != nullptr && is_pinned(host);
  if (stream->capture && host != nullptr && !of_pinned) return refuse(stream);
  emulated_cuda::queue(stream, [=] {
    if (of_pinned && !is_pinned(host)) {
      std::fputs("emulated CUDA: pinned memory was given back before its copy was done\n", stderr);
      std::abort();
    }
    std::memmove(to, from, bytes);
    counts.copies_to_host += kind == cudaMemcpyDeviceToHost;
    counts.bytes_to_host += kind == cudaMemcpyDeviceToHost ? bytes : 0;
  });
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
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
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
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
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
