#include "actors/engine/cuda/elements.h"
#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

// Where an element of a tensor is.
struct Place {
  std::size_t n;
  int c, h, w;
};

__device__ inline Place place_of(const Extents& extents, std::size_t i) {
  Place place;
  if (extents.channels_last) {
    place.c = static_cast<int>(i % extents.c), i /= extents.c;
    place.w = static_cast<int>(i % extents.w), i /= extents.w;
    place.h = static_cast<int>(i % extents.h), place.n = i / extents.h;
  } else {
    place.w = static_cast<int>(i % extents.w), i /= extents.w;
    place.h = static_cast<int>(i % extents.h), i /= extents.h;
    place.c = static_cast<int>(i % extents.c), place.n = i / extents.c;
  }
  return place;
}

__device__ inline std::size_t index_of(const Extents& extents, std::size_t n, int c, int h, int w) {
  return extents.at(n * extents.positions() + std::size_t(h) * extents.w + w, c);
}

template <class T>
__global__ void max_pool_kernel(const T* x, std::uint16_t* winner, T* y, Extents in, Extents out,
                                PoolWindow window) {
  for (std::size_t i = grid_index(); i < out.count(); i += grid_size()) {
    const Place at = place_of(out, i);
    const int top = at.h * window.stride - window.padding, left = at.w * window.stride - window.padding;
    float best = 0;
    int where = -1;
    for (int kh = 0; kh < window.kernel_h; ++kh) {
      for (int kw = 0; kw < window.kernel_w; ++kw) {
        const int h = top + kh, w = left + kw;
        if (h < 0 || h >= in.h || w < 0 || w >= in.w) continue;
        const float value = to_float(x[index_of(in, at.n, at.c, h, w)]);
        if (where < 0 || value > best || value != value) {  // a NaN wins
          best = value;
          where = kh * window.kernel_w + kw;
        }
      }
    }
    put(y[i], best);
    if (winner != nullptr) winner[i] = static_cast<std::uint16_t>(where);
  }
}

// The windows along one side that hold a position: [first, last].
struct Span {
  int first, last;
};

__device__ inline Span windows_over(int position, int kernel, const PoolWindow& window, int windows) {
  const int reach = position + window.padding;  // window i covers [i * stride, i * stride + kernel)
  Span span;
  span.first = reach < kernel ? 0 : (reach - kernel) / window.stride + 1;
  span.last = min(reach / window.stride, windows - 1);
  return span;
}

// An input element gathers from the windows that it won, in their order: no two threads write one place.
template <class T>
__global__ void max_pool_backward_kernel(const T* dy, const std::uint16_t* winner, T* dx, Extents in,
                                         Extents out, PoolWindow window) {
  for (std::size_t i = grid_index(); i < in.count(); i += grid_size()) {
    const Place at = place_of(in, i);
    const Span down = windows_over(at.h, window.kernel_h, window, out.h);
    const Span across = windows_over(at.w, window.kernel_w, window, out.w);
    float sum = 0;
    for (int h = down.first; h <= down.last; ++h) {
      for (int w = across.first; w <= across.last; ++w) {
        const int kh = at.h + window.padding - h * window.stride;
        const int kw = at.w + window.padding - w * window.stride;
        const std::size_t o = index_of(out, at.n, at.c, h, w);
        if (winner[o] == kh * window.kernel_w + kw) sum += to_float(dy[o]);
      }
    }
    put(dx[i], sum);
  }
}

template <class T>
__global__ void average_pool_kernel(const T* x, T* y, Extents in, Extents out, PoolWindow window) {
  const float share = 1.0f / static_cast<float>(window.kernel_h * window.kernel_w);
  for (std::size_t i = grid_index(); i < out.count(); i += grid_size()) {
    const Place at = place_of(out, i);
    const int top = at.h * window.stride - window.padding, left = at.w * window.stride - window.padding;
    float sum = 0;
    for (int h = max(top, 0); h < min(top + window.kernel_h, in.h); ++h) {
      for (int w = max(left, 0); w < min(left + window.kernel_w, in.w); ++w)
        sum += to_float(x[index_of(in, at.n, at.c, h, w)]);
    }
    put(y[i], sum * share);
  }
}

template <class T>
__global__ void average_pool_backward_kernel(const T* dy, T* dx, Extents in, Extents out, PoolWindow window) {
  const float share = 1.0f / static_cast<float>(window.kernel_h * window.kernel_w);
  for (std::size_t i = grid_index(); i < in.count(); i += grid_size()) {
    const Place at = place_of(in, i);
    const Span down = windows_over(at.h, window.kernel_h, window, out.h);
    const Span across = windows_over(at.w, window.kernel_w, window, out.w);
    float sum = 0;
    for (int h = down.first; h <= down.last; ++h) {
      for (int w = across.first; w <= across.last; ++w) sum += to_float(dy[index_of(out, at.n, at.c, h, w)]);
    }
    put(dx[i], sum * share);
  }
}

}  // namespace

void launch_max_pool(Stream stream, const void* x, std::uint16_t* winner, void* y, Extents in, Extents out,
                     PoolWindow window) {
  SENG_FOR_ELEMENT(in.element, {
    SENG_LAUNCH(max_pool_kernel<T>, grid_for(out.count()), kBlockThreads, stream, static_cast<const T*>(x),
                winner, static_cast<T*>(y), in, out, window);
  });
}

void launch_max_pool_backward(Stream stream, const void* dy, const std::uint16_t* winner, void* dx,
                              Extents in, Extents out, PoolWindow window) {
  SENG_FOR_ELEMENT(in.element, {
    SENG_LAUNCH(max_pool_backward_kernel<T>, grid_for(in.count()), kBlockThreads, stream,
                static_cast<const T*>(dy), winner, static_cast<T*>(dx), in, out, window);
  });
}

void launch_average_pool(Stream stream, const void* x, void* y, Extents in, Extents out, PoolWindow window) {
  SENG_FOR_ELEMENT(in.element, {
    SENG_LAUNCH(average_pool_kernel<T>, grid_for(out.count()), kBlockThreads, stream,
                static_cast<const T*>(x), static_cast<T*>(y), in, out, window);
  });
}

void launch_average_pool_backward(Stream stream, const void* dy, void* dx, Extents in, Extents out,
                                  PoolWindow window) {
  SENG_FOR_ELEMENT(in.element, {
    SENG_LAUNCH(average_pool_backward_kernel<T>, grid_for(in.count()), kBlockThreads, stream,
                static_cast<const T*>(dy), static_cast<T*>(dx), in, out, window);
  });
}

}  // namespace seng::cuda
