#include "actors/data/resample.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace seng {
namespace {

// Of every output position along one axis: which inputs count, and how much.
struct Axis {
  std::vector<int> first, count;
  std::vector<float> weights;  // [outputs, most]
  int most = 0;
};

Axis make_axis(int input, double begin, double length, int output) {
  const double scale = length / output, support = std::max(scale, 1.0);
  Axis axis;
  axis.most = static_cast<int>(std::ceil(2 * support)) + 2;
  axis.first.resize(output);
  axis.count.resize(output);
  axis.weights.resize(std::size_t(output) * axis.most);
  std::vector<double> weights(axis.most);
  for (int i = 0; i < output; ++i) {
    const double centre = begin + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(std::floor(centre - support)));
    const int last = std::min(input - 1, static_cast<int>(std::ceil(centre + support)));
    double sum = 0;
    int from = -1, to = -1;
    for (int j = first; j <= last && j - first < axis.most; ++j) {
      const double weight = std::max(0.0, 1 - std::abs(j + 0.5 - centre) / support);
      if (weight <= 0) continue;
      if (from < 0) from = j;
      to = j;
      weights[j - from] = weight;
      sum += weight;
    }
    axis.first[i] = from;
    axis.count[i] = to - from + 1;
    for (int k = 0; k < axis.count[i]; ++k)
      axis.weights[std::size_t(i) * axis.most + k] = static_cast<float>(weights[k] / sum);
  }
  return axis;
}

// One row of one channel.
template <class T>
void scale_row(const T* row, std::size_t stride, const Axis& axis, float* out) {
  for (std::size_t i = 0; i < axis.first.size(); ++i) {
    const float* weights = axis.weights.data() + i * axis.most;
    const T* from = row + axis.first[i] * stride;
    float sum = 0;
    for (int k = 0; k < axis.count[i]; ++k) sum += weights[k] * static_cast<float>(from[k * stride]);
    out[i] = sum;
  }
}

template <class T>
void resample_any(const Raster<T>& image, const PixelBox& box, PixelSize to, float* out) {
  const Axis rows = make_axis(image.size.height, box.top, box.height, to.height);
  const Axis columns = make_axis(image.size.width, box.left, box.width, to.width);
  const int first = rows.first.front(), last = rows.first.back() + rows.count.back();
  std::vector<float> scaled(std::size_t(last - first) * to.width);
  for (int c = 0; c < image.channels; ++c) {
    const T* channel = image.values + c * image.channel_stride;
    for (int y = first; y < last; ++y)
      scale_row(channel + y * image.row_stride, image.pixel_stride, columns,
                scaled.data() + std::size_t(y - first) * to.width);
    for (int y = 0; y < to.height; ++y) {
      float* row = out + (std::size_t(c) * to.height + y) * to.width;
      std::fill(row, row + to.width, 0.0f);
      for (int k = 0; k < rows.count[y]; ++k) {
        const float weight = rows.weights[std::size_t(y) * rows.most + k];
        const float* from = scaled.data() + std::size_t(rows.first[y] + k - first) * to.width;
        for (int x = 0; x < to.width; ++x) row[x] += weight * from[x];
      }
    }
  }
}

}  // namespace

void resample(const Raster<std::uint8_t>& image, const PixelBox& box, PixelSize to, float* out) {
  resample_any(image, box, to, out);
}
void resample(const Raster<float>& image, const PixelBox& box, PixelSize to, float* out) {
  resample_any(image, box, to, out);
}

Status Dataset::read_part(std::uint32_t index, const ChooseBox& choose, float* image,
                          std::int32_t* label) const {
  const PixelSize size{height(), width()};
  const std::size_t pixels = std::size_t(size.height) * size.width;
  std::vector<float> whole(channels() * pixels);
  SENG_TRY(read({&index, 1}, whole.data(), label));
  const Raster<float> raster{whole.data(), size, channels(), pixels, std::size_t(size.width), 1};
  resample(raster, choose(size), size, image);
  return {};
}

}  // namespace seng
