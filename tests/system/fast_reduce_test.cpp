// Jobs whose gradients NCCL adds (exchange.reduce: fast), over one that is none: what they still promise, and
// what they say that they do not.
#include <cmath>
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/system/emulated_nccl_job.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

const char* const kFast = "{path: nccl, reduce: fast}";

std::vector<double> losses(const Cluster& cluster, const std::string& job) {
  std::vector<double> out;
  const auto printed = nlohmann::json::parse(cluster.ctl({"metrics", job, "-o", "json"}).out);
  for (const auto& step : printed.at("steps")) out.push_back(step.at("loss"));
  return out;
}

// What all actors have sent, without fragments.
double bytes_sent(const Cluster& cluster, const std::string& job) {
  const auto described = nlohmann::json::parse(cluster.ctl({"describe", job, "-o", "json"}).out);
  double bytes = 0;
  for (const auto& actor : described.at("actors")) bytes += actor.at("bytes_sent").get<double>();
  return bytes;
}

TEST_F(OverEmulatedNccl, AFastJobTrainsAsAnOrderedOneWithinRounding) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::string ordered_state;
  std::vector<double> ordered;
  double bytes = 0;
  const auto run = [&](int actors, const std::string& exchange) {
    JobText job = small(exchange);
    job.actors = actors;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    const std::string id = std::to_string(result.value("id", 0));
    const std::vector<double> own = losses(cluster, id);
    ASSERT_EQ(own.size(), 6u);
    if (exchange == "nccl") ordered_state = result.value("state_sha256", ""), ordered = own;
    for (std::size_t i = 0; i < own.size(); ++i) EXPECT_NEAR(own[i], ordered[i], 1e-3 * ordered[i]);
    EXPECT_EQ(has_event(cluster, id, "not reproducible across group sizes"), exchange == kFast && actors > 1);
    EXPECT_EQ(result.value("state_sha256", "") == ordered_state, exchange == "nccl" || actors == 1);
    EXPECT_EQ(cluster.ctl({"describe", id}).out.find("note") != std::string::npos, exchange == kFast);
    bytes = bytes_sent(cluster, id);
  };
  run(3, "nccl");
  const double ordered_bytes = bytes;
  run(3, kFast);
  EXPECT_LT(bytes, ordered_bytes) << "8 micro-batches on 3 actors are no subtrees";
  run(1, kFast);
  // A state's bits are a fast job's or an ordered one's.
  const auto resumed = cluster.ctl({"submit", "--resume", "1", "--set", "exchange.reduce=fast"});
  EXPECT_NE(resumed.exit_code, 0);
  EXPECT_THAT(resumed.err, HasSubstr("exchange.reduce: ordered and fast"));
  EXPECT_TRUE(cluster.stop().empty());
}

// As a reduce-scatter and an all-gather, also where ranges are no subtrees: 2 (M-1)/M P * 4 bytes on average.
TEST_F(OverEmulatedNccl, AFastStepSendsWhatAFirstOrderStepSends) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;  // lenet
  job.data = "{name: synthetic, train: 16, test: 4, channels: 1, height: 28, width: 28, classes: 10}";
  job.global = 8;
  job.micro = 1;
  job.steps = 2;
  job.actors = 3;
  job.extra = std::string("exchange: ") + kFast + "\n";
  const auto result = cluster.train(to_text(job));
  ASSERT_TRUE(result.is_object()) << cluster.last().err;
  ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
  constexpr double kParameters = 421738;
  const double model = 2.0 * (job.actors - 1) / job.actors * kParameters * 4;
  const double mean = bytes_sent(cluster, "1") / job.actors / job.steps;
  EXPECT_GE(mean, model);
  EXPECT_LE(mean, model * 1.01);
  EXPECT_TRUE(cluster.stop().empty());
}

TEST_F(OverEmulatedNccl, AFastJobLosesNoStepWhenOneIsKilledAndOneHangs) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small(kFast);
  job.steps = 30;
  job.actors = 3;
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  ASSERT_TRUE(cluster.wait_until("1", [](const auto& now) { return now.value("steps", 0) >= 3; }));
  const auto actors = cluster.actors("1");
  ASSERT_EQ(actors.size(), 3u);
  const auto hanging = actors[2].at("pid").get<pid_t>();
  kill(hanging, SIGSTOP);  // it comes back as a newcomer, with steps that the others may have made again
  EXPECT_TRUE(cluster.wait_until(
      "1", [&](const auto&) { return has_event(cluster, "1", "the group goes on without it"); }));
  kill(hanging, SIGCONT);
  kill(actors[1].at("pid").get<pid_t>(), SIGKILL);
  const auto waited = cluster.ctl({"wait", "1"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err << cluster.ctl({"events", "1"}).out;
  EXPECT_EQ(cluster.status("1").value("state", ""), "succeeded");
  EXPECT_EQ(cluster.status("1").value("restarts", 0), 1);
  const std::vector<double> own = losses(cluster, "1");
  ASSERT_EQ(own.size(), 30u) << cluster.ctl({"metrics", "1", "-o", "json"}).out
                             << cluster.ctl({"events", "1"}).out;
  EXPECT_LT(own.back(), 0.8 * own.front());
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(FastOnTheCpu, IsRefusedInWords) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto submitted =
      cluster.ctl({"submit", "-"}, {.input = to_text(small("{path: auto, reduce: fast}"))});
  EXPECT_NE(submitted.exit_code, 0);
  EXPECT_THAT(submitted.err, HasSubstr("exchange.reduce: fast, which NCCL does between GPUs"));
  EXPECT_THAT(submitted.err, HasSubstr("set exchange.reduce to ordered, or start sengd with --device cuda"));
  EXPECT_TRUE(cluster.stop().empty());
}

}  // namespace
}  // namespace seng::testing
