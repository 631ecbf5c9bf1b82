#include <algorithm>
#include <bit>

#include "actors/engine/cuda/device_work.h"
#include "actors/engine/cuda/resident_kernels.h"

namespace seng::cuda {
namespace {

// Rows of the matrix that the left side does not ask for are not read.
class CudaSketch final : public VectorSketch {
 public:
  CudaSketch(CudaBackend& backend, const SketchPlan& plan)
      : backend_(backend), m_(plan.left.width), columns_(plan.columns), width_(plan.right.rows()) {
    std::vector<std::uint32_t> read = plan.left.index;
    std::ranges::sort(read);
    read.erase(std::unique(read.begin(), read.end()), read.end());
    reads_ = read.size();
    SketchSide left = plan.left;
    for (std::uint32_t& index : left.index)
      index = static_cast<std::uint32_t>(std::ranges::lower_bound(read, index) - read.begin());

    std::vector<std::uint32_t> words = read;
    const std::size_t of_left = append(left, words), of_right = append(plan.right, words);
    half_ = padded(words.size());
    out_ = half_ + padded(reads_ * width_);
    bytes_ = (out_ + padded(left.rows() * width_)) * sizeof(float);
    memory_ = backend.take(bytes_);
    backend.enter();
    backend.upload(words.data(), memory_.get(), words.size() * sizeof(std::uint32_t));
    left_ = list_of(left, of_left);
    right_ = list_of(plan.right, of_right);
  }
  ~CudaSketch() override { backend_.give_back(std::move(memory_), bytes_); }

  const float* apply(const float* g) override {
    backend_.enter();
    auto* floats = static_cast<float*>(memory_.get());
    const auto* read = static_cast<const std::uint32_t*>(memory_.get());
    SENG_CUDA_LAUNCH(
        launch_sketch_columns(backend_.stream(), g, m_, columns_, read, reads_, right_, floats + half_));
    SENG_CUDA_LAUNCH(launch_sketch_rows(backend_.stream(), floats + half_, width_, left_, floats + out_));
    return floats + out_;
  }
  std::size_t bytes() const override { return bytes_; }

 private:
  // [begins | index | factor] behind what is there; where they begin.
  static std::size_t append(const SketchSide& side, std::vector<std::uint32_t>& words) {
    const std::size_t at = words.size();
    words.insert(words.end(), side.begins.begin(), side.begins.end());
    words.insert(words.end(), side.index.begin(), side.index.end());
    for (const float factor : side.factor) words.push_back(std::bit_cast<std::uint32_t>(factor));
    return at;
  }
  SketchList list_of(const SketchSide& side, std::size_t at) const {
    const auto* begins = static_cast<const std::uint32_t*>(memory_.get()) + at;
    const std::uint32_t* index = begins + side.begins.size();
    return {begins, index, reinterpret_cast<const float*>(index + side.index.size()), side.rows(), side.adds};
  }

  CudaBackend& backend_;
  std::size_t m_, columns_, width_, reads_ = 0;
  std::size_t half_ = 0, out_ = 0, bytes_ = 0;  // floats into the memory, which begins with the lists
  DeviceMemory memory_;
  SketchList left_{}, right_{};
};

}  // namespace

std::unique_ptr<VectorSketch> CudaBackend::plan_sketch(const SketchPlan& plan) {
  return std::make_unique<CudaSketch>(*this, plan);
}

}  // namespace seng::cuda
