// When Winograd is taken, and what it costs in accuracy: one layer's three operations against double
// precision.
#include <cmath>

#include <gtest/gtest.h>

#include "actors/engine/backend.h"
#include "actors/engine/random.h"

namespace seng {
namespace {

ConvolutionPlan plan_of(int batch, int channels_in, int channels_out, int size, int kernel = 3,
                        int stride = 1) {
  const int out = (size + 2 * (kernel / 2) - kernel) / stride + 1;
  ConvolutionPlan plan;
  plan.geometry = {channels_in, size, size, channels_out, out, out, kernel, kernel, stride, kernel / 2};
  plan.batch = batch;
  return plan;
}

bool takes_winograd(const ConvolutionPlan& plan) {
  return (*make_backend(Device::kCpu))->plan_convolution(plan)->winograd();
}

TEST(Winograd, IsTakenWhereItPays) {
  EXPECT_TRUE(takes_winograd(plan_of(32, 32, 64, 14))) << "lenet's second convolution";
  for (const auto& [channels, size] : {std::pair{64, 32}, {128, 16}, {256, 8}, {512, 4}}) {
    EXPECT_TRUE(takes_winograd(plan_of(32, channels, channels, size))) << "resnet18";
  }
}

TEST(Winograd, IsLeftWhereItDoesNot) {
  EXPECT_FALSE(takes_winograd(plan_of(32, 1, 32, 28))) << "one channel";
  EXPECT_FALSE(takes_winograd(plan_of(32, 3, 64, 32)));
  EXPECT_FALSE(takes_winograd(plan_of(32, 64, 128, 32, 3, 2))) << "stride";
  EXPECT_FALSE(takes_winograd(plan_of(32, 64, 64, 32, 5))) << "kernel";
  EXPECT_FALSE(takes_winograd(plan_of(4, 512, 512, 2))) << "few tiles, mostly outside of the image";
  EXPECT_FALSE(takes_winograd(plan_of(4, 512, 512, 4))) << "few tiles for the weights' transform";
  ConvolutionPlan direct = plan_of(32, 64, 64, 32);
  direct.direct = true;
  EXPECT_FALSE(takes_winograd(direct));
}

TEST(Convolution, HasARealKernelForAnyNumberOfChannels) {
  auto backend = *make_backend(Device::kCpu);
  for (const int channels : {1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 20, 24, 31, 33, 48, 100}) {
    for (const auto& [in, out] :
         {std::pair{channels, channels}, {channels, 64}, {64, channels}, {channels, 10}}) {
      for (const auto& [kernel, stride] : {std::pair{1, 1}, {1, 2}, {3, 1}, {3, 2}, {5, 1}, {7, 2}}) {
        EXPECT_FALSE(backend->plan_convolution(plan_of(8, in, out, 16, kernel, stride))->reference())
            << in << " to " << out << " channels, kernel " << kernel << ", stride " << stride;
      }
    }
  }
}

struct Errors {
  double forward, data, weights;
};

// Relative to the Euclidean norm, against the definition evaluated in double precision on the same floats.
Errors errors(const ConvolutionPlan& plan) {
  auto backend = *make_backend(Device::kCpu);
  const auto convolution = backend->plan_convolution(plan);
  const ConvolutionGeometry& g = plan.geometry;
  Random random(11, RandomPurpose::kSynthetic);
  const auto draw = [&](std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = random.normal();
    return values;
  };
  const TensorShape in{plan.batch, g.channels_in, g.height_in, g.width_in};
  const TensorShape out{plan.batch, g.channels_out, g.height_out, g.width_out};
  const auto x = draw(in.count()), dy = draw(out.count());
  const auto w = draw(std::size_t(g.channels_out) * g.channels_in * 9);
  std::vector<double> y_exact(out.count()), dx_exact(in.count()), dw_exact(w.size());
  std::size_t at = 0;
  for (int i = 0; i < out.n; ++i)
    for (int o = 0; o < out.c; ++o)
      for (int r = 0; r < out.h; ++r)
        for (int q = 0; q < out.w; ++q, ++at)
          for (int c = 0; c < in.c; ++c)
            for (int k = 0; k < 9; ++k) {
              const int row = r + k / 3 - 1, column = q + k % 3 - 1;
              if (row < 0 || row >= in.h || column < 0 || column >= in.w) continue;
              const std::size_t from = ((std::size_t(i) * in.c + c) * in.h + row) * in.w + column;
              const std::size_t weight = (std::size_t(o) * in.c + c) * 9 + k;
              y_exact[at] += double(x[from]) * w[weight];
              dx_exact[from] += double(dy[at]) * w[weight];
              dw_exact[weight] += double(dy[at]) * x[from];
            }
  const auto memory = [&](std::size_t bytes) { return static_cast<float*>(backend->allocate(bytes)); };
  const LayoutPtr plain_in = backend->plain(in), plain_out = backend->plain(out);
  float *bx = memory(convolution->input()->bytes()), *by = memory(convolution->output()->bytes());
  float *packed = memory(convolution->packed_bytes()), *dw = memory(w.size() * sizeof(float));
  const auto error = [](const float* actual, const std::vector<double>& exact) {
    double difference = 0, norm = 0;
    for (std::size_t k = 0; k < exact.size(); ++k) {
      difference += (actual[k] - exact[k]) * (actual[k] - exact[k]);
      norm += exact[k] * exact[k];
    }
    return std::sqrt(difference / norm);
  };
  std::vector<float> plain(std::max(in.count(), out.count()));
  Errors result{};
  backend->plan_reorder(plain_in, convolution->input(), in.n)->run(x.data(), bx);
  convolution->pack(w.data(), packed);
  convolution->forward(bx, packed, nullptr, by);
  backend->plan_reorder(convolution->output(), plain_out, in.n)->run(by, plain.data());
  result.forward = error(plain.data(), y_exact);
  backend->plan_reorder(plain_out, convolution->output(), in.n)->run(dy.data(), by);
  convolution->backward_weights(bx, by, dw, nullptr);
  result.weights = error(dw, dw_exact);
  convolution->backward_data(by, packed, bx);
  backend->plan_reorder(convolution->input(), plain_in, in.n)->run(bx, plain.data());
  result.data = error(plain.data(), dx_exact);
  return result;
}

// Measured on AVX-512: direct 1e-7 to 4e-7, Winograd 5e-7 to 3e-6. The bounds leave a margin for other
// machines.
TEST(Winograd, ErrorOfOneLayerIsBounded) {
  for (const auto& [batch, channels, size] : {std::array{4, 64, 16}, {6, 128, 8}, {48, 64, 4}}) {
    ConvolutionPlan plan = plan_of(batch, channels, channels, size);
    ASSERT_TRUE(takes_winograd(plan));
    const Errors winograd = errors(plan);
    plan.direct = true;
    const Errors direct = errors(plan);
    std::printf("%d channels of %d: direct %.1e %.1e %.1e, Winograd %.1e %.1e %.1e\n", channels, size,
                direct.forward, direct.data, direct.weights, winograd.forward, winograd.data,
                winograd.weights);
    for (const double error : {direct.forward, direct.data, direct.weights}) EXPECT_LT(error, 2e-6);
    for (const double error : {winograd.forward, winograd.data, winograd.weights}) EXPECT_LT(error, 3e-5);
    EXPECT_GT(winograd.forward, direct.forward) << "it is another algorithm";
  }
}

TEST(Backend, PlansOfOneShapeGiveEqualBits) {
  const Errors first = errors(plan_of(2, 64, 32, 16)), second = errors(plan_of(2, 64, 32, 16));
  EXPECT_EQ(first.forward, second.forward);
  EXPECT_EQ(first.data, second.data);
  EXPECT_EQ(first.weights, second.weights);
}

}  // namespace
}  // namespace seng
