// The layouts of this backend's tensors. No vendor header.
#pragma once

#include "actors/engine/backend.h"
#include "actors/engine/cuda/extents.h"

namespace seng::cuda {

class CudaLayout final : public Layout {
 public:
  // One channel, or one position, lies the same either way.
  CudaLayout(TensorShape shape, bool channels_last, Element element)
      : shape_(shape),
        channels_last_(channels_last && shape.c > 1 && std::size_t(shape.h) * shape.w > 1),
        element_(element) {}

  TensorShape shape() const override { return shape_; }
  std::size_t bytes() const override { return shape_.count() * bytes_of(element_); }
  bool plain() const override { return !channels_last_ && element_ == Element::kF32; }
  bool same(const Layout& other) const override;
  Extents extents() const { return {shape_.n, shape_.c, shape_.h, shape_.w, channels_last_, element_}; }

 private:
  TensorShape shape_;
  bool channels_last_;
  Element element_;
};

LayoutPtr make_layout(TensorShape shape, bool channels_last, Element element);
Extents extents_of(const LayoutPtr& layout);  // of this backend's layouts only

}  // namespace seng::cuda
