#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"
#include "actors/engine/random.h"

namespace seng::cuda {
namespace {

__device__ inline float positive(float x) {
  return !(x <= 0) ? x : 0.0f;  // a NaN stays
}

struct Relu {
  __device__ float operator()(float x, float) const { return positive(x); }
};
struct ReluBackward {
  __device__ float operator()(float y, float dy) const { return y > 0 ? dy : 0.0f; }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct ReluOfSum {
  __device__ float operator()(float a, float b) const { return positive(a + b); }
};

// out[i] = operation(a[i], b[i]), four at a time where all lie on 16 bytes. A thread reads what it then
// overwrites, so out may be a or b.
template <class Operation>
__global__ void map_kernel(const float* a, const float* b, float* out, std::size_t fours, std::size_t count) {
  const Operation operation;
  for (std::size_t i = grid_index(); i < fours; i += grid_size()) {
    const float4 x = reinterpret_cast<const float4*>(a)[i], y = reinterpret_cast<const float4*>(b)[i];
    float4 result;
    result.x = operation(x.x, y.x);
    result.y = operation(x.y, y.y);
    result.z = operation(x.z, y.z);
    result.w = operation(x.w, y.w);
    reinterpret_cast<float4*>(out)[i] = result;
  }
  for (std::size_t i = fours * 4 + grid_index(); i < count; i += grid_size()) out[i] = operation(a[i], b[i]);
}

bool on_16_bytes(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

template <class Operation>
void launch_map(Stream stream, const float* a, const float* b, float* out, std::size_t count) {
  const std::size_t fours = on_16_bytes(a) && on_16_bytes(b) && on_16_bytes(out) ? count / 4 : 0;
  SENG_LAUNCH(map_kernel<Operation>, grid_for(fours > 0 ? fours : count), kBlockThreads, stream, a, b, out,
              fours, count);
}

__global__ void add_bias_kernel(float* x, const float* bias, Extents extents) {
  const std::size_t count = extents.count(), inner = extents.channels_last ? 1 : extents.positions();
  for (std::size_t i = grid_index(); i < count; i += grid_size()) x[i] += bias[i / inner % extents.c];
}

// A thread makes the four words of one counter and masks the four elements that they belong to.
__global__ void dropout_kernel(DropoutMask mask, const float* x, float* y, int samples,
                               std::size_t elements) {
  const std::size_t quads = (elements + 3) / 4;
  for (std::size_t i = grid_index(); i < quads * samples; i += grid_size()) {
    const std::size_t sample = i / quads, quad = i % quads;
    const Random random(mask.seed, RandomPurpose::kDropout, mask.step,
                        mask.first_sample + static_cast<std::uint32_t>(sample));
    const auto words = random.at(std::uint64_t{mask.layer} << 32 | quad);
    for (std::size_t k = 0; k < 4 && quad * 4 + k < elements; ++k) {
      const std::size_t at = sample * elements + quad * 4 + k;
      y[at] = words[k] < mask.dropped_below ? 0.0f : x[at] * mask.scale;
    }
  }
}

}  // namespace

void launch_relu(Stream stream, const float* x, float* y, std::size_t count) {
  launch_map<Relu>(stream, x, x, y, count);
}

void launch_relu_backward(Stream stream, const float* y, const float* dy, float* dx, std::size_t count) {
  launch_map<ReluBackward>(stream, y, dy, dx, count);
}

void launch_add(Stream stream, const float* a, const float* b, float* sum, std::size_t count, bool relu) {
  if (relu) {
    launch_map<ReluOfSum>(stream, a, b, sum, count);
  } else {
    launch_map<Sum>(stream, a, b, sum, count);
  }
}

void launch_add_bias(Stream stream, float* x, const float* bias, Extents extents) {
  SENG_LAUNCH(add_bias_kernel, grid_for(extents.count()), kBlockThreads, stream, x, bias, extents);
}

void launch_dropout(Stream stream, const DropoutMask& mask, const float* x, float* y, int samples,
                    std::size_t elements) {
  SENG_LAUNCH(dropout_kernel, grid_for((elements + 3) / 4 * samples), kBlockThreads, stream, mask, x, y,
              samples, elements);
}

}  // namespace seng::cuda
