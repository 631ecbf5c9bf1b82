#include "actors/plan.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {
namespace {

std::string job(const std::string& change_from = "", const std::string& change_to = "") {
  std::string text =
      "name: p\nmodel: {name: lenet}\n"
      "data: {name: synthetic, train: 1000, test: 10, channels: 1, height: 28, width: 28, classes: 10}\n"
      "batch: {global: 64, micro: 8}\nepochs: 2\n"
      "optimizer: {name: seng, lr: 0.05, curvature: {every: 3, samples: 16}}\n";
  if (const auto at = text.find(change_from); !change_from.empty() && at != std::string::npos)
    text.replace(at, change_from.size(), change_to);
  return text;
}

TEST(Plan, CountsWhatTheJobNeeds) {
  const PlanOutcome outcome = plan_job(job(), 2);
  ASSERT_TRUE(outcome.ok) << outcome.json;
  const auto plan = nlohmann::json::parse(outcome.json);
  EXPECT_EQ(plan["parameters"], 421738);
  EXPECT_EQ(plan["steps_total"], 32);  // 2 * 1000 / 64 = 31.25, rounded up
  EXPECT_EQ(plan["blocks"].size(), 6u);
  std::size_t parameters = 0;
  for (const auto& block : plan["blocks"]) parameters += block["parameters"].get<std::size_t>();
  EXPECT_EQ(parameters, 421738u);
  // 16 samples of the second convolution's 64 x 288 weights, and their system in double.
  EXPECT_EQ(plan["blocks"][2]["curvature_bytes"], 16 * 64 * 288 * 4 + 16 * 16 * 8);
  const auto& memory = plan["memory"];
  EXPECT_EQ(plan["memory_per_actor_bytes"].get<std::size_t>(),
            memory["replicas"].get<std::size_t>() + memory["state"].get<std::size_t>() +
                memory["curvature"].get<std::size_t>() + memory["checkpoint"].get<std::size_t>() +
                memory["joining"].get<std::size_t>() + memory["data"].get<std::size_t>());
  const auto& gpu = plan["gpu_memory"];
  EXPECT_EQ(plan["gpu_memory_per_actor_bytes"].get<std::size_t>(),
            gpu["replicas"].get<std::size_t>() + gpu["sums"].get<std::size_t>() +
                gpu["samples"].get<std::size_t>() + gpu["libraries"].get<std::size_t>());
  // And where each lane's next 8 images and their targets arrive.
  EXPECT_EQ(gpu["replicas"].get<std::size_t>(),
            memory["replicas"].get<std::size_t>() + 2 * 8 * (28 * 28 + 4) * 4);
  // Two lanes of four micro-batches each: a vector in hand and two sums.
  EXPECT_EQ(gpu["sums"], 2 * 3 * 4 * (421738 + plan["statistics"].get<int>()));
  EXPECT_EQ(memory["checkpoint"], (2 * 421738 + plan["statistics"].get<int>()) * 4);
  // A snapshot and the records of steps.
  EXPECT_GT(memory["joining"].get<std::size_t>(), 2u * 421738 * 4 + (255u << 20));
}

// What curvatures say that they hold once they are in force and formed: three times the samples while a
// refresh is open, and twice what is formed of them.
TEST(Plan, CountsTheCurvatureThatIsHeld) {
  for (const std::string extra : {"", ", sketch: rows, sketch_rows: 40", ", representation: implicit",
                                  ", representation: implicit, sketch: countsketch, sketch_rows: 60",
                                  ", rank: 2, sketch: rows, sketch_rows: 50"}) {
    SCOPED_TRACE(extra);
    const std::string text = job("samples: 16", "samples: 16" + extra);
    const PlanOutcome outcome = plan_job(text, 1);
    ASSERT_TRUE(outcome.ok) << outcome.json;
    const auto workload = load_workload(*parse_job_spec(text, "test"));
    ASSERT_TRUE(workload) << workload.error().message;
    Lanes lanes(1);
    std::size_t samples = 0, all = 0;
    const auto blocks = nlohmann::json::parse(outcome.json)["blocks"];
    for (std::uint32_t b = 0; b < workload->network.blocks().size(); ++b) {
      Curvature curvature = empty_curvature(*workload, b);
      const Curvature::Room room = curvature.begin_version(1, 0.5);
      float value = 0;
      for (const std::span<std::byte> half : {room.first, room.second}) {
        std::vector<float> values(half.size() / sizeof(float));
        for (float& each : values) each = 0.01f * std::sin(value += 1);
        if (!values.empty()) std::memcpy(half.data(), values.data(), half.size());
      }
      samples += room.first.size() + room.second.size();
      ASSERT_TRUE(curvature.finish_version());
      std::vector<float> g(workload->network.blocks()[b].count, 1), d(g.size());
      curvature.precondition(g, d, 0.5, lanes);
      EXPECT_EQ(blocks[b]["curvature_bytes"], curvature.bytes());
      all += curvature.bytes();
    }
    EXPECT_GT(all, samples);
    EXPECT_EQ(nlohmann::json::parse(outcome.json)["memory"]["curvature"].get<std::size_t>(),
              3 * samples + 2 * (all - samples));
  }
}

TEST(Plan, CountsWhatAGpuTakesToCutFactors) {
  const auto replicas = [](const std::string& method) {
    const std::string text =
        job("samples: 16", "samples: 16, representation: implicit, rank: 2, rank_method: " + method);
    const PlanOutcome outcome = plan_job(text, 2);
    EXPECT_TRUE(outcome.ok) << outcome.json;
    std::size_t floats = 0;
    const auto workload = load_workload(*parse_job_spec(text, "test"));
    for (std::size_t b = 0; b < workload->fragments.size(); ++b) {
      const FactorCut cut = factor_cuts(*workload)[b];
      if (cut.rank > 0)
        floats = std::max(floats, LowRankPlan::of(workload->network.blocks()[b], cut, 2).work_floats());
    }
    return std::pair(nlohmann::json::parse(outcome.json)["gpu_memory"]["replicas"].get<std::size_t>(),
                     floats);
  };
  const auto [cut, floats] = replicas("subspace");
  const auto [whole, none] = replicas("svd");  // the host's
  EXPECT_GT(floats, 2u * 2 * (64 + 288));      // more than what is handed over of the second convolution
  EXPECT_EQ(none, 0u);
  EXPECT_EQ(cut - whole, 2 * floats * sizeof(float));  // of two lanes
}

TEST(Plan, NarrowCurvatureTakesHalf) {
  const auto memory = [](const std::string& curvature) {
    const PlanOutcome outcome =
        plan_job(job("samples: 16", "samples: 16, representation: explicit" + curvature), 2);
    EXPECT_TRUE(outcome.ok) << outcome.json;
    return nlohmann::json::parse(outcome.json);
  };
  const auto wide = memory(""), kept = memory(", dtype: bf16"),
             both = memory(", dtype: bf16, fragment_dtype: bf16");
  EXPECT_EQ(kept["blocks"][2]["curvature_bytes"], 16 * 64 * 288 * 2 + 16 * 16 * 8);
  const auto curvature = [](const nlohmann::json& plan) { return plan["memory"]["curvature"].get<double>(); };
  const double systems = 2 * 6 * 16 * 16 * 8;  // of a refresh beside that before
  EXPECT_EQ(2 * (curvature(both) - systems), curvature(wide) - systems);
  EXPECT_LT(curvature(both), curvature(kept)) << "fragments that wait are as they travel";
  EXPECT_LT(curvature(kept), curvature(wide));
}

TEST(Plan, KfacKeepsFactorsAndDecompositions) {
  const std::string kfac =
      job("name: seng, lr: 0.05, curvature: {every: 3", "name: kfac, lr: 0.05, curvature: {inverse_every: 2");
  const PlanOutcome outcome = plan_job(kfac, 2);
  ASSERT_TRUE(outcome.ok) << outcome.json;
  const auto plan = nlohmann::json::parse(outcome.json);
  const auto& conv2 = plan["blocks"][2];
  EXPECT_EQ(conv2["representation"], "kronecker");
  // Two packed sets, eigenvectors and eigenvalues.
  EXPECT_EQ(conv2["curvature_bytes"], 2 * 4 * (288 * 289 / 2 + 64 * 65 / 2) + 4 * (288 * 289 + 64 * 65));
  EXPECT_EQ(plan["blocks"][1]["representation"], "explicit");
  EXPECT_GT(plan["memory"]["curvature"].get<std::size_t>(), std::size_t{3136} * 3136 * 4);
  const PlanOutcome refused = plan_job(
      job("name: seng, lr: 0.05, curvature: {", "name: kfac, lr: 0.05, curvature: {memory_mib: 10, "), 2);
  ASSERT_FALSE(refused.ok);
  EXPECT_NE(refused.json.find("allow more memory"), std::string::npos) << refused.json;
}

TEST(Plan, ShippedJobsAreRight) {
  int jobs = 0;
  for (const auto& file : std::filesystem::directory_iterator(SENG_SOURCE_DIR "/scripts/jobs")) {
    std::ifstream in(file.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto spec = parse_job_spec(text, file.path().filename());
    ASSERT_TRUE(spec) << spec.error().message;
    EXPECT_TRUE(notes_on(*spec).empty()) << file.path();
    ++jobs;
    if (spec->data_name != "fashion-mnist") continue;  // not every set is on every machine
    const PlanOutcome outcome = plan_job(to_yaml(*spec), 1);
    EXPECT_TRUE(outcome.ok) << file.path() << outcome.json;
  }
  EXPECT_GE(jobs, 5);
}

TEST(Plan, MoreLanesNeedMoreMemory) {
  const auto one = nlohmann::json::parse(plan_job(job(), 1).json);
  const auto four = nlohmann::json::parse(plan_job(job(), 4).json);
  EXPECT_EQ(four["memory"]["replicas"].get<std::size_t>(), 4 * one["memory"]["replicas"].get<std::size_t>());
}

TEST(Plan, RefusesWithTheReason) {
  struct Case {
    const char *from, *to, *said;
  };
  for (const Case& c : std::vector<Case>{{"lenet", "lennet", "lenet"},
                                         {"synthetic", "synthetik", "synthetic"},
                                         {"train: 1000", "trainn: 1000", "train"},
                                         {"train: 1000", "train: 50", "batch.global"},
                                         {"samples: 16", "samples: 15", "samples"},
                                         {"height: 28", "height: -28", "height"}}) {
    const PlanOutcome outcome = plan_job(job(c.from, c.to), 1);
    EXPECT_FALSE(outcome.ok) << c.to;
    const auto plan = nlohmann::json::parse(outcome.json);
    EXPECT_FALSE(plan["ok"].get<bool>());
    EXPECT_NE(plan["errors"].dump().find(c.said), std::string::npos) << outcome.json;
  }
}

TEST(Plan, RefusesAPathThatIsNoText) {
  const PlanOutcome outcome = plan_job(
      job("{name: synthetic, train: 1000, test: 10, channels: 1, height: 28, width: 28, classes: 10}",
          "{name: fashion-mnist, root: \"/nowhere/\xff\"}"),
      1);
  EXPECT_FALSE(outcome.ok);
  const auto plan = nlohmann::json::parse(outcome.json);
  EXPECT_FALSE(plan["ok"].get<bool>());
  EXPECT_NE(plan["errors"].dump().find("/nowhere/"), std::string::npos) << outcome.json;
}

// A network far above any memory is counted, not built.
TEST(Plan, EstimatesWhatDoesNotFit) {
  const PlanOutcome outcome = plan_job(job("lenet", "mlp, hidden: \"65536,65536\""), 1);
  ASSERT_TRUE(outcome.ok) << outcome.json;
  EXPECT_GT(nlohmann::json::parse(outcome.json)["memory_per_actor_bytes"].get<double>(),
            65536.0 * 65536.0 * 4);
}

TEST(Workload, KnowsItsCadence) {
  auto spec = parse_job_spec(job(), "test");
  ASSERT_TRUE(spec) << spec.error().message;
  const auto workload = load_workload(*spec);
  ASSERT_TRUE(workload) << workload.error().message;
  EXPECT_TRUE(workload->refreshes(1));
  EXPECT_FALSE(workload->refreshes(2));
  EXPECT_TRUE(workload->refreshes(4));
  EXPECT_FALSE(workload->ends_epoch(15));  // 960 samples
  EXPECT_TRUE(workload->ends_epoch(16));   // 1024
  EXPECT_TRUE(workload->ends_epoch(32));
  EXPECT_TRUE(workload->evaluates(16));
  EXPECT_FALSE(workload->evaluates(17));
  EXPECT_TRUE(workload->checkpoints(32));
  EXPECT_FALSE(workload->checkpoints(31));
}

}  // namespace
}  // namespace seng
