// A curvature whose samples a backend multiplies, here the CPU's plain one, against the lanes' own kernels.
#include "actors/optim/device_columns.h"

#include <cmath>

#include "tests/actors/optim/problem.h"

namespace seng::device_columns_test {
namespace {

using testing::convolution_block;
using testing::Problem;
using testing::random_problem;

constexpr int kSamples = 24, kMicros = 6, kPerMicro = kSamples / kMicros;
constexpr double kDamping = 0.25;

struct Kind {
  std::string name;
  Block block;
  CurvatureForm form;
  SketchOptions sketch = {};
  ProductOptions product = {};
  friend void PrintTo(const Kind& one, std::ostream* out) { *out << one.name; }
};

std::vector<Kind> kinds() {
  using enum SketchKind;
  const Block convolution = convolution_block({3, 5, 6, 7, 3, 3, 1, 1, true});
  return {
      {"linear_implicit", testing::linear_block(11, 7, false), Representation::kImplicit},
      {"linear_implicit_bias", testing::linear_block(11, 7, true), Representation::kImplicit},
      {"linear_explicit", testing::linear_block(11, 7, true), Representation::kExplicit},
      {"batch_norm", testing::batch_norm_block(9, 16), Representation::kExplicit},
      {"convolution_explicit", convolution, Representation::kExplicit},
      {"convolution_low_rank", convolution, {Representation::kLowRank, 3}},
      {"convolution_implicit", convolution, Representation::kImplicit},
      {"batch_norm_rows", testing::batch_norm_block(9, 16), Representation::kExplicit, {kRows, 7}},
      {"linear_countsketch",
       testing::linear_block(11, 7, true),
       Representation::kImplicit,
       {kCountSketch, 40}},
      {"low_rank_rows", convolution, {Representation::kLowRank, 3}, {kRows, 60}},
      {"low_rank_buckets", convolution, {Representation::kLowRank, 3}, {}, {ProductKind::kCountSketch, 9}},
      {"low_rank_authors", convolution, {Representation::kLowRank, 3}, {}, {ProductKind::kAuthors, 0}},
      {"implicit_both",
       convolution,
       Representation::kImplicit,
       {kCountSketch, 60},
       {ProductKind::kCountSketch, 30}},
  };
}

struct Stored {
  Precision as;
  friend void PrintTo(const Stored& one, std::ostream* out) { *out << precision_name(one.as); }
};

using Case = std::tuple<Kind, Stored, int>;  // and workers

class DeviceColumnsTest : public ::testing::TestWithParam<Case> {
 protected:
  Curvature curvature(const Problem& problem, std::shared_ptr<SampleDevice> device) {
    const auto& [kind, stored, workers] = GetParam();
    Curvature made(problem.block, {.micro_batches = kMicros,
                                   .samples_per_micro = kPerMicro,
                                   .form = kind.form,
                                   .workers = workers,
                                   .sketch = kind.sketch,
                                   .product = kind.product,
                                   .stored = stored.as,
                                   .seed = 11,
                                   .device = std::move(device)});
    made.begin_refresh(3, kDamping);
    for (std::uint32_t micro = 0; micro < kMicros; ++micro) {
      const auto fragment = make_fragment(problem.block, fragment_shape(problem.block, kind.form, kPerMicro),
                                          problem.factors(int(micro) * kPerMicro, kPerMicro));
      EXPECT_TRUE(made.add_fragment(micro, fragment));
    }
    EXPECT_TRUE(made.accept(lanes_));
    return made;
  }
  Lanes lanes_{2};
};

TEST_P(DeviceColumnsTest, GiveTheDirectionOfTheLanes) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Kind& kind = std::get<0>(GetParam());
  const Problem problem = random_problem(kind.block, kSamples, random);
  const auto device = std::make_shared<SampleDevice>(*make_backend(Device::kCpu));

  Curvature here = curvature(problem, nullptr), there = curvature(problem, device);
  std::vector<float> d(problem.g.size()), e(problem.g.size());
  const double inner = here.precondition(problem.g, d, 9, lanes_);
  const double there_inner = there.precondition(problem.g, e, 9, lanes_);
  // The device multiplies floats.
  const double error =
      1e-5 * testing::norm(d) +
      testing::bf16_product_error(kind.form, std::get<1>(GetParam()).as, problem.g, kDamping, e);
  // Not of |inner|: an estimated direction may be nearly orthogonal to g.
  EXPECT_NEAR(there_inner, inner, error * testing::norm(problem.g));
  EXPECT_LT(testing::distance(e, {d.begin(), d.end()}), error);
  const double along = here.curvature_along(problem.g, lanes_);
  EXPECT_NEAR(there.curvature_along(problem.g, lanes_), along, 1e-5 * along);
  EXPECT_EQ(there.digest(), here.digest());
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceColumnsTest,
                         ::testing::Combine(::testing::ValuesIn(kinds()),
                                            ::testing::Values(Stored{Precision::kF32},
                                                              Stored{Precision::kBf16}),
                                            ::testing::Values(1, 3)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" +
                                  precision_name(std::get<1>(info.param).as) + "_" +
                                  std::to_string(std::get<2>(info.param));
                         });

}  // namespace
}  // namespace seng::device_columns_test
