// Bytes sent per ordinary step: those of a reduce-scatter and an all-gather of the gradient, and little more.
#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include "tests/support/cluster.h"

namespace seng::testing {
namespace {

class TrafficOfAStep : public ::testing::TestWithParam<int> {};

// Every actor sends its sums of the blocks that others own, and the directions of its own to all: over the M
// actors together 2 (M-1) P floats. One actor's share depends on which blocks it owns, so the mean is what is
// bounded.
TEST_P(TrafficOfAStep, IsThatOfAFirstOrderStep) {
  const int actors = GetParam();
  Cluster cluster(actors);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;
  job.steps = 6;
  job.actors = actors;
  job.optimizer = "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 3, samples: 16}}";
  const auto result = cluster.train(to_text(job));
  ASSERT_TRUE(result.is_object()) << cluster.last().err;
  const std::string id = result.at("id").dump();

  // The job ends with its leader's word; the others' last reports come with their exits.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto parted = [&] {
    const auto all = nlohmann::json::parse(cluster.ctl({"events", id, "-o", "json"}).out);
    return std::ranges::count_if(all.at("events"),
                                 [](const auto& e) { return e.at("kind") == "ActorExited"; });
  };
  while (parted() < actors) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  const RunResult described = cluster.ctl({"describe", id, "-o", "json"});
  ASSERT_EQ(described.exit_code, 0) << described.err;
  double sent = 0, fragments = 0;
  const auto description = nlohmann::json::parse(described.out);
  ASSERT_EQ(description.at("actors").size(), static_cast<std::size_t>(actors));
  for (const auto& actor : description.at("actors")) {
    sent += actor.at("bytes_sent").get<double>();
    fragments += actor.at("fragment_bytes_sent").get<double>();
  }
  constexpr double kParameters = 421738;
  const double model = 2.0 * (actors - 1) / actors * kParameters * 4;
  EXPECT_LE(sent / actors / job.steps, model * 1.03);
  EXPECT_GE(sent / actors / job.steps, model);
  EXPECT_GT(fragments, 0);

  const RunResult said = cluster.ctl({"metrics", id, "-o", "json"});
  ASSERT_EQ(said.exit_code, 0) << said.err;
  int ordinary = 0;
  const auto metrics = nlohmann::json::parse(said.out);
  for (const auto& step : metrics.at("steps")) {
    if (step.at("refreshed").get<bool>()) continue;
    ++ordinary;
    EXPECT_GT(step.at("bytes_sent").get<double>(), 0);
    EXPECT_EQ(step.at("fragment_bytes_sent").get<double>(), 0);
  }
  EXPECT_EQ(ordinary, 4);
  EXPECT_TRUE(cluster.stop().empty());
}

INSTANTIATE_TEST_SUITE_P(Actors, TrafficOfAStep, ::testing::Values(2, 4));

}  // namespace
}  // namespace seng::testing
