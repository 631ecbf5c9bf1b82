// The state after k steps is the same for any number of actors and lanes.
#include <algorithm>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "protocol/spec/spec_fields.h"
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

constexpr const char* kSgd =
    "{name: sgd, lr: {schedule: cosine, initial: 0.05, final: 0.01, warmup_epochs: 0.3}, momentum: 0.8, "
    "weight_decay: 0.0005}";
constexpr const char* kSeng =
    "{name: seng, lr: {schedule: poly, initial: 0.05, exponent: 2, end_epochs: 2}, momentum: 0.9, "
    "weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16}}";
constexpr const char* kSengScale =
    "{name: seng, lr: {schedule: exp, initial: 0.05, exponent: 3}, damping: {initial: 0.5, decay: 0.8, "
    "every_epochs: 0.2}, curvature: {every: 3, samples: 7, batch_norm: scale}}";
constexpr const char* kSengApproximate =
    "{name: seng, lr: {schedule: step, initial: 0.05, milestones: [0.3], gamma: 0.2}, damping: 0.5, "
    "trust_region: 0.01, curvature: {every: 2, samples: 32, representation: implicit, rank: 3, sketch: "
    "countsketch, sketch_rows: 500, product: countsketch, product_buckets: 20, mode: local, workers: 4}}";
// The ranks are decided when the job is submitted.
constexpr const char* kSengDecided =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16, rank: auto, "
    "rank_energy: 0.8, rank_max: 5, rank_method: svd, sketch: rows, sketch_rows: 70, product: authors, "
    "memory_mib: 1, fragment_dtype: bf16}}";
constexpr const char* kSengExplicit =
    "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 16, representation: explicit, "
    "sketch: rows, sketch_rows: 70}}";

constexpr const char* kSengNarrow =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16, dtype: "
    "bf16, "
    "fragment_dtype: bf16}}";

constexpr const char* kSengNarrowCut =
    "{name: seng, lr: 0.05, damping: 0.5, trust_region: 0.01, curvature: {every: 2, samples: 16, "
    "representation: implicit, rank: 3, sketch: rows, sketch_rows: 70, overlap: true, dtype: bf16}}";

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
    "{name: seng, lr: 0.05, damping: {initial: 0.5, adaptive: {every: 2, factor: 3, min: 0.2, max: 1}}, "
    "curvature: {every: 2, samples: 16}}";
constexpr const char* kLars =
    "{name: lars, lr: 2, momentum: 0.9, nesterov: true, weight_decay: 0.0005, trust_coefficient: 0.002}";

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

JobText small(const char* optimizer, const char* extra) {
  JobText job = small(optimizer);
  job.extra = extra;
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

constexpr const char* kAgain = "engine.checkpoint_activations=";

// Dropped and made again, activations are what they were.
TEST(SameBitsOfMemory, WithActivationsMadeAgain) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::set<std::string> weights;
  for (const char* again : {"false", "true"}) {
    JobText job = resnet(kSeng);
    job.actors = 2;
    const auto result = cluster.train(to_text(job), {kAgain + std::string(again)});
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    weights.insert(result.value("state_sha256", ""));
  }
  EXPECT_EQ(weights.size(), 1u);
}

// Pictures in files, a network written in the job, every operation of augmentation.
JobText pictures(const std::string& folder) {
  JobText job;
  job.model =
      "{layers: [{name: conv, type: conv2d, channels: 8, padding: 1}, {name: bn, type: batch_norm}, "
      "{name: relu, type: relu}, {name: pool, type: max_pool}, {name: flat, type: flatten}, "
      "{name: fc, type: linear, features: 2}]}";
  job.data = "{name: imagefolder, root: " + folder + ", size: 12, broken: skip, cache: " + folder +
             "/cache, workers: 1, prefetch: 2, augment: {resized_crop: 0.3, flip: true, color_jitter: "
             "{brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1}, cutout: 4, mixup: 0.4}}";
  job.optimizer = "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 8}}";
  job.global = 16;
  job.micro = 4;
  job.steps = 4;
  return job;
}

// Over an epoch's border. Of the damaged pictures one has not even a whole header.
TEST(SameBitsOfPictures, WithAugmentation) {
  TempDir folder;
  write_image_folder(folder.path(), "test", {"ant", "bee"}, 12, 20, 16);
  for (const auto& [name, bytes] : {std::pair{"/train/ant/10.jpg", 90}, {"/train/bee/14.jpg", 400}}) {
    ASSERT_GT(std::filesystem::file_size(folder.path() + name), bytes);
    std::filesystem::resize_file(folder.path() + name, bytes);
  }
  expect_same_bits(pictures(folder.path()), {{1, 1}, {2, 1}, {3, 2}});
}

const std::vector<Case>& table() {
  static const std::vector<Case> cases = {
      {"LenetSgd", lenet(kSgd, 64, 8)},
      {"LenetSeng", lenet(kSeng, 64, 8)},
      {"LenetSengSevenMicroBatches", lenet(kSengScale, 35, 5)},
      {"LenetSengAugmented", augmented_lenet()},
      {"LenetLars", lenet(kLars, 64, 8)},
      {"LenetSengApproximate", lenet(kSengApproximate, 64, 8)},
      {"LenetSengNarrow", lenet(kSengNarrow, 64, 8)},
      {"LenetSengLater", lenet(kSengLater, 64, 8)},
      {"SmallSengDecided", small(kSengDecided, "seed: 7\nengine: {convolution: direct}\n")},
      {"SmallSengExplicit", small(kSengExplicit, "loss: {label_smoothing: 0.1}\n")},
      {"SmallSengNarrowCut", small(kSengNarrowCut)},
      {"SmallSengAdaptive", small(kSengAdaptive)},
      {"SmallKfac", small(kKfac)},
      {"Resnet18Sgd", resnet(kSgd)},
      {"Resnet18Seng", resnet(kSeng)}};
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Jobs, SameBits, ::testing::ValuesIn(table()),
                         [](const auto& info) { return info.param.name; });

// Keys that say where a job runs, how long, what it writes down and what becomes of it; and some that need
// GPUs: gpu_test.cpp and nccl_test.cpp have them.
bool is_left_out(std::string_view path) {
  for (const std::string_view each :
       {"name", "data.root", "epochs", "optimizer.curvature.ranks", "actors", "restart", "priority",
        "allow_mixed_devices", "checkpoint", "evaluate", "ledger", "on_divergence", "initial", "exchange",
        "engine.precision", "engine.loss_scale", "engine.tune", "engine.choices", "engine.graphs"})
    if (path == each || (path.starts_with(each) && path[each.size()] == '.')) return true;
  return false;
}

// A key that is added has to be in one of the jobs, with every word that it takes.
TEST(SameBitsTable, HasEveryOption) {
  std::vector<JobSpec> specs;
  const auto add = [&](const JobText& job, const std::vector<std::string>& sets = {}) {
    const auto spec = parse_job_spec(to_text(job), "job", sets);
    ASSERT_TRUE(spec) << spec.error().message;
    specs.push_back(*spec);
  };
  for (const Case& each : table()) add(each.job);
  add(pictures("/pictures"));
  add(resnet(kSeng), {std::string(kAgain) + "true"});
  const JobSpec usual;
  for (const SpecField& field : spec_fields()) {
    if (is_left_out(field.path)) continue;
    if (const auto* choice = std::get_if<ChoiceField>(&field.type)) {
      std::set<std::string> missing(choice->words.begin(), choice->words.end());
      for (JobSpec& spec : specs) missing.erase(choice->at(spec));
      EXPECT_TRUE(missing.empty()) << field.path << ": " << *missing.begin();
      continue;
    }
    bool set = false;
    for (const JobSpec& spec : specs)
      for (const std::string& each : differences(spec, usual))
        set |= each.starts_with(std::string(field.path) + ":");
    EXPECT_TRUE(set) << field.path;
  }
  const auto decided = [](const JobSpec& spec) {
    return spec.optimizer.curvature.rank == CurvatureSpec::kRankAuto;
  };
  EXPECT_TRUE(std::any_of(specs.begin(), specs.end(), decided));
}

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
