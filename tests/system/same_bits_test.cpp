// The state after k steps is the same for any number of actors and lanes.
#include <set>

#include <gtest/gtest.h>

#include "tests/support/cluster.h"
#include "tests/support/pictures.h"

namespace seng::testing::same_bits_test {
namespace {

struct Case {
  const char* name;
  JobText job;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
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

constexpr const char* kSengNarrow =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16, dtype: "
    "bf16, "
    "fragment_dtype: bf16}}";

constexpr const char* kSengLater =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16, overlap: "
    "true}}";

// The convolutions' fragments are sums, the linear layers' raw.
constexpr const char* kKfac =
    "{name: kfac, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: {initial: 0.01, adaptive: {every: "
    "2}}, "
    "trust_region: 0.01, "
    "curvature: {every: 1, samples: 16, decay: 0.8, inverse_every: 2}}";
constexpr const char* kSengAdaptive =
    "{name: seng, lr: 0.05, damping: {initial: 0.5, adaptive: {every: 2, factor: 3}}, curvature: {every: 2, "
    "samples: 16}}";
constexpr const char* kLars = "{name: lars, lr: 2, momentum: 0.9, nesterov: true, weight_decay: 0.0005}";

// LeNet's first linear layer is too wide for a test of eigendecompositions.
JobText small(const char* optimizer) {
  JobText job = lenet(optimizer, 64, 8);
  job.model =
      "{layers: [{name: conv1, type: conv2d, channels: 8, stride: 2, padding: 1}, {name: bn, type: "
      "batch_norm}, "
      "{name: relu, type: relu}, {name: conv2, type: conv2d, channels: 12, stride: 2, padding: 1, bias: "
      "false}, "
      "{name: pool, type: max_pool}, {name: flat, type: flatten}, {name: drop, type: dropout}, "
      "{name: fc1, type: linear, features: 20}, {name: relu2, type: relu}, {name: fc2, type: linear, "
      "features: 10}]}";
  return job;
}

JobText augmented_lenet() {
  JobText job = lenet(kSeng, 64, 8);
  job.data =
      "{name: fashion-mnist, train_limit: 200, test_limit: 16, augment: {pad_crop: 2, flip: true, cutout: 6, "
      "mixup: 0.2, color_jitter: {brightness: 0.3}}}";
  return job;
}

void expect_same_bits(const JobText& given, std::initializer_list<std::pair<int, int>> shapes) {
  Cluster cluster(5);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::string expected_state, expected_weights;
  double expected_loss = 0;
  for (const auto& [actors, lanes] : shapes) {
    JobText job = given;
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
    // The daemon has it of the steps or of the leader's report, whichever comes last: the same but for
    // rounding.
    EXPECT_DOUBLE_EQ(result.value("train_loss", -2.0), expected_loss);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

class SameBits : public ::testing::TestWithParam<Case> {};

TEST_P(SameBits, ForAnyNumberOfActorsAndLanes) {
  expect_same_bits(GetParam().job, {{1, 1}, {1, 2}, {2, 1}, {3, 1}, {4, 1}, {5, 1}});
}

// Dropped and made again, activations are what they were.
TEST(SameBitsOfMemory, WithActivationsMadeAgain) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::set<std::string> weights;
  for (const char* again : {"false", "true"}) {
    JobText job = resnet(kSeng);
    job.actors = 2;
    const auto result = cluster.train(to_text(job), {std::string("engine.checkpoint_activations=") + again});
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    weights.insert(result.value("state_sha256", ""));
  }
  EXPECT_EQ(weights.size(), 1u);
}

// Pictures in files, a network written in the job, every operation of augmentation; over an epoch's border.
TEST(SameBitsOfPictures, WithAugmentation) {
  TempDir pictures;
  write_image_folder(pictures.path(), "test", {"ant", "bee"}, 12, 20, 16);
  JobText job;
  job.model =
      "{layers: [{name: conv, type: conv2d, channels: 8, padding: 1}, {name: bn, type: batch_norm}, "
      "{name: relu, type: relu}, {name: pool, type: max_pool}, {name: flat, type: flatten}, "
      "{name: fc, type: linear, features: 2}]}";
  job.data = "{name: imagefolder, root: " + pictures.path() + ", size: 12, cache: " + pictures.path() +
             "/cache, workers: 1, augment: {resized_crop: 0.3, flip: true, color_jitter: {brightness: 0.4, "
             "contrast: 0.4, saturation: 0.4, hue: 0.1}, cutout: 4, mixup: 0.4}}";
  job.optimizer = "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 8}}";
  job.global = 16;
  job.micro = 4;
  job.steps = 4;
  expect_same_bits(job, {{1, 1}, {2, 1}, {3, 2}});
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, SameBits,
    ::testing::Values(Case{"LenetSgd", lenet(kSgd, 64, 8)}, Case{"LenetSeng", lenet(kSeng, 64, 8)},
                      Case{"LenetSengSevenMicroBatches", lenet(kSengScale, 35, 5)},
                      Case{"LenetSengAugmented", augmented_lenet()}, Case{"LenetLars", lenet(kLars, 64, 8)},
                      Case{"LenetSengApproximate", lenet(kSengApproximate, 64, 8)},
                      Case{"LenetSengNarrow", lenet(kSengNarrow, 64, 8)},
                      Case{"LenetSengLater", lenet(kSengLater, 64, 8)},
                      Case{"SmallSengAdaptive", small(kSengAdaptive)}, Case{"SmallKfac", small(kKfac)},
                      Case{"Resnet18Sgd", resnet(kSgd)}, Case{"Resnet18Seng", resnet(kSeng)}),
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
}  // namespace seng::testing::same_bits_test
