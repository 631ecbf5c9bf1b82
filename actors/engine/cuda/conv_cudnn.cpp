// cuDNN's convolution calls that take descriptors ("legacy"): for plain convolutions they reach the same
// engines as its graphs do, and say of each algorithm whether it is deterministic.
#include <algorithm>
#include <optional>

#include "actors/engine/cuda/conv_timing.h"
#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

constexpr std::size_t kMostWorkspace = std::size_t{512} << 20;

// One direction's algorithm, settled while planning.
template <class Algorithm>
struct Choice {
  Algorithm algorithm;
  std::size_t workspace = 0;
};

bool is_winograd(cudnnConvolutionFwdAlgo_t a) {
  return a == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD || a == CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED;
}
bool is_winograd(cudnnConvolutionBwdDataAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD ||
         a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED;
}
bool is_winograd(cudnnConvolutionBwdFilterAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD ||
         a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED;
}
bool is_fft(cudnnConvolutionFwdAlgo_t a) {
  return a == CUDNN_CONVOLUTION_FWD_ALGO_FFT || a == CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING;
}
bool is_fft(cudnnConvolutionBwdDataAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT || a == CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING;
}
bool is_fft(cudnnConvolutionBwdFilterAlgo_t a) {
  return a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT || a == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING;
}

// Whether an algorithm's arithmetic is what was asked for: floats on tensor cores only as TF32, 16 bits there
// or not; never a conversion on the way.
bool keeps_to(Element element, cudnnMathType_t math) {
  if (math == CUDNN_DEFAULT_MATH || math == CUDNN_FMA_MATH) return true;
  return math == CUDNN_TENSOR_OP_MATH && element != Element::kF32;
}

// Those of cuDNN's candidates that may be taken, each algorithm once, in the order of its heuristics, which
// is that of expected time: a function of the shape, the library and the kind of GPU, since nothing is timed.
template <class Candidate, class WorkspaceOf>
auto allowed_of(const std::vector<Candidate>& candidates, bool direct, Element element,
                WorkspaceOf workspace_of) {
  std::vector<Choice<decltype(Candidate::algo)>> out;
  for (const Candidate& candidate : candidates) {
    if (candidate.status != CUDNN_STATUS_SUCCESS || candidate.determinism != CUDNN_DETERMINISTIC) continue;
    if (!keeps_to(element, candidate.mathType)) continue;
    if (is_fft(candidate.algo) || (direct && is_winograd(candidate.algo))) continue;
    if (std::ranges::any_of(out, [&](const auto& each) { return each.algorithm == candidate.algo; }))
      continue;
    std::size_t bytes = 0;
    if (workspace_of(candidate.algo, &bytes) != CUDNN_STATUS_SUCCESS || bytes > kMostWorkspace) continue;
    out.push_back({candidate.algo, bytes});
  }
  return out;
}

// What `ask` (count, returned, results) lists; nothing where cuDNN has nothing to offer.
template <class Candidate, class Ask>
std::vector<Candidate> candidates_of(int most, Ask ask) {
  std::vector<Candidate> out(static_cast<std::size_t>(most) *
                             2);  // an algorithm may come once per kind of math
  int returned = 0;
  const cudnnStatus_t status = ask(static_cast<int>(out.size()), &returned, out.data());
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) return {};
  check(status, "cudnnGetConvolution*Algorithm_v7", __FILE__, __LINE__);
  out.resize(static_cast<std::size_t>(returned));
  return out;
}

struct Descriptors {
  TensorDescriptor x, y;
  FilterDescriptor weight;
  ConvolutionDescriptor convolution;
};

cudnnDataType_t type_of(Element element) {
  if (element == Element::kF32) return CUDNN_DATA_FLOAT;
  return element == Element::kBf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

// The default takes TF32 for floats where the GPU has it; FMA keeps to f32.
cudnnMathType_t math_of(Arithmetic precision) {
  if (precision == Arithmetic::kF32) return CUDNN_FMA_MATH;
  return precision == Arithmetic::kTf32 ? CUDNN_DEFAULT_MATH : CUDNN_TENSOR_OP_MATH;
}

// `format`: of images and of weights, [C_out, kh, kw, C_in] or [C_out, C_in, kh, kw].
Descriptors describe(const ConvolutionPlan& plan, cudnnTensorFormat_t format, Arithmetic precision) {
  const cudnnDataType_t type = type_of(element_of(precision));
  const ConvolutionGeometry& g = plan.geometry;
  Descriptors out;
  cudnnTensorDescriptor_t x = nullptr, y = nullptr;
  cudnnFilterDescriptor_t weight = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  SENG_CUDA(cudnnCreateTensorDescriptor(&x));
  out.x.reset(x);
  SENG_CUDA(cudnnCreateTensorDescriptor(&y));
  out.y.reset(y);
  SENG_CUDA(cudnnCreateFilterDescriptor(&weight));
  out.weight.reset(weight);
  SENG_CUDA(cudnnCreateConvolutionDescriptor(&convolution));
  out.convolution.reset(convolution);
  SENG_CUDA(cudnnSetTensor4dDescriptor(x, format, type, plan.batch, g.channels_in, g.height_in, g.width_in));
  SENG_CUDA(
      cudnnSetTensor4dDescriptor(y, format, type, plan.batch, g.channels_out, g.height_out, g.width_out));
  SENG_CUDA(cudnnSetFilter4dDescriptor(weight, type, format, g.channels_out, g.channels_in, g.kernel_h,
                                       g.kernel_w));
  // PyTorch's convolution, and the contract's, does not turn the kernel round.
  SENG_CUDA(cudnnSetConvolution2dDescriptor(convolution, g.padding, g.padding, g.stride, g.stride, 1, 1,
                                            CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  SENG_CUDA(cudnnSetConvolutionMathType(convolution, math_of(precision)));
  int n = 0, c = 0, h = 0, w = 0;
  SENG_CUDA(cudnnGetConvolution2dForwardOutputDim(convolution, x, weight, &n, &c, &h, &w));
  SENG_CHECK(n == plan.batch && c == g.channels_out && h == g.height_out && w == g.width_out,
             "a convolution's output has another shape for cuDNN");
  return out;
}

class CudnnConvolution final : public Convolution {
 public:
  // Null where cuDNN has no deterministic algorithm for all that is wanted in this format.
  static std::unique_ptr<CudnnConvolution> create(CudaBackend& backend, const ConvolutionPlan& plan,
                                                  Arithmetic precision, bool channels_last) {
    auto out =
        std::unique_ptr<CudnnConvolution>(new CudnnConvolution(backend, plan, precision, channels_last));
    return out->choose_all() ? std::move(out) : nullptr;
  }

  LayoutPtr input() const override { return input_; }
  LayoutPtr output() const override { return output_; }
  bool winograd() const override {
    return is_winograd(forward_.algorithm) || (plan_.training && is_winograd(weights_.algorithm)) ||
           (plan_.training && plan_.input_gradient && is_winograd(data_.algorithm));
  }
  bool reference() const override { return false; }
  std::size_t packed_bytes() const override { return weight_count() * bytes_of(element()); }

  void pack(const float* weight, float* packed, Memory of_weight) override {
    const std::size_t bytes = weight_count() * sizeof(float);
    if (packs_as_it_is()) return backend_.upload(weight, packed, bytes, of_weight);
    Elements from{weight, Element::kF32};
    if (of_weight == Memory::kHost) {
      from.memory = between();
      backend_.upload(weight, between(), bytes);
    }
    if (transposes()) {
      SENG_CUDA_LAUNCH(launch_transpose(backend_.stream(), from, packed, element(), geometry().channels_out,
                                        geometry().channels_in, places()));
    } else {
      SENG_CUDA_LAUNCH(launch_convert(backend_.stream(), from, packed, element(), weight_count()));
    }
  }

  void forward(const float* x, const float* packed, const float* bias, float* y) override {
    run(forward_, {const_cast<float*>(x), const_cast<float*>(packed), y, workspace()});
    if (plan_.bias) SENG_CUDA_LAUNCH(launch_add_bias(backend_.stream(), y, bias, extents_of(output_)));
  }

  void backward_data(const float* dy, const float* packed, float* dx) override {
    run(data_, {dx, const_cast<float*>(packed), const_cast<float*>(dy), workspace()});
  }

  void backward_weights(const float* x, const float* dy, float* weight_gradient,
                        float* bias_gradient) override {
    float* packed = packs_as_it_is() ? weight_gradient : between();
    run(weights_, {const_cast<float*>(x), packed, const_cast<float*>(dy), workspace()});
    const Elements from{packed, element()};
    if (transposes()) {
      SENG_CUDA_LAUNCH(launch_transpose(backend_.stream(), from, weight_gradient, Element::kF32,
                                        geometry().channels_out, places(), geometry().channels_in));
    } else if (!packs_as_it_is()) {
      SENG_CUDA_LAUNCH(
          launch_convert(backend_.stream(), from, weight_gradient, Element::kF32, weight_count()));
    }
    if (plan_.bias) {
      SENG_CUDA_LAUNCH(
          launch_channel_sums(backend_.stream(), dy, extents_of(output_), between(), bias_gradient));
    }
  }

 private:
  CudnnConvolution(CudaBackend& backend, const ConvolutionPlan& plan, Arithmetic precision,
                   bool channels_last)
      : backend_(backend),
        plan_(plan),
        precision_(precision),
        channels_last_(channels_last),
        d_(describe(plan, channels_last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW, precision)) {
    const ConvolutionGeometry& g = plan.geometry;
    input_ = make_layout({plan.batch, g.channels_in, g.height_in, g.width_in}, channels_last, element());
    output_ = make_layout({plan.batch, g.channels_out, g.height_out, g.width_out}, channels_last, element());
  }

  using Operands = ConvolutionTiming::Operands;

  void run(const Choice<cudnnConvolutionFwdAlgo_t>& choice, const Operands& on) {
    SENG_CUDA(cudnnConvolutionForward(backend_.cudnn(), &kOne, d_.x.get(), on.x, d_.weight.get(), on.weight,
                                      d_.convolution.get(), choice.algorithm, on.workspace, choice.workspace,
                                      &kZero, d_.y.get(), on.y));
  }
  void run(const Choice<cudnnConvolutionBwdDataAlgo_t>& choice, const Operands& on) {
    SENG_CUDA(cudnnConvolutionBackwardData(backend_.cudnn(), &kOne, d_.weight.get(), on.weight, d_.y.get(),
                                           on.y, d_.convolution.get(), choice.algorithm, on.workspace,
                                           choice.workspace, &kZero, d_.x.get(), on.x));
  }
  void run(const Choice<cudnnConvolutionBwdFilterAlgo_t>& choice, const Operands& on) {
    SENG_CUDA(cudnnConvolutionBackwardFilter(backend_.cudnn(), &kOne, d_.x.get(), on.x, d_.y.get(), on.y,
                                             d_.convolution.get(), choice.algorithm, on.workspace,
                                             choice.workspace, &kZero, d_.weight.get(), on.weight));
  }

  auto allowed_forward() {
    const cudnnHandle_t cudnn = backend_.cudnn();
    const auto x = d_.x.get(), y = d_.y.get();
    const auto weight = d_.weight.get();
    const auto convolution = d_.convolution.get();
    return allowed_of(candidates_of<cudnnConvolutionFwdAlgoPerf_t>(
                          CUDNN_CONVOLUTION_FWD_ALGO_COUNT,
                          [&](int count, int* returned, cudnnConvolutionFwdAlgoPerf_t* results) {
                            return cudnnGetConvolutionForwardAlgorithm_v7(cudnn, x, weight, convolution, y,
                                                                          count, returned, results);
                          }),
                      plan_.direct, element(), [&](cudnnConvolutionFwdAlgo_t algorithm, std::size_t* bytes) {
                        return cudnnGetConvolutionForwardWorkspaceSize(cudnn, x, weight, convolution, y,
                                                                       algorithm, bytes);
                      });
  }
  auto allowed_weights() {
    const cudnnHandle_t cudnn = backend_.cudnn();
    const auto x = d_.x.get(), y = d_.y.get();
    const auto weight = d_.weight.get();
    const auto convolution = d_.convolution.get();
    return allowed_of(candidates_of<cudnnConvolutionBwdFilterAlgoPerf_t>(
                          CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT,
                          [&](int count, int* returned, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
                            return cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                                cudnn, x, y, convolution, weight, count, returned, results);
                          }),
                      plan_.direct, element(),
                      [&](cudnnConvolutionBwdFilterAlgo_t algorithm, std::size_t* bytes) {
                        return cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnn, x, y, convolution,
                                                                              weight, algorithm, bytes);
                      });
  }
  auto allowed_data() {
    const cudnnHandle_t cudnn = backend_.cudnn();
    const auto x = d_.x.get(), y = d_.y.get();
    const auto weight = d_.weight.get();
    const auto convolution = d_.convolution.get();
    return allowed_of(candidates_of<cudnnConvolutionBwdDataAlgoPerf_t>(
                          CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
                          [&](int count, int* returned, cudnnConvolutionBwdDataAlgoPerf_t* results) {
                            return cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnn, weight, y, convolution,
                                                                               x, count, returned, results);
                          }),
                      plan_.direct, element(),
                      [&](cudnnConvolutionBwdDataAlgo_t algorithm, std::size_t* bytes) {
                        return cudnnGetConvolutionBackwardDataWorkspaceSize(cudnn, weight, y, convolution, x,
                                                                            algorithm, bytes);
                      });
  }

  bool choose_all() {
    const bool backward = plan_.training, to_input = plan_.training && plan_.input_gradient;
    const auto forward = allowed_forward();
    const auto weights = backward ? allowed_weights() : decltype(allowed_weights()){};
    const auto data = to_input ? allowed_data() : decltype(allowed_data()){};
    // Nobody is asked about a format in which the convolution will not be.
    if (forward.empty() || (backward && weights.empty()) || (to_input && data.empty())) return false;
    ConvolutionTiming timing(backend_, {input_->bytes(), packed_bytes(), output_->bytes()});
    forward_ = settle(ConvolutionPass::kForward, forward, timing);
    if (backward) weights_ = settle(ConvolutionPass::kBackwardWeights, weights, timing);
    if (to_input) data_ = settle(ConvolutionPass::kBackwardData, data, timing);
    backend_.reserve(CudaBackend::kKernelSlot,
                     std::max({forward_.workspace, data_.workspace, weights_.workspace}));
    const std::size_t sums = plan_.training && plan_.bias
                                 ? RowChunks(extents_of(output_).rows()).count() * geometry().channels_out
                                 : 0;
    backend_.reserve(CudaBackend::kBetweenSlot,
                     std::max(sums, packs_as_it_is() ? 0 : weight_count()) * sizeof(float));
    return true;
  }

  // The first of those allowed, or what the chooser says.
  template <class Algorithm>
  Choice<Algorithm> settle(ConvolutionPass pass, const std::vector<Choice<Algorithm>>& allowed,
                           ConvolutionTiming& timing) {
    ConvolutionChooser* chooser = backend_.chooser();
    if (chooser == nullptr) return allowed.front();
    std::vector<int> numbers;
    for (const auto& each : allowed) numbers.push_back(static_cast<int>(each.algorithm));
    const auto numbered = [&](int number) {
      const auto found = std::ranges::find(numbers, number);
      SENG_CHECK(found != numbers.end(), "an algorithm that is not allowed was chosen");
      return allowed[static_cast<std::size_t>(found - numbers.begin())];
    };
    const ConvolutionKey key{pass, precision_, channels_last_, plan_.batch, geometry()};
    return numbered(chooser->choose(key, backend_.device_name(), numbers, [&](int number) {
      const Choice<Algorithm> choice = numbered(number);
      return timing.time(choice.workspace, [&](const Operands& on) { run(choice, on); });
    }));
  }

  Element element() const { return element_of(precision_); }
  const ConvolutionGeometry& geometry() const { return plan_.geometry; }
  int places() const { return geometry().kernel_h * geometry().kernel_w; }
  std::size_t weight_count() const {
    return std::size_t(geometry().channels_out) * geometry().channels_in * places();
  }
  // Whether packed weights lie otherwise than plain ones.
  bool transposes() const { return channels_last_ && places() > 1 && geometry().channels_in > 1; }
  bool packs_as_it_is() const { return !transposes() && element() == Element::kF32; }
  void* workspace() { return backend_.scratch(CudaBackend::kKernelSlot); }
  float* between() { return backend_.scratch_floats(CudaBackend::kBetweenSlot); }

  static constexpr float kOne = 1, kZero = 0;
  CudaBackend& backend_;
  ConvolutionPlan plan_;
  Arithmetic precision_;
  bool channels_last_;
  Descriptors d_;
  LayoutPtr input_, output_;
  Choice<cudnnConvolutionFwdAlgo_t> forward_{CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM};
  Choice<cudnnConvolutionBwdDataAlgo_t> data_{CUDNN_CONVOLUTION_BWD_DATA_ALGO_1};
  Choice<cudnnConvolutionBwdFilterAlgo_t> weights_{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1};
};

}  // namespace

std::unique_ptr<Convolution> CudaBackend::plan_convolution(const ConvolutionPlan& plan,
                                                           Arithmetic precision) {
  for (const bool channels_last : {true, false}) {
    if (auto convolution = CudnnConvolution::create(*this, plan, precision, channels_last))
      return convolution;
  }
  const ConvolutionGeometry& g = plan.geometry;
  throw VendorError("cuDNN has no deterministic algorithm for a convolution of " +
                    std::to_string(g.channels_in) + " to " + std::to_string(g.channels_out) +
                    " channels with a kernel of " + std::to_string(g.kernel_h) + "x" +
                    std::to_string(g.kernel_w) + ", images of " + std::to_string(g.height_in) + "x" +
                    std::to_string(g.width_in) + ", batch " + std::to_string(plan.batch));
}

}  // namespace seng::cuda
