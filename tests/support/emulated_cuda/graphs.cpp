// Streams that capture, and graphs.
#include <cstdlib>
#include <cstring>

#include "tests/support/emulated_cuda/device.h"
#include "tests/support/emulated_cuda/stream.h"

struct CUgraph_st {
  std::vector<emulated_cuda::Work> work;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<emulated_cuda::Work>> work;
};

namespace emulated_cuda {
namespace {

thread_local cudaStream_t capturing = nullptr;  // by this thread

}  // namespace

bool capture_refuses(const char* what) {
  const char* refused = std::getenv("SENG_EMULATED_CAPTURE_REFUSES");
  return refused != nullptr && std::strcmp(refused, what) == 0;
}

cudaError_t refuse(cudaStream_t stream) {
  stream->capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

bool refused_in_capture() {
  const std::lock_guard lock(device_mutex);
  if (capturing == nullptr) return false;
  last_error = refuse(capturing);
  return true;
}

bool invalidates_capture(CUstream_st* stream, const char* what) {
  const std::lock_guard lock(device_mutex);
  if (!stream->capture || !capture_refuses(what)) return false;
  last_error = refuse(stream);
  return true;
}

bool captured(cudaStream_t stream, Work work) {
  if (!stream->capture) return false;
  if (stream->capture->invalid) {
    last_error = cudaErrorStreamCaptureInvalidated;
  } else {
    stream->capture->work.push_back(std::move(work));
  }
  return true;
}

}  // namespace emulated_cuda

using namespace emulated_cuda;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(device_mutex);
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  // Other modes forbid other threads what they do meanwhile: not looked for here.
  if (mode != cudaStreamCaptureModeThreadLocal) return cudaErrorInvalidValue;
  if (stream->capture) return cudaErrorIllegalState;
  if (capture_refuses("begin")) return cudaErrorStreamCaptureUnsupported;
  stream->capture = std::make_unique<Capture>();
  stream->capture->thread = std::this_thread::get_id();
  capturing = stream;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(device_mutex);
  *graph = nullptr;
  if (!stream->capture) return cudaErrorIllegalState;
  if (stream->capture->thread != std::this_thread::get_id()) return cudaErrorStreamCaptureWrongThread;
  const auto capture = std::move(stream->capture);
  capturing = nullptr;
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  ++counts.captures;
  *graph = new CUgraph_st{std::move(capture->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (capture_refuses("instantiate")) return cudaErrorMemoryAllocation;
  *exec = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return capture_refuses("upload") ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const std::lock_guard lock(device_mutex);
  if (const cudaError_t failed = failure_now(); failed != cudaSuccess) return failed;
  if (stream->capture) return refuse(stream);
  ++counts.graphs;
  if (!exec->work->empty()) counts.work += exec->work->size() - 1;
  double milliseconds = 0;
  for (const Work& each : *exec->work) milliseconds += each.second;
  queue(
      stream,
      [work = exec->work] {
        for (const Work& each : *work) each.first();
      },
      milliseconds);
  return cudaGetLastError();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
