// The layouts of this backend's tensors. No vendor header.
#pragma once

#include "actors/engine/backend.h"
#include "actors/engine/cuda/extents.h"

namespace seng::cuda {

class CudaLayout final : public Layout {
 public:
  // One channel, or one position, lies the same either way: such a tensor is plain.
  CudaLayout(TensorShape shape, bool channels_last)
      : shape_(shape), channels_last_(channels_last && shape.c > 1 && std::size_t(shape.h) * shape.w > 1) {}

  TensorShape shape() const override { return shape_; }
  std::size_t bytes() const override { return shape_.count() * sizeof(float); }
  bool plain() const override { return !channels_last_; }
  bool same(const Layout& other) const override;
  Extents extents() const { return {shape_.n, shape_.c, shape_.h, shape_.w, channels_last_}; }

 private:
  TensorShape shape_;
  bool channels_last_;
};

LayoutPtr make_layout(TensorShape shape, bool channels_last);
Extents extents_of(const LayoutPtr& layout);  // of this backend's layouts only

}  // namespace seng::cuda
