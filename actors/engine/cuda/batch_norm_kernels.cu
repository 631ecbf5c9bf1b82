// Mean and variance by Welford's recurrence within a thread, joined pairwise (Chan, Golub, LeVeque, "Updating
// formulae and a pairwise algorithm for computing sample variances", 1979): no cancellation where the mean is
// large against the deviation. With M values a channel and xhat = (x - mean)/sqrt(variance + epsilon),
//   dx = gamma/sqrt(variance + epsilon) * (dy - sum(dy)/M - xhat * sum(dy xhat)/M).
#include "actors/engine/cuda/elements.h"
#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

constexpr int kColumns = 32, kLanes = 8;  // of a block: channels, and rows that go side by side

__device__ inline float normalised(float x, float mean, float scale, float beta) {
  return fmaf(x - mean, scale, beta);  // one expression for forward and for the mask in backward
}
__device__ inline float inverse_deviation(float variance, float epsilon) {
  return 1.0f / sqrtf(variance + epsilon);
}

struct Moments {
  float count = 0, mean = 0, square = 0;  // square: sum of (value - mean)^2
};

__device__ inline Moments joined(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  if (a.count == 0) return b;
  const float count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.square + b.square + delta * delta * a.count * share};
}

// Block (i, j): mean and square of chunk j's rows of 32 channels; partial is [chunks][2][C].
template <class T>
__global__ void moments_kernel(const T* x, Extents extents, RowChunks chunks, float* partial) {
  __shared__ float means[kLanes][kColumns], squares[kLanes][kColumns];
  const int channel = blockIdx.x * kColumns + threadIdx.x;
  const std::size_t begin = chunks.begin(blockIdx.y), end = chunks.end(blockIdx.y);
  Moments mine;
  if (channel < extents.c) {
    for (std::size_t row = begin + threadIdx.y; row < end; row += kLanes) {
      const float value = to_float(x[extents.at(row, channel)]), delta = value - mine.mean;
      mine.count += 1;
      mine.mean += delta / mine.count;
      mine.square += delta * (value - mine.mean);
    }
  }
  means[threadIdx.y][threadIdx.x] = mine.mean;
  squares[threadIdx.y][threadIdx.x] = mine.square;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= extents.c) return;
  for (int lane = 1; lane < kLanes; ++lane) {
    const std::size_t rows = end - begin;
    Moments other;
    other.count = static_cast<float>(rows > std::size_t(lane) ? (rows - lane + kLanes - 1) / kLanes : 0);
    other.mean = means[lane][threadIdx.x];
    other.square = squares[lane][threadIdx.x];
    mine = joined(mine, other);
  }
  float* out = partial + std::size_t(blockIdx.y) * 2 * extents.c;
  out[channel] = mine.mean;
  out[extents.c + channel] = mine.square;
}

// A thread joins the chunks of one channel, in order and in double precision.
__global__ void join_moments_kernel(BatchNormForward args, const float* partial, RowChunks chunks,
                                    int channels) {
  for (std::size_t c = grid_index(); c < std::size_t(channels); c += grid_size()) {
    double count = 0, mean = 0, square = 0;
    for (std::size_t chunk = 0; chunk < chunks.count(); ++chunk) {
      const double more = static_cast<double>(chunks.size(chunk));
      const double delta = partial[chunk * 2 * channels + c] - mean, share = more / (count + more);
      square += partial[(chunk * 2 + 1) * channels + c] + delta * delta * count * share;
      mean += delta * share;
      count += more;
    }
    const float variance = static_cast<float>(square / count);
    args.mean[c] = static_cast<float>(mean);
    args.variance[c] = variance;
    args.kept[c] = args.gamma[c] * inverse_deviation(variance, args.epsilon);
    args.kept[channels + c] = args.beta[c];
  }
}

__global__ void scale_kernel(BatchNormInfer args, int channels) {
  for (std::size_t c = grid_index(); c < std::size_t(channels); c += grid_size())
    args.scale[c] = args.gamma[c] * inverse_deviation(args.variance[c], args.epsilon);
}

// The channel of element i, for i that grows by the whole grid each time: one division at the start where the
// layout is channels last.
class ChannelWalk {
 public:
  __device__ ChannelWalk(const Extents& extents, std::size_t first, std::size_t step)
      : extents_(extents), channel_(first % extents.c), step_(step % extents.c) {}
  __device__ unsigned at(std::size_t i) const {
    return extents_.channels_last ? channel_ : static_cast<unsigned>(i / extents_.positions() % extents_.c);
  }
  __device__ void advance() {
    channel_ += step_;
    if (channel_ >= static_cast<unsigned>(extents_.c)) channel_ -= extents_.c;
  }

 private:
  const Extents& extents_;
  unsigned channel_, step_;
};

template <class T>
__global__ void normalise_kernel(const T* x, const float* mean, const float* scale, const float* beta, T* y,
                                 Extents extents, bool relu) {
  const std::size_t count = extents.count();
  ChannelWalk walk(extents, grid_index(), grid_size());
  for (std::size_t i = grid_index(); i < count; i += grid_size(), walk.advance()) {
    const unsigned c = walk.at(i);
    const float value = normalised(to_float(x[i]), mean[c], scale[c], beta[c]);
    put(y[i], relu && value <= 0 ? 0.0f : value);  // a NaN stays
  }
}

// The gradient behind the fused relu.
__device__ inline float masked(const BatchNormBackward& args, float x, float dy, unsigned c, int channels) {
  if (!args.relu) return dy;
  return normalised(x, args.mean[c], args.kept[c], args.kept[channels + c]) > 0 ? dy : 0.0f;
}

// Every thread's value, added over the lanes pairwise, into lane 0's row. All threads of the block take part.
__device__ inline void add_lanes(float (*sums)[kColumns], float value) {
  sums[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kLanes / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
    __syncthreads();
  }
}

// Block (i, j): sum(dy) and sum(dy xhat) over chunk j's rows of 32 channels; partial is [chunks][2][C].
template <class T>
__global__ void gradient_sums_kernel(BatchNormBackward args, Extents extents, RowChunks chunks,
                                     float* partial) {
  __shared__ float sums[kLanes][kColumns], products[kLanes][kColumns];
  const int channel = blockIdx.x * kColumns + threadIdx.x;
  const T *all_x = static_cast<const T*>(args.x), *all_dy = static_cast<const T*>(args.dy);
  float sum = 0, product = 0;
  if (channel < extents.c) {
    const float mean = args.mean[channel], inverse = inverse_deviation(args.variance[channel], args.epsilon);
    for (std::size_t row = chunks.begin(blockIdx.y) + threadIdx.y; row < chunks.end(blockIdx.y);
         row += kLanes) {
      const std::size_t i = extents.at(row, channel);
      const float x = to_float(all_x[i]), dy = masked(args, x, to_float(all_dy[i]), channel, extents.c);
      sum += dy;
      product += dy * ((x - mean) * inverse);
    }
  }
  add_lanes(sums, sum);
  add_lanes(products, product);
  if (threadIdx.y != 0 || channel >= extents.c) return;
  float* out = partial + std::size_t(blockIdx.y) * 2 * extents.c;
  out[channel] = sums[0][threadIdx.x];
  out[extents.c + channel] = products[0][threadIdx.x];
}

__global__ void join_gradient_sums_kernel(BatchNormBackward args, const float* partial, std::size_t chunks,
                                          int channels) {
  for (std::size_t c = grid_index(); c < std::size_t(channels); c += grid_size()) {
    double sum = 0, product = 0;
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      sum += partial[chunk * 2 * channels + c];
      product += partial[(chunk * 2 + 1) * channels + c];
    }
    args.beta_gradient[c] = static_cast<float>(sum);
    args.gamma_gradient[c] = static_cast<float>(product);
  }
}

// A thread reads x[i] and dy[i] before it writes dx[i], which may be dy[i].
template <class T>
__global__ void input_gradient_kernel(BatchNormBackward args, Extents extents) {
  const std::size_t count = extents.count();
  const float share = 1.0f / static_cast<float>(extents.rows());
  const T *all_x = static_cast<const T*>(args.x), *all_dy = static_cast<const T*>(args.dy);
  T* dx = static_cast<T*>(args.dx);
  ChannelWalk walk(extents, grid_index(), grid_size());
  for (std::size_t i = grid_index(); i < count; i += grid_size(), walk.advance()) {
    const unsigned c = walk.at(i);
    const float x = to_float(all_x[i]), dy = masked(args, x, to_float(all_dy[i]), c, extents.c);
    const float xhat = (x - args.mean[c]) * inverse_deviation(args.variance[c], args.epsilon);
    put(dx[i], args.kept[c] * (dy - args.beta_gradient[c] * share - xhat * (args.gamma_gradient[c] * share)));
  }
}

// Block (i, j): sample j's sum(dy xhat) and sum(dy) over its positions, of 32 channels.
template <class T>
__global__ void samples_kernel(BatchNormSamples args, Extents extents) {
  __shared__ float sums[kLanes][kColumns], products[kLanes][kColumns];
  const int channel = blockIdx.x * kColumns + threadIdx.x;
  const std::size_t first = blockIdx.y * extents.positions();
  const T *all_x = static_cast<const T*>(args.x), *all_dy = static_cast<const T*>(args.dy);
  float sum = 0, product = 0;
  if (channel < extents.c) {
    const float mean = args.mean[channel], inverse = inverse_deviation(args.variance[channel], args.epsilon);
    const float scale = args.gamma[channel] * inverse, beta = args.beta[channel];
    for (std::size_t row = first + threadIdx.y; row < first + extents.positions(); row += kLanes) {
      const std::size_t i = extents.at(row, channel);
      const float x = to_float(all_x[i]);
      const float dy = args.relu && !(normalised(x, mean, scale, beta) > 0) ? 0.0f : to_float(all_dy[i]);
      sum += dy;
      product += dy * ((x - mean) * inverse);
    }
  }
  add_lanes(sums, sum);
  add_lanes(products, product);
  if (threadIdx.y != 0 || channel >= extents.c) return;
  float* out = args.out + std::size_t(blockIdx.y) * 2 * extents.c;
  out[channel] = products[0][threadIdx.x];
  out[extents.c + channel] = sums[0][threadIdx.x];
}

__global__ void statistics_kernel(const float* mean, const float* variance, double unbiased, int channels,
                                  float* out) {
  for (std::size_t channel = grid_index(); channel < std::size_t(channels); channel += grid_size()) {
    out[channel] = mean[channel];
    out[channels + channel] = static_cast<float>(variance[channel] * unbiased);
  }
}

dim3 chunk_grid(const Extents& extents, const RowChunks& chunks) {
  return dim3((extents.c + kColumns - 1) / kColumns, static_cast<unsigned>(chunks.count()));
}

}  // namespace

void launch_batch_norm_forward(Stream stream, const BatchNormForward& args, Extents extents, float* partial) {
  const RowChunks chunks(extents.rows());
  SENG_FOR_ELEMENT(extents.element, {
    const auto* x = static_cast<const T*>(args.x);
    SENG_LAUNCH(moments_kernel<T>, chunk_grid(extents, chunks), dim3(kColumns, kLanes), stream, x, extents,
                chunks, partial);
    SENG_LAUNCH(join_moments_kernel, grid_for(extents.c), kBlockThreads, stream, args, partial, chunks,
                extents.c);
    SENG_LAUNCH(normalise_kernel<T>, grid_for(extents.count()), kBlockThreads, stream, x, args.mean,
                args.kept, args.beta, static_cast<T*>(args.y), extents, args.relu);
  });
}

void launch_batch_norm_infer(Stream stream, const BatchNormInfer& args, Extents extents) {
  SENG_LAUNCH(scale_kernel, grid_for(extents.c), kBlockThreads, stream, args, extents.c);
  SENG_FOR_ELEMENT(extents.element, {
    SENG_LAUNCH(normalise_kernel<T>, grid_for(extents.count()), kBlockThreads, stream,
                static_cast<const T*>(args.x), args.mean, args.scale, args.beta, static_cast<T*>(args.y),
                extents, args.relu);
  });
}

void launch_batch_norm_backward(Stream stream, const BatchNormBackward& args, Extents extents,
                                float* partial) {
  const RowChunks chunks(extents.rows());
  SENG_FOR_ELEMENT(extents.element, {
    SENG_LAUNCH(gradient_sums_kernel<T>, chunk_grid(extents, chunks), dim3(kColumns, kLanes), stream, args,
                extents, chunks, partial);
    SENG_LAUNCH(join_gradient_sums_kernel, grid_for(extents.c), kBlockThreads, stream, args, partial,
                chunks.count(), extents.c);
    SENG_LAUNCH(input_gradient_kernel<T>, grid_for(extents.count()), kBlockThreads, stream, args, extents);
  });
}

void launch_batch_norm_samples(Stream stream, const BatchNormSamples& args, Extents extents, int samples) {
  const dim3 grid((extents.c + kColumns - 1) / kColumns, static_cast<unsigned>(samples));
  SENG_FOR_ELEMENT(extents.element,
                   { SENG_LAUNCH(samples_kernel<T>, grid, dim3(kColumns, kLanes), stream, args, extents); });
}

void launch_batch_norm_statistics(Stream stream, const float* mean, const float* variance, double unbiased,
                                  int channels, float* out) {
  SENG_LAUNCH(statistics_kernel, grid_for(channels), kBlockThreads, stream, mean, variance, unbiased,
              channels, out);
}

}  // namespace seng::cuda
