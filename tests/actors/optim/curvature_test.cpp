// The life of a curvature: fragments, acceptance, refusal, owner and backup, what a checkpoint holds.
#include "actors/optim/curvature.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "tests/actors/optim/problem.h"

namespace seng::curvature_test {
namespace {

using testing::convolution_block;
using ::testing::HasSubstr;
using testing::Problem;
using testing::random_problem;

constexpr int kSamples = 24, kMicros = 6, kPerMicro = kSamples / kMicros;

struct Kind {
  std::string name;
  Block block;
  Representation representation;
  friend void PrintTo(const Kind& one, std::ostream* out) { *out << one.name; }
};

class CurvatureTest : public ::testing::TestWithParam<Kind> {
 protected:
  CurvatureTest()
      : seed_(testing::fresh_seed()), trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)) {
    random_.seed(seed_);
    problem_ = random_problem(GetParam().block, kSamples, random_);
  }

  Curvature fragments(std::uint64_t step = 7, double lambda = 0.5,
                      const std::vector<std::uint32_t>& order = {}) const {
    return with_fragments(problem_, GetParam().representation, kMicros, step, lambda, order);
  }
  Curvature accepted(std::uint64_t step = 7, double lambda = 0.5) {
    Curvature curvature = fragments(step, lambda);
    EXPECT_TRUE(curvature.accept(lanes_));
    return curvature;
  }
  std::vector<float> fragment(std::uint32_t micro) const {
    return make_fragment(problem_.block, fragment_shape(problem_.block, GetParam().representation, kPerMicro),
                         problem_.factors(int(micro) * kPerMicro, kPerMicro));
  }
  std::vector<float> direction(Curvature& curvature, double fallback = 3) {
    std::vector<float> d(problem_.g.size(), NAN);
    curvature.precondition(problem_.g, d, fallback, lanes_);
    return d;
  }
  std::vector<float> scaled_gradient(double lambda) const {
    std::vector<float> d = problem_.g;
    for (float& value : d) value *= float(1 / (1 + lambda));
    return d;
  }
  std::vector<float> other_problem_fragment(std::uint32_t micro) {
    const Problem other = random_problem(GetParam().block, kSamples, random_);
    return make_fragment(other.block, fragment_shape(other.block, GetParam().representation, kPerMicro),
                         other.factors(int(micro) * kPerMicro, kPerMicro));
  }
  Curvature empty() const {
    return Curvature(
        problem_.block,
        {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  }
  // The refresh of step 8 is whole and waits behind that of step 7, which is in force.
  void refresh_waits(Curvature& curvature) {
    curvature.begin_refresh(8, 0.25);
    for (std::uint32_t micro = 0; micro < kMicros; ++micro)
      ASSERT_TRUE(curvature.add_fragment(micro, other_problem_fragment(micro)));
    ASSERT_TRUE(curvature.settle(7, 8));
  }
  static void fill(const Curvature::Room& room, const Curvature::Version& version) {
    std::copy(version.first.begin(), version.first.end(), room.first.begin());
    std::copy(version.second.begin(), version.second.end(), room.second.begin());
  }
  // Opens a refresh of step 100 in which one value of one fragment is `value`.
  void spoil(Curvature& curvature, float value) {
    curvature.begin_refresh(100, 0.25);
    const std::uint32_t bad = std::uint32_t(random_() % kMicros);
    for (std::uint32_t micro = 0; micro < kMicros; ++micro) {
      std::vector<float> values = other_problem_fragment(micro);
      if (micro == bad) values[random_() % values.size()] = value;
      ASSERT_TRUE(curvature.add_fragment(micro, values));
    }
    ASSERT_TRUE(curvature.complete());
  }

  const std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::mt19937_64 random_;
  Problem problem_;
  Lanes lanes_{2};
};

TEST_P(CurvatureTest, OrderAndDuplicatesOfFragmentsDoNotMatter) {
  Curvature straight = accepted();
  std::vector<std::uint32_t> order(kMicros);
  for (std::uint32_t i = 0; i < kMicros; ++i) order[i] = i;
  for (int trial = 0; trial < 4; ++trial) {
    std::shuffle(order.begin(), order.end(), random_);
    std::vector<std::uint32_t> arrivals;
    for (const std::uint32_t micro : order) {
      arrivals.push_back(micro);
      if (random_() % 2 == 0) arrivals.push_back(arrivals[random_() % arrivals.size()]);
    }
    Curvature shuffled = fragments(7, 0.5, arrivals);
    ASSERT_TRUE(shuffled.accept(lanes_));
    EXPECT_EQ(shuffled.digest(), straight.digest());
    EXPECT_EQ(shuffled.values(), straight.values());
    EXPECT_EQ(direction(shuffled), direction(straight));
  }
}

TEST_P(CurvatureTest, SecondFragmentOfAMicroBatchIsIgnoredWhateverItHolds) {
  Curvature curvature = fragments();
  ASSERT_TRUE(curvature.add_fragment(2, other_problem_fragment(2)));
  ASSERT_TRUE(curvature.accept(lanes_));
  EXPECT_EQ(curvature.digest(), accepted().digest());
}

TEST_P(CurvatureTest, WrongFragmentsAreErrors) {
  Curvature curvature(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  const std::vector<float> good = fragment(0);
  EXPECT_THAT(curvature.add_fragment(0, good).error().message, HasSubstr("no refresh is open"));
  curvature.begin_refresh(1, 0.5);
  const Status small = curvature.add_fragment(1, std::span(good).first(good.size() - 1));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(small.error().message, HasSubstr(problem_.block.name));
  EXPECT_THAT(small.error().message, HasSubstr(std::to_string(good.size())));
  EXPECT_FALSE(curvature.add_fragment(0, {}));
  EXPECT_FALSE(curvature.add_fragment(kMicros, good));
  EXPECT_FALSE(curvature.add_fragment(0xffffffffu, good));
  EXPECT_FALSE(curvature.complete());
  const Status early = curvature.accept(lanes_);
  ASSERT_FALSE(early);
  EXPECT_THAT(early.error().message, HasSubstr("missing"));
  EXPECT_FALSE(curvature.ready());
}

// A refresh that takes effect a step later, with everything that a membership may do in between.
TEST_P(CurvatureTest, WhatWaitsTakesEffectWhenItIsTaken) {
  Curvature curvature = fragments(7);
  ASSERT_TRUE(curvature.settle(0, 7));
  EXPECT_FALSE(curvature.ready());
  EXPECT_EQ(direction(curvature, 3), scaled_gradient(3));
  ASSERT_TRUE(curvature.keep_waiting());
  EXPECT_EQ(curvature.keep_waiting()->digest(), accepted(7).digest());
  ASSERT_TRUE(curvature.accept_waiting(lanes_));
  Curvature at_once = accepted(7);
  EXPECT_EQ(direction(curvature), direction(at_once));
  // The step is left, and done again: nothing is lost.
  ASSERT_TRUE(curvature.settle(0, 7));
  EXPECT_EQ(direction(curvature, 3), scaled_gradient(3));
  ASSERT_TRUE(curvature.accept_waiting(lanes_));
  ASSERT_TRUE(curvature.settle(7, 0));
  EXPECT_FALSE(curvature.keep_waiting());
  EXPECT_EQ(curvature.digest(), at_once.digest());
  EXPECT_EQ(direction(curvature), direction(at_once));
}

// The next refresh begins while one waits, as with a refresh at every step. Without the owner's word, as a
// backup.
TEST_P(CurvatureTest, OneWaitsWhileTheNextIsGathered) {
  Curvature curvature = fragments(7);
  ASSERT_TRUE(curvature.settle(0, 7));
  curvature.begin_refresh(8, 0.25);
  EXPECT_FALSE(curvature.settle(0, 8)) << "not whole yet";
  for (std::uint32_t micro = 0; micro < kMicros; ++micro)
    ASSERT_TRUE(curvature.add_fragment(micro, fragment(micro)));
  std::vector<std::uint64_t> steps;
  for (const auto& version : curvature.versions()) steps.push_back(version.step);
  EXPECT_THAT(steps, ::testing::ElementsAre(7, 8));
  ASSERT_TRUE(curvature.settle(7, 8));
  EXPECT_EQ(curvature.step(), 7u);
  EXPECT_EQ(curvature.keep_waiting()->step, 8u);
  EXPECT_FALSE(curvature.settle(9, 8));
  EXPECT_FALSE(curvature.settle(7, 9));
  ASSERT_TRUE(curvature.settle(8, 0));
  EXPECT_EQ(curvature.lambda(), 0.25);
}

TEST_P(CurvatureTest, ARefusalOfWhatWaitsLeavesWhatIsInForce) {
  Curvature curvature = accepted(7);
  spoil(curvature, std::numeric_limits<float>::infinity());
  ASSERT_TRUE(curvature.settle(7, 100));
  for (int round = 0; round < 2; ++round) {
    const Status refused = curvature.accept_waiting(lanes_);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("that of step 7 stays in force"));
    EXPECT_EQ(curvature.step(), 7u);
    ASSERT_TRUE(curvature.settle(7, 100)) << "the step may be done again";
  }
  ASSERT_TRUE(curvature.settle(7, 0));
  EXPECT_FALSE(curvature.keep_waiting());
}

// On another thread, while it is used, and when it is gone.
TEST_P(CurvatureTest, IsFormedAheadWithTheSameBits) {
  Curvature at_once = accepted(7);
  Curvature curvature = fragments(7);
  auto before = curvature.formation(), twice = curvature.formation();
  ASSERT_TRUE(before);
  ASSERT_TRUE(curvature.settle(0, 7));
  std::thread aside([&] {
    Lanes alone(1);
    before(alone);
  });
  ASSERT_TRUE(curvature.accept_waiting(lanes_));
  EXPECT_EQ(direction(curvature), direction(at_once));
  aside.join();
  const auto after = curvature.formation();
  ASSERT_TRUE(curvature.settle(7, 0));
  EXPECT_FALSE(curvature.formation()) << "nothing waits";
  curvature = fragments(8);
  twice(lanes_);
  after(lanes_);
}

TEST_P(CurvatureTest, BothComeFromElsewhere) {
  Curvature source = accepted(7), pulled = empty();
  refresh_waits(source);
  for (const auto& version : source.versions()) {
    const Curvature::Room room = pulled.begin_version(version.step, version.lambda, version.step == 8);
    fill(room, version);
  }
  ASSERT_TRUE(pulled.finish_version());
  ASSERT_TRUE(pulled.settle(7, 8));
  EXPECT_EQ(pulled.digest(), source.digest());
  EXPECT_EQ(pulled.keep_waiting()->digest(), source.keep_waiting()->digest());
  EXPECT_EQ(direction(pulled), direction(source));
  ASSERT_TRUE(pulled.accept_waiting(lanes_));
  ASSERT_TRUE(source.accept_waiting(lanes_));
  EXPECT_EQ(direction(pulled), direction(source));
}

// As a newcomer that has followed to the step behind a refresh, with which all who had committed it have
// died.
TEST_P(CurvatureTest, OneThatWasPulledTooEarlyWaitsAgain) {
  Curvature source = accepted(7), pulled = empty();
  refresh_waits(source);
  for (const auto& version : source.versions()) {
    const Curvature::Room room = pulled.begin_version(version.step, version.lambda);
    fill(room, version);
    ASSERT_TRUE(pulled.finish_version());
  }
  EXPECT_EQ(pulled.step(), 8u);
  (void)pulled.begin_version(9, 0.5);  // left unfilled
  pulled.drop_begun();
  EXPECT_THROW((void)pulled.finish_version(), InvariantError) << "what was left unfilled never counts";
  EXPECT_EQ(pulled.versions().size(), 2u);
  ASSERT_TRUE(pulled.settle(7, 8));
  EXPECT_EQ(pulled.digest(), source.digest());
  EXPECT_EQ(pulled.keep_waiting()->digest(), source.keep_waiting()->digest());
}

TEST_P(CurvatureTest, BeforeTheFirstRefreshTheGradientIsScaled) {
  Curvature curvature(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  EXPECT_FALSE(curvature.ready());
  EXPECT_FALSE(curvature.complete());
  EXPECT_EQ(direction(curvature, 3), scaled_gradient(3));
  EXPECT_TRUE(curvature.values().empty());
  std::vector<float> d(problem_.g.size());
  const double inner = curvature.precondition(problem_.g, d, 3, lanes_);
  const double expected = std::pow(testing::norm(problem_.g), 2) / 4;
  EXPECT_FALSE(!(std::abs(inner - expected) <= 1e-6 * expected));
}

TEST_P(CurvatureTest, OpenRefreshLeavesTheCurvatureInForce) {
  Curvature curvature = accepted();
  const Digest before = curvature.digest();
  const std::vector<float> d = direction(curvature);
  const std::size_t bytes = curvature.bytes();
  curvature.begin_refresh(8, 2.0);
  for (std::uint32_t micro = 0; micro + 1 < kMicros; ++micro) {
    ASSERT_TRUE(curvature.add_fragment(micro, other_problem_fragment(micro)));
    EXPECT_EQ(curvature.digest(), before);
    EXPECT_EQ(direction(curvature), d);
  }
  EXPECT_FALSE(curvature.complete());
  EXPECT_GT(curvature.bytes(), bytes);
  curvature.reject();
  EXPECT_EQ(curvature.bytes(), bytes);
  EXPECT_EQ(curvature.step(), 7u);
  EXPECT_FALSE(curvature.accept(lanes_));
}

TEST_P(CurvatureTest, NewRefreshReplacesTheOldAndItsDampingToo) {
  Curvature curvature = accepted(7, 0.5);
  const std::vector<float> d = direction(curvature);
  curvature.begin_refresh(9, 2.0);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro)
    ASSERT_TRUE(curvature.add_fragment(micro, fragment(micro)));
  ASSERT_TRUE(curvature.accept(lanes_));
  EXPECT_EQ(curvature.step(), 9u);
  EXPECT_EQ(curvature.lambda(), 2.0);
  Curvature fresh = accepted(9, 2.0);
  EXPECT_EQ(curvature.digest(), fresh.digest());
  EXPECT_EQ(direction(curvature), direction(fresh));
  EXPECT_NE(direction(curvature), d);
}

TEST_P(CurvatureTest, ValuesThatAreNotFiniteAreRefused) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    for (const bool owner : {true, false}) {
      Curvature curvature = accepted();
      const Digest before = curvature.digest();
      const std::vector<float> d = direction(curvature);
      spoil(curvature, value);
      const Status refused = owner ? curvature.accept(lanes_) : curvature.accept_unformed(lanes_);
      ASSERT_FALSE(refused) << value;
      EXPECT_THAT(refused.error().message, HasSubstr("block " + problem_.block.name));
      EXPECT_THAT(refused.error().message, HasSubstr("step 100"));
      EXPECT_THAT(refused.error().message, HasSubstr("not finite"));
      EXPECT_THAT(refused.error().message, HasSubstr("step 7 stays in force"));
      EXPECT_EQ(curvature.digest(), before);
      EXPECT_EQ(direction(curvature), d);
      EXPECT_FALSE(curvature.complete());
    }
  }
}

TEST_P(CurvatureTest, FirstRefreshRefusedLeavesNothingInForce) {
  Curvature curvature(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  spoil(curvature, NAN);
  EXPECT_FALSE(curvature.accept(lanes_));
  EXPECT_FALSE(curvature.ready());
  EXPECT_EQ(direction(curvature, 1), scaled_gradient(1));
}

TEST_P(CurvatureTest, OverflowingGramMatrixIsRefused) {
  Curvature curvature = accepted();
  const Digest before = curvature.digest();
  curvature.begin_refresh(100, 0.25);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro) {
    std::vector<float> values = fragment(micro);
    for (float& value : values) value = value < 0 ? -3e38f : 3e38f;
    ASSERT_TRUE(curvature.add_fragment(micro, values));
  }
  const Status refused = curvature.accept(lanes_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("overflows"));
  EXPECT_EQ(curvature.digest(), before);
}

TEST_P(CurvatureTest, DampingThatIsNotPositiveIsRefused) {
  for (const double lambda : {0.0, -1.0, double(NAN), std::numeric_limits<double>::infinity()}) {
    Curvature curvature = fragments(3, lambda);
    const Status refused = curvature.accept(lanes_);
    ASSERT_FALSE(refused) << lambda;
    EXPECT_THAT(refused.error().message, HasSubstr("damping"));
    EXPECT_FALSE(curvature.ready());
  }
}

TEST_P(CurvatureTest, MatrixThatIsNotPositiveDefiniteIsRefused) {
  // All samples alike: U^T U has rank 1, and a lambda below its rounding errors does not repair it.
  Curvature curvature = accepted();
  const Digest before = curvature.digest();
  const std::size_t per_sample = sample_size(problem_.block, GetParam().representation).total();
  std::vector<float> same(std::size_t(kPerMicro) * per_sample, 0.7f);
  for (float& value : same) value = 0.7f;
  curvature.begin_refresh(100, 1e-30);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro) ASSERT_TRUE(curvature.add_fragment(micro, same));
  const Status refused = curvature.accept(lanes_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("not positive definite"));
  EXPECT_EQ(curvature.digest(), before);
}

TEST_P(CurvatureTest, BackupFormedLateEqualsTheOwner) {
  Curvature owner = accepted();
  Curvature backup = fragments(7, 0.5, {5, 3, 0, 1, 4, 2});
  ASSERT_TRUE(backup.accept_unformed(lanes_));
  EXPECT_TRUE(backup.ready());
  EXPECT_EQ(backup.digest(), owner.digest());
  EXPECT_EQ(backup.values(), owner.values());
  EXPECT_LT(backup.bytes(), owner.bytes());
  std::vector<float> d_owner(problem_.g.size()), d_backup(problem_.g.size(), NAN);
  Lanes other(3);
  const double inner_owner = owner.precondition(problem_.g, d_owner, 1, lanes_);
  const double inner_backup = backup.precondition(problem_.g, d_backup, 1, other);
  EXPECT_EQ(d_owner, d_backup);
  EXPECT_EQ(inner_owner, inner_backup);
  EXPECT_EQ(backup.bytes(), owner.bytes());
}

TEST_P(CurvatureTest, BackupThatCannotBeFormedFallsBack) {
  Curvature backup(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  const std::size_t per_sample = sample_size(problem_.block, GetParam().representation).total();
  const std::vector<float> same(std::size_t(kPerMicro) * per_sample, 0.7f);
  backup.begin_refresh(100, 1e-30);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro) ASSERT_TRUE(backup.add_fragment(micro, same));
  ASSERT_TRUE(backup.accept_unformed(lanes_));
  EXPECT_EQ(direction(backup, 2), scaled_gradient(2));
  EXPECT_FALSE(backup.ready());
}

TEST_P(CurvatureTest, RestoreGivesTheSameCurvature) {
  Curvature original = accepted(41, 0.37);
  const std::vector<float> values = original.values();
  Curvature restored(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  ASSERT_TRUE(restored.restore(original.step(), original.lambda(), values, lanes_));
  EXPECT_EQ(restored.step(), 41u);
  EXPECT_EQ(restored.lambda(), 0.37);
  EXPECT_EQ(restored.digest(), original.digest());
  EXPECT_EQ(restored.values(), values);
  EXPECT_EQ(direction(restored), direction(original));
  EXPECT_EQ(restored.bytes(), original.bytes());
}

TEST_P(CurvatureTest, RestoreRefusesWhatIsWrongAndKeepsTheOld) {
  Curvature curvature = accepted();
  const Digest before = curvature.digest();
  std::vector<float> values = curvature.values();
  const Status small = curvature.restore(9, 0.5, std::span(values).first(values.size() - 1), lanes_);
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(curvature.restore(9, 0.5, {}, lanes_));
  EXPECT_FALSE(curvature.restore(9, -0.5, values, lanes_));
  values[random_() % values.size()] = NAN;
  EXPECT_FALSE(curvature.restore(9, 0.5, values, lanes_));
  EXPECT_EQ(curvature.digest(), before);
}

TEST_P(CurvatureTest, DigestIsOverStepDampingAndValues) {
  Curvature base = accepted(7, 0.5);
  EXPECT_NE(accepted(8, 0.5).digest(), base.digest());
  EXPECT_NE(accepted(7, 0.25).digest(), base.digest());
  std::vector<float> values = base.values();
  values.back() = std::nextafter(values.back(), 1e9f);
  Curvature changed(
      problem_.block,
      {.micro_batches = kMicros, .samples_per_micro = kPerMicro, .form = GetParam().representation});
  ASSERT_TRUE(changed.restore(7, 0.5, values, lanes_));
  EXPECT_NE(changed.digest(), base.digest());

  const std::uint64_t step = 7;
  const double lambda = 0.5;
  Sha256 hash;
  hash.update(&step, 8);
  hash.update(&lambda, 8);
  hash.update(base.values().data(), base.values().size() * 4);
  EXPECT_EQ(base.digest(), hash.finish());
}

TEST_P(CurvatureTest, BytesAreTheOnesPromised) {
  EXPECT_EQ(accepted().bytes(), curvature_bytes(problem_.block, GetParam().representation, kSamples));
}

TEST_P(CurvatureTest, MovesKeepIt) {
  Curvature curvature = accepted();
  const std::vector<float> d = direction(curvature);
  Curvature moved = std::move(curvature);
  EXPECT_EQ(direction(moved), d);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, CurvatureTest,
    ::testing::Values(Kind{"convolution_explicit", convolution_block({2, 4, 6, 5, 3, 3, 1, 1, true}),
                           Representation::kExplicit},
                      Kind{"convolution_implicit", convolution_block({2, 4, 6, 5, 3, 3, 1, 1, true}),
                           Representation::kImplicit},
                      Kind{"convolution_pairs", convolution_block({6, 8, 3, 3, 3, 3, 2, 1, false}),
                           Representation::kImplicit},
                      Kind{"linear_explicit", testing::linear_block(30, 7, true), Representation::kExplicit},
                      Kind{"linear_implicit", testing::linear_block(30, 7, true), Representation::kImplicit},
                      Kind{"batch_norm", testing::batch_norm_block(17, 9), Representation::kExplicit}),
    [](const auto& test) { return test.param.name; });

TEST(ScaledCurvatureTest, DividesByOnePlusDampingAndKeepsNothing) {
  std::mt19937_64 random(testing::fresh_seed());
  const Block block = testing::batch_norm_block(13, 4);
  const std::vector<float> g = testing::random_floats(random, block.count);
  Curvature curvature(block, {4, 2, Representation::kScale});
  Lanes lanes(1);
  EXPECT_FALSE(curvature.complete());
  curvature.begin_refresh(5, 0.25);
  EXPECT_TRUE(curvature.complete());
  EXPECT_TRUE(curvature.add_fragment(3, {}));
  EXPECT_FALSE(curvature.add_fragment(3, g));
  ASSERT_TRUE(curvature.accept(lanes));
  std::vector<float> d(g.size(), NAN);
  const double inner = curvature.precondition(g, d, 99, lanes);
  for (std::size_t j = 0; j < g.size(); ++j) EXPECT_EQ(d[j], g[j] * 0.8f);
  EXPECT_FALSE(!(std::abs(inner - 0.8 * std::pow(testing::norm(g), 2)) <= 1e-6 * inner));
  EXPECT_TRUE(curvature.values().empty());
  EXPECT_EQ(curvature.bytes(), 0u);
  EXPECT_EQ(curvature_bytes(block, Representation::kScale, 8), 0u);
  EXPECT_EQ(fragment_shape(block, Representation::kScale, 2).floats, 0u);

  Curvature backup(block, {4, 2, Representation::kScale}), restored(block, {4, 2, Representation::kScale});
  backup.begin_refresh(5, 0.25);
  ASSERT_TRUE(backup.accept_unformed(lanes));
  EXPECT_EQ(backup.digest(), curvature.digest());
  ASSERT_TRUE(restored.restore(5, 0.25, {}, lanes));
  EXPECT_EQ(restored.digest(), curvature.digest());
  EXPECT_EQ(restored.precondition(g, d, 99, lanes), inner);
}

}  // namespace
}  // namespace seng::curvature_test
