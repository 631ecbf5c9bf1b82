// K-FAC's directions where the factors are as unlike a multiple of the identity as those of rectified inputs
// are: an eigenvalue's error is relative to the largest one, so a direction's grows with the condition.
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::kronecker_on_cuda_test {
namespace {

using testing::normal;
using testing::relative_error;
using testing::Values;

constexpr double kLambda = 0.3;

// The lower triangle of a symmetric matrix with eigenvalues from `least` to `most` evenly by their logarithm.
struct Spread {
  Spread(std::size_t order, double least, double most, Random& random) : n(order), largest(most) {
    std::vector<double> whole(n * n);
    for (std::size_t k = 0; k < n; ++k)
      whole[k * n + k] = least * std::pow(most / least, double(k) / double(n - 1));
    for (std::size_t k = 0; k < n; ++k) reflect(normal(random, n), whole);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j <= i; ++j) packed.push_back(float(whole[i * n + j]));
  }
  std::size_t n;
  double largest;
  Values packed;

 private:
  // whole <- H whole H with H = I - 2 v v^T / v^T v
  static void reflect(const Values& v, std::vector<double>& whole) {
    const std::size_t n = v.size();
    double square = 0;
    for (const float value : v) square += double(value) * value;
    for (const bool rows : {true, false})
      for (std::size_t k = 0; k < n; ++k) {
        const auto at = [&](std::size_t i) -> double& { return rows ? whole[i * n + k] : whole[k * n + i]; };
        double along = 0;
        for (std::size_t i = 0; i < n; ++i) along += v[i] * at(i);
        for (std::size_t i = 0; i < n; ++i) at(i) -= 2 * along / square * v[i];
      }
  }
};

TEST(KroneckerOnCuda, DirectionsOfIllConditionedFactorsAreAsNearAsFloatsAllow) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Random random(seed, RandomPurpose::kSynthetic);
  const Spread a(109, 1e-3, 300, random), of_g(13, 1e-3, 1, random);
  const Values g = normal(random, a.n * of_g.n);
  std::map<Device, Values> directions;
  for (const Device kind : {Device::kCpu, Device::kCuda}) {  // the CPU's is in double
    const auto backend = *make_backend(kind);
    backend->enter();
    const auto inverse = backend->plan_kronecker_inverse({.m = of_g.n, .n = a.n});
    ASSERT_TRUE(inverse->decompose(a.packed.data(), of_g.packed.data()));
    directions[kind].resize(g.size());
    inverse->precondition(g.data(), kLambda, directions[kind].data());
  }
  const double condition = a.largest * of_g.largest / kLambda;
  const double error = relative_error(directions[Device::kCuda], directions[Device::kCpu]);
  EXPECT_LE(error, std::sqrt(double(a.n)) * condition * std::numeric_limits<float>::epsilon());
}

}  // namespace
}  // namespace seng::kronecker_on_cuda_test
