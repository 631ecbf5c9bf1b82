// State that stays on a GPU: each operation bit for bit what the host's code makes of the same numbers.
#include "actors/engine/resident.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "actors/engine/linalg.h"
#include "actors/optim/sketch.h"
#include "actors/optim/update.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::resident_test {
namespace {

using testing::Machine;
using testing::normal;
using testing::Values;

// Blocks of several runs, of parts of one, of fewer than a vector register holds.
const std::vector<std::size_t> kCounts = {3, 16, 17, 64, 79, 80, 4095, 4096, 4097, 8300, 70'001};

class Resident : public ::testing::Test {
 protected:
  void SetUp() override {
    SENG_REQUIRE_CUDA(Arithmetic::kF32);
    machine_ = std::make_unique<Machine>(*make_backend(Device::kCuda));
    for (const std::size_t count : kCounts) {
      plan_.blocks.push_back({.count = count,
                              .statistics_count = count % 5,
                              .gradient = plan_.gradients,
                              .offset = parameters_,
                              .statistics_offset = statistics_});
      plan_.gradients += (count + 63) / 64 * 64;
      parameters_ += count;
      statistics_ += count % 5;
    }
    plan_.floats = plan_.gradients;
    for (ResidentBlock& block : plan_.blocks) {
      block.statistics = plan_.floats;
      plan_.floats += 64;
    }
    state_ = machine_->backend().plan_resident_state(plan_);
    ASSERT_NE(state_, nullptr);
    vectors_ = state_->plan_vectors(plan_);
    weights_ = numbers(parameters_);
    momentum_ = numbers(parameters_);
    running_ = numbers(statistics_);
    state_->put(weights_, momentum_, running_);
  }
  // Of what comes to the test zeros of both signs, and numbers next to nothing, are a part.
  Values numbers(std::size_t count) {
    Values values = normal(random_, count);
    for (std::size_t i = 0; i < count; i += 7) values[i] = i % 2 == 0 ? -0.0f : 1e-41f * values[i];
    return values;
  }
  static std::vector<std::uint32_t> bits(const Values& values) {
    std::vector<std::uint32_t> words(values.size());
    std::memcpy(words.data(), values.data(), values.size() * sizeof(float));
    return words;
  }
  void get(Values& weights, Values& momentum, Values& running) {
    weights.resize(parameters_), momentum.resize(parameters_), running.resize(statistics_);
    state_->get(weights, momentum, running);
  }

  // What is there is what the test's own have come to.
  void expect_there() {
    Values weights, momentum, running;
    get(weights, momentum, running);
    EXPECT_EQ(bits(weights), bits(weights_));
    EXPECT_EQ(bits(momentum), bits(momentum_));
    EXPECT_EQ(bits(running), bits(running_));
  }

  Random random_{std::random_device()(), RandomPurpose::kSynthetic};
  std::unique_ptr<Machine> machine_;
  ResidentPlan plan_;
  std::size_t parameters_ = 0, statistics_ = 0;
  std::unique_ptr<ResidentState> state_;
  std::unique_ptr<ResidentVectors> vectors_;
  Values weights_, momentum_, running_;
};

TEST_F(Resident, GoesThereAndBack) {
  expect_there();
}

TEST_F(Resident, DotsAreThoseOfTheHost) {
  const Values g = normal(random_, plan_.floats), d = normal(random_, plan_.floats, 0.3f);
  std::span<const DotParts> parts = vectors_->dots(machine_->put(g), machine_->put(d));
  for (const ResidentBlock& block : plan_.blocks) {
    const float *a = g.data() + block.gradient, *b = d.data() + block.gradient;
    double gd = 0, gg = 0, dd = 0;
    for (std::size_t at = 0; at < block.count; at += kDotFloats) {
      ASSERT_FALSE(parts.empty());
      gd += parts.front().gd, gg += parts.front().gg, dd += parts.front().dd;
      parts = parts.subspan(1);
    }
    EXPECT_EQ(gd, dot(a, b, block.count)) << block.count;
    EXPECT_EQ(gg, dot(a, a, block.count)) << block.count;
    EXPECT_EQ(dd, dot(b, b, block.count)) << block.count;
  }
  EXPECT_TRUE(parts.empty());
}

TEST_F(Resident, AStepIsTheHosts) {
  for (const bool nesterov : {false, true}) {
    Values vector = numbers(plan_.floats), direction = numbers(plan_.floats);
    float *means = machine_->put(vector), *d = machine_->put(direction);
    state_->divide(means, 42, 7);
    const Values divided = machine_->get(means, plan_.floats);
    for (std::size_t i = 0; i < vector.size(); ++i) vector[i] /= i < plan_.gradients ? 42.0f : 7.0f;
    EXPECT_EQ(bits(divided), bits(vector));
    const UpdateCoefficients by{
        .lr = 0.05f, .momentum = 0.9f, .weight_decay = 0.001f, .scale = 0.7f, .nesterov = nesterov};
    vectors_->update(by, d, means);
    for (const ResidentBlock& block : plan_.blocks) {
      momentum_update(by, std::span(direction).subspan(block.gradient, block.count),
                      std::span(momentum_).subspan(block.offset, block.count),
                      std::span(weights_).subspan(block.offset, block.count));
      for (std::size_t i = 0; i < block.statistics_count; ++i) {
        float& running = running_[block.statistics_offset + i];
        running = 0.9f * running + 0.1f * vector[block.statistics + i];
      }
    }
    expect_there();
  }
}

TEST_F(Resident, WhatIsNotFiniteIsFoundWhereItCounts) {
  const Values good = normal(random_, plan_.floats);
  const auto finite = [&](const Values& directions, const Values& means) {
    return vectors_->finite(machine_->put(directions), machine_->put(means));
  };
  EXPECT_TRUE(finite(good, good));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (const ResidentBlock& block : plan_.blocks) {
      for (const std::size_t at : {std::size_t{0}, block.count / 2, block.count - 1}) {
        Values directions = good;
        directions[block.gradient + at] = bad;
        EXPECT_FALSE(finite(directions, good)) << block.count << " at " << at;
      }
      if (block.statistics_count == 0) continue;
      Values means = good;
      means[block.statistics + block.statistics_count - 1] = bad;
      EXPECT_FALSE(finite(good, means)) << block.count;
    }
    // Between blocks lies nothing of theirs.
    Values padded = good;
    padded[plan_.blocks[0].count] = bad;
    EXPECT_TRUE(finite(padded, padded));
  }
}

// Omega_m [G g] Omega_n^T as the host has it, and as the device does.
TEST(SketchesOnCuda, HaveTheBitsOfTheHost) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  Machine machine(*make_backend(Device::kCuda)), host(*make_backend(Device::kCpu));
  Random random{std::random_device()(), RandomPurpose::kSynthetic};
  constexpr std::size_t kM = 13, kColumns = 37, kWidth = kColumns + 1;
  for (const SketchKind kind : {SketchKind::kRows, SketchKind::kCountSketch}) {
    for (const auto& [rows, columns] : {std::pair{5, 9}, {13, 9}, {5, 38}, {1, 1}, {20, 50}}) {
      const Sketch left(kind, std::size_t(rows), kM, random),
          right(kind, std::size_t(columns), kWidth, random);
      const Values g = normal(random, kM * kWidth);
      Values half(kM * right.rows()), expected(left.rows() * right.rows());
      for (std::size_t o = 0; o < kM; ++o) {
        Values row(g.begin() + std::ptrdiff_t(o * kColumns), g.begin() + std::ptrdiff_t((o + 1) * kColumns));
        row.push_back(g[kM * kColumns + o]);
        right.apply(row.data(), 1, half.data() + o * right.rows());
      }
      for (std::size_t j = 0; j < right.rows(); ++j) {
        Values column(left.rows());
        left.apply(half.data() + j, right.rows(), column.data());
        for (std::size_t l = 0; l < left.rows(); ++l) expected[l * right.rows() + j] = column[l];
      }
      const SketchPlan plan{.left = left.side(), .right = right.side(), .columns = kColumns};
      for (Machine* each : {&machine, &host}) {
        const auto sketch = each->backend().plan_sketch(plan);
        EXPECT_EQ(each->get(sketch->apply(each->put(g)), expected.size()), expected)
            << rows << " " << columns;
      }
    }
  }
}

}  // namespace
}  // namespace seng::resident_test
