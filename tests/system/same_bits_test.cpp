// The state after k steps is the same for any number of actors and lanes.
#include <set>

#include <gtest/gtest.h>

#include "tests/support/cluster.h"

namespace seng::testing {
namespace {

struct Case {
  const char* name;
  JobText job;
};

JobText lenet(const char* optimizer, int global, int micro) {
  JobText job;
  job.optimizer = optimizer;
  job.global = global;
  job.micro = micro;
  job.steps = 5;
  return job;
}

JobText resnet(const char* optimizer) {
  JobText job;
  job.model = "{name: resnet18}";
  job.data = "{name: synthetic, train: 64, test: 16, channels: 3, height: 32, width: 32, classes: 10}";
  job.optimizer = optimizer;
  job.global = 16;
  job.micro = 2;
  job.steps = 3;
  return job;
}

constexpr const char* kSgd = "{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005}";
constexpr const char* kSeng =
    "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
    "curvature: {every: 2, samples: 16}}";
constexpr const char* kSengScale =
    "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 3, samples: 7, batch_norm: scale}}";
constexpr const char* kSengApproximate =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 32, "
    "representation: implicit, rank: 3, sketch: countsketch, sketch_rows: 500, product: countsketch, "
    "product_buckets: 20, mode: local, workers: 4}}";

constexpr const char* kLars = "{name: lars, lr: 2, momentum: 0.9, nesterov: true, weight_decay: 0.0005}";

class SameBits : public ::testing::TestWithParam<Case> {};

TEST_P(SameBits, ForAnyNumberOfActorsAndLanes) {
  Cluster cluster(5);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  constexpr std::pair<int, int> kShapes[] = {{1, 1}, {1, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}};
  std::string expected_state, expected_weights;
  double expected_loss = 0;
  for (const auto& [actors, lanes] : kShapes) {
    JobText job = GetParam().job;
    job.actors = actors;
    job.lanes = lanes;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    EXPECT_EQ(result.value("actors", 0), actors);
    EXPECT_EQ(result.value("steps", 0), job.steps);
    const std::string state = result.value("state_sha256", ""), weights = result.value("weights_sha256", "");
    ASSERT_EQ(state.size(), 64u);
    ASSERT_NE(state, weights);
    if (expected_state.empty()) {
      expected_state = state;
      expected_weights = weights;
      expected_loss = result.value("train_loss", -1.0);
      continue;
    }
    EXPECT_EQ(state, expected_state) << actors << " actors x " << lanes << " lanes";
    EXPECT_EQ(weights, expected_weights) << actors << " actors x " << lanes << " lanes";
    EXPECT_EQ(result.value("train_loss", -2.0), expected_loss);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

INSTANTIATE_TEST_SUITE_P(Jobs, SameBits,
                         ::testing::Values(Case{"LenetSgd", lenet(kSgd, 64, 8)},
                                           Case{"LenetSeng", lenet(kSeng, 64, 8)},
                                           Case{"LenetSengSevenMicroBatches", lenet(kSengScale, 35, 5)},
                                           Case{"LenetLars", lenet(kLars, 64, 8)},
                                           Case{"LenetSengApproximate", lenet(kSengApproximate, 64, 8)},
                                           Case{"Resnet18Sgd", resnet(kSgd)},
                                           Case{"Resnet18Seng", resnet(kSeng)}),
                         [](const auto& info) { return info.param.name; });

// What the hashes above would not notice if they were constant: another seed, another state.
TEST(SameBitsControl, AnotherSeedGivesAnotherState) {
  Cluster cluster(1);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::set<std::string> states;
  for (const char* seed : {"seed=0", "seed=1", "optimizer.lr.initial=0.04"}) {
    const auto result = cluster.train(to_text(lenet(kSgd, 64, 8)), {seed});
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    states.insert(result.value("state_sha256", ""));
  }
  EXPECT_EQ(states.size(), 3u);
}

}  // namespace
}  // namespace seng::testing
