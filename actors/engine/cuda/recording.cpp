#include <utility>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// A stream that captures until this goes: its calls make a graph instead of being done.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    // Of this thread alone: other lanes go on allocating.
    SENG_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  }
  ~Capture() {
    if (!ended_) (void)end();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaError_t end() {
    ended_ = true;
    cudaGraph_t graph = nullptr;
    const cudaError_t status = cudaStreamEndCapture(stream_, &graph);
    graph_.reset(graph);
    return status;
  }
  cudaGraph_t graph() const { return graph_.get(); }

 private:
  cudaStream_t stream_;
  GraphHandle graph_;
  bool ended_ = false;
};

// The first run makes the calls, so that whatever is made when first asked for is there; the second captures
// them. A graph has addresses in it: when the scratch space has moved, it is made anew.
class CudaRecording final : public Recording {
 public:
  CudaRecording(CudaBackend& backend, std::function<void()> calls)
      : backend_(backend), calls_(std::move(calls)) {}

  ~CudaRecording() override {
    if (graph_) (void)cudaStreamSynchronize(backend_.stream());
  }

  void run() override {
    if (!shortfall_.empty() || !std::exchange(called_, true)) return calls_();
    const std::uint64_t moves = backend_.settle_scratch();
    if (!graph_ || moves != moves_) capture();
    moves_ = moves;
    if (!graph_) return calls_();  // what refused to be captured; or fails, where the device is lost
    SENG_CUDA(cudaGraphLaunch(graph_.get(), backend_.stream()));
  }

  const std::string& shortfall() const override { return shortfall_; }

 private:
  void capture() {
    graph_.reset();
    const std::string refusal = try_to_capture();
    if (refusal.empty()) return;
    (void)cudaGetLastError();  // a refusal's; a lost device says it again
    shortfall_ = "the passes of a micro-batch are queued call by call, not as a CUDA graph: " + refusal;
  }

  // Empty, or what was refused.
  std::string try_to_capture() {
    Capture capture(backend_.stream());
    try {
      calls_();
    } catch (const VendorError& error) {
      return error.what();
    }
    if (const cudaError_t status = capture.end(); status != cudaSuccess) return "CUDA: " + words_of(status);
    cudaGraphExec_t graph = nullptr;
    if (const cudaError_t status = cudaGraphInstantiate(&graph, capture.graph(), 0); status != cudaSuccess)
      return "CUDA: " + words_of(status);
    graph_.reset(graph);
    return "";
  }

  CudaBackend& backend_;
  std::function<void()> calls_;
  bool called_ = false;
  GraphExecHandle graph_;
  std::uint64_t moves_ = 0;  // of the scratch space, when the graph was made
  std::string shortfall_;
};

}  // namespace

std::unique_ptr<Recording> CudaBackend::record(std::function<void()> calls) {
  return std::make_unique<CudaRecording>(*this, std::move(calls));
}

}  // namespace seng::cuda
