#include "actors/engine/cuda/layout.h"

namespace seng::cuda {

bool CudaLayout::same(const Layout& other) const {
  const auto* mine = dynamic_cast<const CudaLayout*>(&other);
  return mine != nullptr && mine->shape_ == shape_ && mine->channels_last_ == channels_last_ &&
         mine->element_ == element_;
}

LayoutPtr make_layout(TensorShape shape, bool channels_last, Element element) {
  return std::make_shared<CudaLayout>(shape, channels_last, element);
}

Extents extents_of(const LayoutPtr& layout) {
  const auto* mine = dynamic_cast<const CudaLayout*>(layout.get());
  SENG_CHECK(mine != nullptr, "a layout of another backend");
  return mine->extents();
}

}  // namespace seng::cuda
