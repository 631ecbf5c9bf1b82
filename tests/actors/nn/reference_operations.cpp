#include "tests/actors/nn/reference_operations.h"

#include <cmath>
#include <limits>

#include "actors/engine/random.h"

namespace seng::reference {
namespace {

class Conv final : public Operation {
 public:
  explicit Conv(const Conv2dShape& shape) : s_(shape) {}
  bool has_parameters() const override { return true; }

  Tensor forward(const std::vector<const Tensor*>& inputs, const Context& context) const override {
    const Tensor& x = *inputs[0];
    Tensor y(x.n, s_.channels, (x.h + 2 * s_.padding - s_.kernel_h) / s_.stride + 1,
             (x.w + 2 * s_.padding - s_.kernel_w) / s_.stride + 1);
    if (context.activations != nullptr) *context.activations = x;
    const double* bias = context.parameters + std::size_t(s_.channels) * x.c * s_.kernel_h * s_.kernel_w;
    visit(x, y, [&](std::size_t from, std::size_t to, std::size_t weight) {
      y.values[to] += context.parameters[weight] * x.values[from];
    });
    if (s_.bias) each_output(y, [&](std::size_t to, int o) { y.values[to] += bias[o]; });
    return y;
  }

  std::vector<Tensor> backward(const std::vector<const Tensor*>& inputs, const Tensor& y, const Tensor& dy,
                               const Context& context) const override {
    const Tensor& x = *inputs[0];
    Tensor dx(x.n, x.c, x.h, x.w);
    double* bias = context.gradient + std::size_t(s_.channels) * x.c * s_.kernel_h * s_.kernel_w;
    visit(x, y, [&](std::size_t from, std::size_t to, std::size_t weight) {
      context.gradient[weight] += dy.values[to] * x.values[from];
      dx.values[from] += dy.values[to] * context.parameters[weight];
    });
    if (s_.bias) each_output(y, [&](std::size_t to, int o) { bias[o] += dy.values[to]; });
    return {dx};
  }

 private:
  // Calls f(place in x, place in y, weight) for every product of the convolution.
  template <class F>
  void visit(const Tensor& x, const Tensor& y, F&& f) const {
    for (int i = 0; i < y.n; ++i)
      for (int o = 0; o < y.c; ++o)
        for (int c = 0; c < x.c; ++c)
          for (int kh = 0; kh < s_.kernel_h; ++kh)
            for (int kw = 0; kw < s_.kernel_w; ++kw) {
              const std::size_t weight = ((std::size_t(o) * x.c + c) * s_.kernel_h + kh) * s_.kernel_w + kw;
              for (int r = 0; r < y.h; ++r) {
                const int h = r * s_.stride - s_.padding + kh;
                if (h < 0 || h >= x.h) continue;
                const std::size_t row = ((std::size_t(i) * x.c + c) * x.h + h) * x.w;
                const std::size_t to = ((std::size_t(i) * y.c + o) * y.h + r) * y.w;
                for (int q = 0; q < y.w; ++q) {
                  const int w = q * s_.stride - s_.padding + kw;
                  if (w >= 0 && w < x.w) f(row + w, to + q, weight);
                }
              }
            }
  }

  template <class F>
  static void each_output(const Tensor& y, F&& f) {
    const std::size_t positions = std::size_t(y.h) * y.w;
    for (std::size_t to = 0; to < y.values.size(); ++to) f(to, static_cast<int>(to / positions % y.c));
  }

  Conv2dShape s_;
};

class LinearOperation final : public Operation {
 public:
  LinearOperation(int features, bool bias) : out_(features), bias_(bias) {}
  bool has_parameters() const override { return true; }

  Tensor forward(const std::vector<const Tensor*>& inputs, const Context& context) const override {
    const Tensor& x = *inputs[0];
    if (context.activations != nullptr) *context.activations = x;
    Tensor y(x.n, out_, 1, 1);
    for (int i = 0; i < x.n; ++i)
      for (int o = 0; o < out_; ++o) {
        double sum = bias_ ? context.parameters[std::size_t(out_) * x.c + o] : 0;
        for (int c = 0; c < x.c; ++c) sum += context.parameters[std::size_t(o) * x.c + c] * x.at(i, c, 0, 0);
        y.at(i, o, 0, 0) = sum;
      }
    return y;
  }

  std::vector<Tensor> backward(const std::vector<const Tensor*>& inputs, const Tensor&, const Tensor& dy,
                               const Context& context) const override {
    const Tensor& x = *inputs[0];
    Tensor dx(x.n, x.c, 1, 1);
    for (int i = 0; i < x.n; ++i)
      for (int o = 0; o < out_; ++o) {
        const double g = dy.at(i, o, 0, 0);
        if (bias_) context.gradient[std::size_t(out_) * x.c + o] += g;
        for (int c = 0; c < x.c; ++c) {
          context.gradient[std::size_t(o) * x.c + c] += g * x.at(i, c, 0, 0);
          dx.at(i, c, 0, 0) += g * context.parameters[std::size_t(o) * x.c + c];
        }
      }
    return {dx};
  }

 private:
  int out_;
  bool bias_;
};

class BatchNormOperation final : public Operation {
 public:
  bool has_parameters() const override { return true; }

  Tensor forward(const std::vector<const Tensor*>& inputs, const Context& context) const override {
    const Tensor& x = *inputs[0];
    Tensor y = x, normalised = x;
    for (int c = 0; c < x.c; ++c) {
      double mean, variance;
      if (context.training) {
        moments(x, c, mean, variance);
        const double count = double(x.n) * x.h * x.w;
        context.statistics[c] = mean;
        context.statistics[x.c + c] = variance * count / (count - 1);
      } else {
        mean = context.running[c];
        variance = context.running[x.c + c];
      }
      each(x, c, [&](int i, int h, int w) {
        normalised.at(i, c, h, w) = (x.at(i, c, h, w) - mean) / std::sqrt(variance + kEpsilon);
        y.at(i, c, h, w) = normalised.at(i, c, h, w) * context.parameters[c] + context.parameters[x.c + c];
      });
    }
    if (context.activations != nullptr) *context.activations = normalised;
    return y;
  }

  std::vector<Tensor> backward(const std::vector<const Tensor*>& inputs, const Tensor&, const Tensor& dy,
                               const Context& context) const override {
    const Tensor& x = *inputs[0];
    Tensor dx = x;
    for (int c = 0; c < x.c; ++c) {
      double mean, variance, sum = 0, product = 0;
      moments(x, c, mean, variance);
      const double scale = 1 / std::sqrt(variance + kEpsilon), count = double(x.n) * x.h * x.w;
      each(x, c, [&](int i, int h, int w) {
        sum += dy.at(i, c, h, w);
        product += dy.at(i, c, h, w) * (x.at(i, c, h, w) - mean) * scale;
      });
      context.gradient[c] += product;
      context.gradient[x.c + c] += sum;
      each(x, c, [&](int i, int h, int w) {
        const double normalised = (x.at(i, c, h, w) - mean) * scale;
        dx.at(i, c, h, w) =
            context.parameters[c] * scale * (dy.at(i, c, h, w) - sum / count - normalised * product / count);
      });
    }
    return {dx};
  }

 private:
  static constexpr double kEpsilon = 1e-5;

  template <class F>
  static void each(const Tensor& x, int, F&& f) {
    for (int i = 0; i < x.n; ++i)
      for (int h = 0; h < x.h; ++h)
        for (int w = 0; w < x.w; ++w) f(i, h, w);
  }

  static void moments(const Tensor& x, int c, double& mean, double& variance) {
    const double count = double(x.n) * x.h * x.w;
    mean = variance = 0;
    each(x, c, [&](int i, int h, int w) { mean += x.at(i, c, h, w) / count; });
    each(x, c, [&](int i, int h, int w) { variance += std::pow(x.at(i, c, h, w) - mean, 2) / count; });
  }
};

class ReluOperation final : public Operation {
 public:
  Tensor forward(const std::vector<const Tensor*>& x, const Context&) const override {
    Tensor y = *x[0];
    for (double& value : y.values) value = std::max(value, 0.0);
    return y;
  }
  std::vector<Tensor> backward(const std::vector<const Tensor*>& x, const Tensor&, const Tensor& dy,
                               const Context&) const override {
    Tensor dx = dy;
    for (std::size_t i = 0; i < dx.values.size(); ++i) {
      if (x[0]->values[i] <= 0) dx.values[i] = 0;
    }
    return {dx};
  }
};

class PoolOperation final : public Operation {
 public:
  PoolOperation(bool maximum, int kernel, int stride, int padding)
      : maximum_(maximum), kernel_(kernel), stride_(stride), padding_(padding) {}

  Tensor forward(const std::vector<const Tensor*>& inputs, const Context&) const override {
    const Tensor& x = *inputs[0];
    const int kernel_h = kernel_ == 0 ? x.h : kernel_, kernel_w = kernel_ == 0 ? x.w : kernel_;
    Tensor y(x.n, x.c, (x.h + 2 * padding_ - kernel_h) / stride_ + 1,
             (x.w + 2 * padding_ - kernel_w) / stride_ + 1);
    windows(x, y, [&](int i, int c, int r, int q, int h, int w, bool first, double share) {
      double& value = y.at(i, c, r, q);
      if (maximum_) {
        value = first ? x.at(i, c, h, w) : std::max(value, x.at(i, c, h, w));
      } else {
        value += x.at(i, c, h, w) * share;
      }
    });
    return y;
  }

  std::vector<Tensor> backward(const std::vector<const Tensor*>& inputs, const Tensor& y, const Tensor& dy,
                               const Context&) const override {
    const Tensor& x = *inputs[0];
    Tensor dx(x.n, x.c, x.h, x.w), given(y.n, y.c, y.h, y.w);
    windows(x, y, [&](int i, int c, int r, int q, int h, int w, bool, double share) {
      if (!maximum_) {
        dx.at(i, c, h, w) += dy.at(i, c, r, q) * share;
      } else if (x.at(i, c, h, w) == y.at(i, c, r, q) && given.at(i, c, r, q) == 0) {
        given.at(i, c, r, q) = 1;  // the first of equal maxima
        dx.at(i, c, h, w) += dy.at(i, c, r, q);
      }
    });
    return {dx};
  }

 private:
  template <class F>
  void windows(const Tensor& x, const Tensor& y, F&& f) const {
    const int kernel_h = kernel_ == 0 ? x.h : kernel_, kernel_w = kernel_ == 0 ? x.w : kernel_;
    for (int i = 0; i < y.n; ++i)
      for (int c = 0; c < y.c; ++c)
        for (int r = 0; r < y.h; ++r)
          for (int q = 0; q < y.w; ++q) {
            bool first = true;
            for (int h = r * stride_ - padding_; h < r * stride_ - padding_ + kernel_h; ++h)
              for (int w = q * stride_ - padding_; w < q * stride_ - padding_ + kernel_w; ++w) {
                if (h < 0 || h >= x.h || w < 0 || w >= x.w) continue;
                f(i, c, r, q, h, w, first, 1.0 / (kernel_h * kernel_w));
                first = false;
              }
          }
  }

  bool maximum_;
  int kernel_, stride_, padding_;
};

class FlattenOperation final : public Operation {
 public:
  Tensor forward(const std::vector<const Tensor*>& x, const Context&) const override {
    Tensor y = *x[0];
    y.c = y.c * y.h * y.w;
    y.h = y.w = 1;
    return y;
  }
  std::vector<Tensor> backward(const std::vector<const Tensor*>& x, const Tensor&, const Tensor& dy,
                               const Context&) const override {
    Tensor dx = *x[0];
    dx.values = dy.values;
    return {dx};
  }
};

class AddOperation final : public Operation {
 public:
  Tensor forward(const std::vector<const Tensor*>& x, const Context&) const override {
    Tensor y = *x[0];
    for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += x[1]->values[i];
    return y;
  }
  std::vector<Tensor> backward(const std::vector<const Tensor*>&, const Tensor&, const Tensor& dy,
                               const Context&) const override {
    return {dy, dy};
  }
};

class DropoutOperation final : public Operation {
 public:
  DropoutOperation(double probability, std::uint32_t layer) : p_(probability), layer_(layer) {}

  Tensor forward(const std::vector<const Tensor*>& x, const Context& context) const override {
    return context.training ? masked(*x[0], *context.batch) : *x[0];
  }
  std::vector<Tensor> backward(const std::vector<const Tensor*>&, const Tensor&, const Tensor& dy,
                               const Context& context) const override {
    return {masked(dy, *context.batch)};
  }

 private:
  Tensor masked(Tensor x, const Batch& batch) const {
    const std::size_t elements = x.values.size() / x.n;
    for (std::size_t k = 0; k < x.values.size(); ++k) {
      const Random random(batch.seed, RandomPurpose::kDropout, batch.step,
                          batch.first_sample + static_cast<std::uint32_t>(k / elements));
      const std::uint64_t element = k % elements;
      const auto words = random.at((std::uint64_t{layer_} << 32) + element / 4);
      const bool dropped = words[element % 4] / 4294967296.0 < p_;
      x.values[k] = dropped ? 0 : x.values[k] / (1 - p_);
    }
    return x;
  }

  double p_;
  std::uint32_t layer_;
};

}  // namespace

std::unique_ptr<Operation> conv_operation(const Conv2dShape& shape) {
  return std::make_unique<Conv>(shape);
}
std::unique_ptr<Operation> linear_operation(int features, bool bias) {
  return std::make_unique<LinearOperation>(features, bias);
}
std::unique_ptr<Operation> batch_norm_operation() {
  return std::make_unique<BatchNormOperation>();
}
std::unique_ptr<Operation> relu_operation() {
  return std::make_unique<ReluOperation>();
}
std::unique_ptr<Operation> pool_operation(bool maximum, int kernel, int stride, int padding) {
  return std::make_unique<PoolOperation>(maximum, kernel, stride, padding);
}
std::unique_ptr<Operation> flatten_operation() {
  return std::make_unique<FlattenOperation>();
}
std::unique_ptr<Operation> add_operation() {
  return std::make_unique<AddOperation>();
}
std::unique_ptr<Operation> dropout_operation(double probability, std::uint32_t layer) {
  return std::make_unique<DropoutOperation>(probability, layer);
}

}  // namespace seng::reference
