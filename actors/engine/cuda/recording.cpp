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

constexpr int kTries = 3;

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
    graph_.reset();
    (void)cudaGetLastError();  // a refusal's; a lost device says it again
    // What another thread does with the device meanwhile may disturb a capture: it says nothing of the next.
    if (++refused_ == kTries)
      shortfall_ = "what repeats from step to step is queued call by call, not as a CUDA graph: " + refusal;
  }

  // Empty, or what was refused. The graph is brought to the device too: what has no room there shows now.
  std::string try_to_capture() {
    try {
      Capture capture(backend_.stream());
      calls_();
      SENG_CUDA(capture.end());
      cudaGraphExec_t graph = nullptr;
      SENG_CUDA(cudaGraphInstantiate(&graph, capture.graph(), 0));
      graph_.reset(graph);
      SENG_CUDA(cudaGraphUpload(graph, backend_.stream()));
      return "";
    } catch (const VendorError& error) {
      return error.what();
    }
  }

  CudaBackend& backend_;
  std::function<void()> calls_;
  bool called_ = false;
  int refused_ = 0;  // captures
  GraphExecHandle graph_;
  std::uint64_t moves_ = 0;  // of the scratch space, when the graph was made
  std::string shortfall_;
};

}  // namespace

std::unique_ptr<Recording> CudaBackend::record(std::function<void()> calls) {
  return std::make_unique<CudaRecording>(*this, std::move(calls));
}

}  // namespace seng::cuda
