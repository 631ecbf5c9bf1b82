#include "actors/engine/cuda/elements.h"
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

// Four elements that are read and written at once.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T x, y, z, w;
};

// out[i] = operation(a[i], b[i]), four at a time where all lie on the boundary of four. A thread reads what
// it then overwrites, so out may be a or b.
template <class Operation, class T>
__global__ void map_kernel(const T* a, const T* b, T* out, std::size_t fours, std::size_t count) {
  const Operation operation;
  for (std::size_t i = grid_index(); i < fours; i += grid_size()) {
    const Four<T> p = reinterpret_cast<const Four<T>*>(a)[i], q = reinterpret_cast<const Four<T>*>(b)[i];
    Four<T> result;
    put(result.x, operation(to_float(p.x), to_float(q.x)));
    put(result.y, operation(to_float(p.y), to_float(q.y)));
    put(result.z, operation(to_float(p.z), to_float(q.z)));
    put(result.w, operation(to_float(p.w), to_float(q.w)));
    reinterpret_cast<Four<T>*>(out)[i] = result;
  }
  for (std::size_t i = fours * 4 + grid_index(); i < count; i += grid_size())
    put(out[i], operation(to_float(a[i]), to_float(b[i])));
}

template <class Operation>
void launch_map(Stream stream, Element element, const void* a, const void* b, void* out, std::size_t count) {
  const auto on_four = [&](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % (4 * bytes_of(element)) == 0;
  };
  const std::size_t fours = on_four(a) && on_four(b) && on_four(out) ? count / 4 : 0;
  const unsigned blocks = grid_for(fours > 0 ? fours : count);
  SENG_FOR_ELEMENT(element, {
    auto* kernel = map_kernel<Operation, T>;
    SENG_LAUNCH(kernel, blocks, kBlockThreads, stream, static_cast<const T*>(a), static_cast<const T*>(b),
                static_cast<T*>(out), fours, count);
  });
}

__global__ void scale_kernel(float* x, float factor, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) x[i] *= factor;
}

template <class T>
__global__ void add_bias_kernel(T* x, const float* bias, Extents extents) {
  const std::size_t count = extents.count(), inner = extents.channels_last ? 1 : extents.positions();
  for (std::size_t i = grid_index(); i < count; i += grid_size())
    put(x[i], to_float(x[i]) + bias[i / inner % extents.c]);
}

// A thread makes the four words of one counter and masks the four elements that they belong to.
__global__ void dropout_kernel(DropoutMask mask, const DropoutKey* key, const float* x, float* y, int samples,
                               std::size_t elements) {
  const std::size_t quads = (elements + 3) / 4;
  for (std::size_t i = grid_index(); i < quads * samples; i += grid_size()) {
    const std::size_t sample = i / quads, quad = i % quads;
    const Random random(key->seed, RandomPurpose::kDropout, key->step,
                        key->first_sample + static_cast<std::uint32_t>(sample));
    const auto words = random.at(std::uint64_t{mask.layer} << 32 | quad);
    for (std::size_t k = 0; k < 4 && quad * 4 + k < elements; ++k) {
      const std::size_t at = sample * elements + quad * 4 + k;
      y[at] = words[k] < mask.dropped_below ? 0.0f : x[at] * mask.scale;
    }
  }
}

}  // namespace

void launch_relu(Stream stream, Element element, const void* x, void* y, std::size_t count) {
  launch_map<Relu>(stream, element, x, x, y, count);
}

void launch_relu_backward(Stream stream, Element element, const void* y, const void* dy, void* dx,
                          std::size_t count) {
  launch_map<ReluBackward>(stream, element, y, dy, dx, count);
}

void launch_add(Stream stream, Element element, const void* a, const void* b, void* sum, std::size_t count,
                bool relu) {
  if (relu) {
    launch_map<ReluOfSum>(stream, element, a, b, sum, count);
  } else {
    launch_map<Sum>(stream, element, a, b, sum, count);
  }
}

void launch_scale(Stream stream, float* x, float factor, std::size_t count) {
  SENG_LAUNCH(scale_kernel, grid_for(count), kBlockThreads, stream, x, factor, count);
}

void launch_add_bias(Stream stream, void* x, const float* bias, Extents extents) {
  SENG_FOR_ELEMENT(extents.element, {
    SENG_LAUNCH(add_bias_kernel<T>, grid_for(extents.count()), kBlockThreads, stream, static_cast<T*>(x),
                bias, extents);
  });
}

void launch_dropout(Stream stream, const DropoutMask& mask, const DropoutKey* key, const float* x, float* y,
                    int samples, std::size_t elements) {
  SENG_LAUNCH(dropout_kernel, grid_for((elements + 3) / 4 * samples), kBlockThreads, stream, mask, key, x, y,
              samples, elements);
}

}  // namespace seng::cuda
