#include "actors/optim/unfold.h"

#include <algorithm>

namespace seng {
namespace {

// Output positions [begin, end) of one axis whose input position o*stride + offset lies in [0, size_in).
struct Range {
  int begin = 0, end = 0;
};
Range valid_outputs(int offset, int stride, int size_in, int size_out) {
  const int begin = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int last = size_in - 1 - offset;
  const int end = last < 0 ? 0 : last / stride + 1;
  const int clipped = std::clamp(begin, 0, size_out);
  return {clipped, std::clamp(end, clipped, size_out)};
}

// Stride 1 and as wide an output as the input: the row is the plane, shifted, with some columns zeroed.
void unfold_shifted(const ConvolutionGeometry& conv, const float* plane, int offset_y, int offset_x, Range y,
                    Range x, float* row) {
  const std::ptrdiff_t width = conv.width_out, size = std::ptrdiff_t(conv.height_in) * conv.width_in;
  const std::ptrdiff_t shift = offset_y * width + offset_x;
  const std::ptrdiff_t begin = std::max<std::ptrdiff_t>(y.begin * width, -shift);
  const std::ptrdiff_t end = std::min<std::ptrdiff_t>(y.end * width, size - shift);
  std::fill(row, row + y.begin * width, 0.0f);
  if (begin < end) std::copy(plane + begin + shift, plane + end + shift, row + begin);
  std::fill(row + y.end * width, row + conv.height_out * width, 0.0f);
  for (int oy = y.begin; oy < y.end; ++oy) {
    std::fill(row + oy * width, row + oy * width + x.begin, 0.0f);
    std::fill(row + oy * width + x.end, row + (oy + 1) * width, 0.0f);
  }
}

void unfold_general(const ConvolutionGeometry& conv, const float* plane, int offset_y, int offset_x, Range y,
                    Range x, float* row) {
  const std::ptrdiff_t width = conv.width_out;
  std::fill(row, row + y.begin * width, 0.0f);
  std::fill(row + y.end * width, row + conv.height_out * width, 0.0f);
  for (int oy = y.begin; oy < y.end; ++oy) {
    const float* in = plane + std::ptrdiff_t(oy * conv.stride + offset_y) * conv.width_in + offset_x;
    float* out = row + oy * width;
    std::fill(out, out + x.begin, 0.0f);
    for (int ox = x.begin; ox < x.end; ++ox) out[ox] = in[std::ptrdiff_t(ox) * conv.stride];
    std::fill(out + x.end, out + width, 0.0f);
  }
}

}  // namespace

void unfold(const ConvolutionGeometry& conv, const float* input, int channel_begin, int channel_end,
            float* out, std::size_t ld) {
  const std::size_t plane_size = std::size_t(conv.height_in) * std::size_t(conv.width_in);
  const bool shifted = conv.stride == 1 && conv.width_out == conv.width_in;
  float* row = out;
  for (int channel = channel_begin; channel < channel_end; ++channel) {
    const float* plane = input + std::size_t(channel) * plane_size;
    for (int ky = 0; ky < conv.kernel_h; ++ky) {
      const Range y = valid_outputs(ky - conv.padding, conv.stride, conv.height_in, conv.height_out);
      for (int kx = 0; kx < conv.kernel_w; ++kx, row += ld) {
        const Range x = valid_outputs(kx - conv.padding, conv.stride, conv.width_in, conv.width_out);
        const auto copy = shifted ? unfold_shifted : unfold_general;
        copy(conv, plane, ky - conv.padding, kx - conv.padding, y, x, row);
      }
    }
  }
}

void unfold_output(const ConvolutionGeometry& conv, const float* map, float* out, std::size_t ld) {
  const std::ptrdiff_t width_in = conv.width_in, stride = conv.stride;
  float* row = out;
  for (int ky = 0; ky < conv.kernel_h; ++ky) {
    const int offset_y = ky - conv.padding;
    const Range y = valid_outputs(offset_y, conv.stride, conv.height_in, conv.height_out);
    for (int kx = 0; kx < conv.kernel_w; ++kx, row += ld) {
      const int offset_x = kx - conv.padding;
      const Range x = valid_outputs(offset_x, conv.stride, conv.width_in, conv.width_out);
      std::fill_n(row, std::ptrdiff_t(conv.height_in) * width_in, 0.0f);
      for (int oy = y.begin; oy < y.end; ++oy) {
        const float* from = map + std::ptrdiff_t(oy) * conv.width_out;
        float* to = row + (oy * stride + offset_y) * width_in + offset_x;
        for (int ox = x.begin; ox < x.end; ++ox) to[ox * stride] = from[ox];
      }
    }
  }
}

}  // namespace seng
