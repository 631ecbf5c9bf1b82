// Shapes of tensors, and where their elements lie.
#pragma once

#include <cstddef>
#include <memory>

namespace seng {

struct TensorShape {
  int n = 0, c = 0, h = 1, w = 1;
  std::size_t count() const { return std::size_t(n) * c * h * w; }
  bool operator==(const TensorShape&) const = default;
};

// Where the elements of a [n, c, h, w] tensor lie, and what they are. Opaque outside of its backend.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual TensorShape shape() const = 0;
  virtual std::size_t bytes() const = 0;  // padding included
  virtual bool plain() const = 0;         // dense NCHW floats
  virtual bool same(const Layout& other) const = 0;
};
using LayoutPtr = std::shared_ptr<const Layout>;

}  // namespace seng
