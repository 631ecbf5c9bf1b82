#include "tests/support/emulated_cuda/cudnn.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "tests/support/emulated_cuda/device.h"
#include "tests/support/emulated_cuda/half.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

// An image tensor [n, c, h, w] or a filter [k, c, h, w].
struct Shape {
  cudnnDataType_t type;
  cudnnTensorFormat_t format;
  int n, c, h, w;

  std::size_t count() const { return std::size_t(n) * c * h * w; }
  std::size_t at(int i, int j, int y, int x) const {
    if (format == CUDNN_TENSOR_NHWC) return ((std::size_t(i) * h + y) * w + x) * c + j;
    return ((std::size_t(i) * c + j) * h + y) * w + x;
  }
};
struct cudnnTensorStruct : Shape {};
struct cudnnFilterStruct : Shape {};
struct cudnnConvolutionStruct {
  int pad_h, pad_w, stride_h, stride_w;
  cudnnConvolutionMode_t mode;
  cudnnMathType_t math;
};

namespace {

constexpr std::size_t kWorkspace = 1000;

struct Problem {
  Shape x, w, y;
  cudnnConvolutionStruct convolution;
};

// One format throughout, shapes that belong together.
bool consistent(const Problem& p) {
  const auto size = [](int in, int pad, int kernel, int stride) {
    return (in + 2 * pad - kernel) / stride + 1;
  };
  const cudnnConvolutionStruct& c = p.convolution;
  return p.x.type == p.w.type && p.y.type == p.w.type && p.x.format == p.w.format &&
         p.y.format == p.w.format && p.x.n == p.y.n && p.x.c == p.w.c && p.y.c == p.w.n &&
         p.y.h == size(p.x.h, c.pad_h, p.w.h, c.stride_h) &&
         p.y.w == size(p.x.w, c.pad_w, p.w.w, c.stride_w) && c.mode == CUDNN_CROSS_CORRELATION;
}

// Kernels of 5x5 have no algorithm in channels last here, so that the other format is taken too.
bool supported(const Problem& p) {
  return !(p.w.h == 5 && p.w.format == CUDNN_TENSOR_NHWC);
}

// How an algorithm adds: they differ in bits, and in time.
enum class Sum { kNotHere, kRandom, kExact, kRounded };

// The algorithms of one pass. The first is not deterministic and the fastest; then comes the one that
// heuristics favour.
template <class Algorithm>
struct Offered {
  Algorithm random_order, fft, exact, rounded;

  Sum sum(Algorithm algorithm) const {
    if (algorithm == random_order) return Sum::kRandom;
    if (algorithm == exact) return Sum::kExact;
    return algorithm == rounded ? Sum::kRounded : Sum::kNotHere;
  }
};
constexpr Offered<cudnnConvolutionFwdAlgo_t> kForward = {
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_FFT,
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED};
constexpr Offered<cudnnConvolutionBwdDataAlgo_t> kData = {
    CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
    CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED};
constexpr Offered<cudnnConvolutionBwdFilterAlgo_t> kFilter = {
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT,
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED};

// SENG_EMULATED_CUDNN_SLOW="UUID": on that GPU rounded sums are slower than exact ones, elsewhere faster.
double milliseconds_of(Sum sum) {
  if (sum == Sum::kRandom) return 1;
  if (sum == Sum::kExact) return 4;
  const char *slow = std::getenv("SENG_EMULATED_CUDNN_SLOW"), *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return slow != nullptr && visible != nullptr && std::strcmp(slow, visible) == 0 ? 5 : 3;
}

template <class Algorithm>
cudnnStatus_t offer(const Problem& p, const Offered<Algorithm>& offered, int wanted, int* returned,
                    EmulatedPerf<Algorithm>* results) {
  if (!consistent(p)) return CUDNN_STATUS_BAD_PARAM;
  if (!supported(p)) return CUDNN_STATUS_NOT_SUPPORTED_LAYOUT;
  const cudnnMathType_t math = p.convolution.math;
  const std::vector<EmulatedPerf<Algorithm>> all = {
      {offered.random_order, CUDNN_STATUS_SUCCESS, 1, 0, CUDNN_NON_DETERMINISTIC, math},
      {offered.fft, CUDNN_STATUS_SUCCESS, 2, kWorkspace, CUDNN_DETERMINISTIC, math},
      {offered.exact, CUDNN_STATUS_SUCCESS, 3, kWorkspace, CUDNN_DETERMINISTIC,
       CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION},
      {offered.exact, CUDNN_STATUS_SUCCESS, 4, kWorkspace, CUDNN_DETERMINISTIC, math},
      {offered.rounded, CUDNN_STATUS_SUCCESS, 5, kWorkspace, CUDNN_DETERMINISTIC, math},
  };
  *returned = std::min<int>(wanted, static_cast<int>(all.size()));
  std::copy_n(all.begin(), *returned, results);
  return CUDNN_STATUS_SUCCESS;
}

// Calls visit(x index, w index, y index) for every product of the convolution.
template <class Visit>
void for_products(const Problem& p, Visit visit) {
  const cudnnConvolutionStruct& g = p.convolution;
  for (int n = 0; n < p.y.n; ++n)
    for (int k = 0; k < p.y.c; ++k)
      for (int oh = 0; oh < p.y.h; ++oh)
        for (int ow = 0; ow < p.y.w; ++ow)
          for (int c = 0; c < p.x.c; ++c)
            for (int kh = 0; kh < p.w.h; ++kh)
              for (int kw = 0; kw < p.w.w; ++kw) {
                const int h = oh * g.stride_h - g.pad_h + kh, w = ow * g.stride_w - g.pad_w + kw;
                if (h < 0 || h >= p.x.h || w < 0 || w >= p.x.w) continue;
                visit(p.x.at(n, c, h, w), p.w.at(k, c, kh, kw), p.y.at(n, k, oh, ow));
              }
}

double element(const void* memory, cudnnDataType_t type, std::size_t at) {
  if (type == CUDNN_DATA_FLOAT) return static_cast<const float*>(memory)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(memory)[at];
  return type == CUDNN_DATA_HALF ? emulated_cuda::of_half(bits) : emulated_cuda::of_bfloat16(bits);
}
void put(void* memory, cudnnDataType_t type, std::size_t at, float value) {
  if (type == CUDNN_DATA_FLOAT) {
    static_cast<float*>(memory)[at] = value;
  } else {
    static_cast<std::uint16_t*>(memory)[at] =
        type == CUDNN_DATA_HALF ? emulated_cuda::to_half(value) : emulated_cuda::to_bfloat16(value);
  }
}

class Sums {
 public:
  Sums(std::size_t count, Sum how) : values_(count), how_(how) {}
  void add(std::size_t at, double product) {
    double& value = values_[at];
    value += product;
    if (how_ == Sum::kRounded) value = static_cast<float>(value);
    if (how_ == Sum::kRandom && random()() % 2 == 0) value *= 1 + 1e-6;
  }
  const std::vector<double>& values() const { return values_; }

 private:
  static std::minstd_rand& random() {
    static std::minstd_rand numbers{std::random_device{}()};
    return numbers;
  }

  std::vector<double> values_;
  Sum how_;
};

// `fill` adds the products of which `out` is the sums.
cudnnStatus_t compute(cudnnHandle_t handle, const Problem& p, const void* alpha, const void* beta, Sum how,
                      void* workspace, std::size_t bytes, void* out, std::size_t out_count,
                      std::function<void(Sums&)> fill) {
  if (!consistent(p) || !supported(p) || how == Sum::kNotHere || bytes < kWorkspace || workspace == nullptr)
    return CUDNN_STATUS_BAD_PARAM;
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0)
    return CUDNN_STATUS_NOT_SUPPORTED;
  if (emulated_cuda::invalidates_capture(handle->stream, "cudnn")) return CUDNN_STATUS_EXECUTION_FAILED;
  emulated_cuda::queue(
      handle->stream,
      [=] {
        std::memset(workspace, 0xff, bytes);
        Sums sums(out_count, how);
        fill(sums);
        for (std::size_t i = 0; i < out_count; ++i)
          put(out, p.y.type, i, static_cast<float>(sums.values()[i]));
      },
      milliseconds_of(how));
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (emulated_cuda::refused_in_capture()) return CUDNN_STATUS_NOT_INITIALIZED;
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_EXECUTION_FAILED ? "CUDNN_STATUS_EXECUTION_FAILED" : "CUDNN_STATUS_BAD_PARAM";
}
void cudnnGetLastErrorString(char* message, std::size_t most) {
  std::snprintf(message, most, "emulated");
}
cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* out) {
  *out = new cudnnTensorStruct;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* out) {
  *out = new cudnnFilterStruct;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* out) {
  *out = new cudnnConvolutionStruct;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t out, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
  static_cast<Shape&>(*out) = {type, format, n, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t out, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  static_cast<Shape&>(*out) = {type, format, k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t out, int pad_h, int pad_w, int u,
                                              int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t) {
  if (dilation_h != 1 || dilation_w != 1) return CUDNN_STATUS_BAD_PARAM;
  *out = {pad_h, pad_w, u, v, mode, CUDNN_DEFAULT_MATH};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t out, cudnnMathType_t math) {
  out->math = math;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(cudnnConvolutionDescriptor_t c, cudnnTensorDescriptor_t x,
                                                    cudnnFilterDescriptor_t w, int* n, int* channels,
                                                    int* height, int* width) {
  *n = x->n;
  *channels = w->n;
  *height = (x->h + 2 * c->pad_h - w->h) / c->stride_h + 1;
  *width = (x->w + 2 * c->pad_w - w->w) / c->stride_w + 1;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t c,
                                                     cudnnTensorDescriptor_t y, int wanted, int* returned,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  return offer({*x, *w, *y, *c}, kForward, wanted, returned, results);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t c,
    cudnnTensorDescriptor_t dx, int wanted, int* returned, cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return offer({*dx, *w, *dy, *c}, kData, wanted, returned, results);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t c,
    cudnnFilterDescriptor_t dw, int wanted, int* returned, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return offer({*x, *dw, *dy, *c}, kFilter, wanted, returned, results);
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t,
                                                      cudnnFilterDescriptor_t, cudnnConvolutionDescriptor_t,
                                                      cudnnTensorDescriptor_t, cudnnConvolutionFwdAlgo_t,
                                                      std::size_t* bytes) {
  *bytes = kWorkspace;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnTensorDescriptor_t, cudnnConvolutionBwdDataAlgo_t, std::size_t* bytes) {
  *bytes = kWorkspace;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, cudnnConvolutionDescriptor_t,
    cudnnFilterDescriptor_t, cudnnConvolutionBwdFilterAlgo_t, std::size_t* bytes) {
  *bytes = kWorkspace;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_shape, const void* x,
                                      cudnnFilterDescriptor_t w_shape, const void* w,
                                      cudnnConvolutionDescriptor_t c, cudnnConvolutionFwdAlgo_t algorithm,
                                      void* workspace, std::size_t bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_shape, void* y) {
  const Problem p{*x_shape, *w_shape, *y_shape, *c};
  return compute(handle, p, alpha, beta, kForward.sum(algorithm), workspace, bytes, y, p.y.count(),
                 [=](Sums& sums) {
                   for_products(p, [&](std::size_t at_x, std::size_t at_w, std::size_t at_y) {
                     sums.add(at_y, element(x, p.x.type, at_x) * element(w, p.x.type, at_w));
                   });
                 });
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           cudnnFilterDescriptor_t w_shape, const void* w,
                                           cudnnTensorDescriptor_t dy_shape, const void* dy,
                                           cudnnConvolutionDescriptor_t c,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           std::size_t bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_shape, void* dx) {
  const Problem p{*dx_shape, *w_shape, *dy_shape, *c};
  return compute(handle, p, alpha, beta, kData.sum(algorithm), workspace, bytes, dx, p.x.count(),
                 [=](Sums& sums) {
                   for_products(p, [&](std::size_t at_x, std::size_t at_w, std::size_t at_y) {
                     sums.add(at_x, element(dy, p.x.type, at_y) * element(w, p.x.type, at_w));
                   });
                 });
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             cudnnTensorDescriptor_t x_shape, const void* x,
                                             cudnnTensorDescriptor_t dy_shape, const void* dy,
                                             cudnnConvolutionDescriptor_t c,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             std::size_t bytes, const void* beta,
                                             cudnnFilterDescriptor_t dw_shape, void* dw) {
  const Problem p{*x_shape, *dw_shape, *dy_shape, *c};
  return compute(handle, p, alpha, beta, kFilter.sum(algorithm), workspace, bytes, dw, p.w.count(),
                 [=](Sums& sums) {
                   for_products(p, [&](std::size_t at_x, std::size_t at_w, std::size_t at_y) {
                     sums.add(at_w, element(x, p.x.type, at_x) * element(dy, p.x.type, at_y));
                   });
                 });
}
