// Jobs whose actors exchange over an NCCL that is none (tests/support/emulated_nccl), on GPUs that are none:
// the real daemon and actors, and the real code on both sides of the vendors' calls. Over the real ones where
// there is a GPU.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/system/emulated_nccl_job.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kStaysThere = "sums, directions and the state of this group stay on the GPU";

TEST_F(OverEmulatedNccl, AJobComesToTheBitsOfOneActorAndOfZeroMq) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::string state;
  std::uint64_t zmq_bytes = 0;
  const auto run = [&](int actors, int lanes, const std::string& exchange) {
    JobText job = small(exchange);
    job.actors = actors;
    job.lanes = lanes;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state) << actors << " actors, " << exchange;
    const std::string id = std::to_string(result.value("id", 0));
    EXPECT_EQ(has_event(cluster, id, "NCCL 2.28.9 between"), actors > 1 && exchange != "zmq");
    EXPECT_EQ(cluster.ctl({"logs", id}).out.find(kStaysThere) != std::string::npos,
              actors > 1 && exchange != "zmq" && lanes == 1);
    const auto described = nlohmann::json::parse(cluster.ctl({"describe", id, "-o", "json"}).out);
    std::uint64_t bytes = 0;
    for (const auto& actor : described["actors"]) bytes += actor.value("bytes_sent", std::uint64_t{0});
    if (actors == 2 && exchange == "zmq") zmq_bytes = bytes;
    if (actors == 2 && exchange != "zmq") {  // what goes over NCCL counts as well
      EXPECT_GT(bytes, zmq_bytes / 2);
      EXPECT_LT(bytes, zmq_bytes * 2);
    }
  };
  run(1, 1, "auto");
  run(2, 1, "zmq");
  run(2, 1, "nccl");
  run(3, 2, "auto");
  EXPECT_TRUE(cluster.stop().empty());
}

// Whatever the vectors go through on the devices, and what comes to the host for it: cut factors, refreshes
// that take effect later, Kronecker factors, steps that are left out.
TEST_F(OverEmulatedNccl, EveryKindOfStepComesToTheBitsOfOneActor) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const std::string seng =
      "{name: seng, lr: 0.05, momentum: 0.9, damping: 0.5, curvature: {every: 2, samples: 16, ";
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"{name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.001}", "f32"},
      {seng + "representation: implicit, rank: 2, fragment_dtype: bf16, overlap: true}}", "bf16"},
      {seng + "product: countsketch, product_buckets: 12}}", "f16, loss_scale: 262144"},
      {"{name: kfac, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 16}}", "f32"}};
  for (const auto& [optimizer, precision] : kinds) {
    JobText job = small("auto");
    job.optimizer = optimizer;
    job.extra += "engine: {precision: " + precision + "}\n";
    std::string state;
    for (const int actors : {1, 3}) {
      job.actors = actors;
      const auto result = cluster.train(to_text(job));
      ASSERT_TRUE(result.is_object()) << cluster.last().err;
      ASSERT_EQ(result.value("state", ""), "succeeded") << optimizer << result.dump() << cluster.last().err;
      if (state.empty()) state = result.value("state_sha256", "");
      EXPECT_EQ(result.value("state_sha256", ""), state) << optimizer;
      EXPECT_EQ(state.size(), 64u);
      const std::string id = result.at("id").dump();
      EXPECT_EQ(cluster.ctl({"logs", id}).out.find(kStaysThere) != std::string::npos, actors > 1);
      EXPECT_EQ(has_event(cluster, id, "gradients overflowed f16"), precision.starts_with("f16"));
    }
  }
  EXPECT_TRUE(cluster.stop().empty());
}

// GPUs that have room for a step of the host's, but not for all that a step of their own takes.
TEST_F(OverEmulatedNccl, WithoutRoomOnTheGpusVectorsAreTheHostsAndTheBitsTheSame) {
  JobText job = small("auto");
  const std::string flat = "{name: flat, type: flatten}, ";
  job.model.insert(job.model.find(flat) + flat.size(), "{name: wide, type: linear, features: 16000}, ");
  job.optimizer = "{name: sgd, lr: 0.05, momentum: 0.9}";
  job.actors = 2;
  job.steps = 3;
  std::set<std::string> states;
  for (const char* mebibytes : {"4096", "80"}) {
    setenv("SENG_EMULATED_GPU_MIB", mebibytes, 1);
    Cluster cluster(2, on_gpus());
    unsetenv("SENG_EMULATED_GPU_MIB");
    ASSERT_TRUE(cluster.started()) << cluster.start_error();
    const auto result = cluster.train(to_text(job));
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    states.insert(result.value("state_sha256", ""));
    const bool room = mebibytes == std::string("4096");
    EXPECT_EQ(has_event(cluster, "1", "the GPU does not take in the state of this actor"), !room);
    EXPECT_EQ(cluster.ctl({"logs", "1"}).out.find(kStaysThere) != std::string::npos, room);
    EXPECT_TRUE(cluster.stop().empty());
  }
  EXPECT_EQ(states.size(), 1u);
}

// Newcomers follow the group's directions, which are on the devices; checkpoints and evaluations come
// between.
TEST_F(OverEmulatedNccl, GrowingAndShrinkingComesToTheBitsOfOneThatIsAlone) {
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small("auto");
  job.steps = 100000;  // it is stopped
  job.extra += "checkpoint: {every_steps: 15}\n";
  job.actors = 2;
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  const auto comes_to = [&](unsigned actors, unsigned steps) {
    return cluster.wait_until("1", [&](const auto& now) {
      return now.value("actors", 0u) == actors && now.value("steps", 0u) >= steps;
    });
  };
  ASSERT_TRUE(comes_to(2, 3)) << cluster.ctl({"events", "1"}).out;
  for (const unsigned count : {3u, 1u, 2u}) {
    const unsigned steps = cluster.status("1").value("steps", 0u);
    ASSERT_EQ(cluster.ctl({"scale", "1", std::to_string(count)}).exit_code, 0);
    ASSERT_TRUE(comes_to(count, steps + 3)) << count << cluster.ctl({"events", "1"}).out;
  }
  ASSERT_EQ(cluster.ctl({"stop", "--wait", "1"}).exit_code, 0);
  const auto stopped = cluster.status("1");
  EXPECT_EQ(stopped.value("state", ""), "stopped") << cluster.ctl({"events", "1"}).out;
  EXPECT_EQ(stopped.value("restarts", -1), 0);
  EXPECT_THAT(cluster.ctl({"logs", "1"}).out, HasSubstr(kStaysThere));
  job.steps = stopped.value("steps", 0);
  job.actors = 1;
  const auto alone = cluster.train(to_text(job));
  ASSERT_EQ(alone.value("state", ""), "succeeded") << alone.dump() << cluster.last().err;
  EXPECT_EQ(stopped.value("state_sha256", "?"), alone.value("state_sha256", ""));
  EXPECT_TRUE(cluster.stop().empty());
}

// Whether NCCL notices that a rank has gone or not.
void kills_one_in_the_middle(bool silent) {
  setenv("SENG_EMULATED_NCCL_SILENT", silent ? "1" : "0", 1);
  Cluster cluster(3, on_gpus());
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small("nccl");
  job.steps = 14;
  job.actors = 3;
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  ASSERT_TRUE(cluster.wait_until("1", [](const auto& now) { return now.value("steps", 0) >= 3; }));
  const auto actors = cluster.actors("1");
  ASSERT_EQ(actors.size(), 3u);
  kill(actors[2].at("pid").get<pid_t>(), SIGKILL);
  const auto waited = cluster.ctl({"wait", "1"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err << cluster.ctl({"events", "1"}).out;
  const auto end = cluster.status("1");
  EXPECT_EQ(end.value("state", ""), "succeeded");
  EXPECT_EQ(end.value("restarts", 0), 1);
  job.actors = 1;
  static const std::string alone = cluster.train(to_text(job)).value("state_sha256", "none");
  EXPECT_EQ(end.value("state_sha256", ""), alone);
  EXPECT_TRUE(cluster.stop().empty());
}

TEST_F(OverEmulatedNccl, OneThatIsKilledInAStepChangesNoBits) {
  kills_one_in_the_middle(false);
}
TEST_F(OverEmulatedNccl, OneThatIsKilledUnnoticedChangesNoBits) {
  kills_one_in_the_middle(true);
}

TEST_F(OverEmulatedNccl, ActorsThatShareAGpuUseItWhenTheJobInsists) {
  setenv("SENG_FAKE_GPUS", "GPU-a|Emulated GPU|16384|0|-", 1);
  Cluster cluster(2, on_gpus({"--actors-per-gpu", "2"}));
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::string state;
  for (const std::string exchange : {"auto", "nccl"}) {
    JobText job = small(exchange);
    job.actors = 2;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    const std::string id = std::to_string(result.value("id", 0));
    EXPECT_TRUE(
        has_event(cluster, id, exchange == "auto" ? "share a GPU" : "NCCL 2.28.9 between the actors' GPUs"));
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(WithoutNccl, AJobThatInsistsOnItIsRefusedInWords) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto submitted = cluster.ctl({"submit", "-"}, {.input = to_text(small("nccl"))});
  EXPECT_EQ(submitted.exit_code, 2);
  EXPECT_THAT(submitted.err, HasSubstr("exchange.path: nccl, which is between GPUs"));
  EXPECT_THAT(submitted.err, HasSubstr("set exchange.path to auto, or start sengd with --device cuda"));
  EXPECT_TRUE(cluster.stop().empty());
}

// Two actors on the machine's first GPU, over the real library.
TEST(OverNccl, TwoActorsComeToTheBitsOfOne) {
  for (const char* library : {"libseng_cuda.so", "libseng_nccl.so"}) {
    if (!std::filesystem::exists(binary(library))) GTEST_SKIP() << library << " was not built";
  }
  Cluster cluster(2, {"--device", "cuda", "--actors-per-gpu", "2"});
  if (!cluster.started()) GTEST_SKIP() << cluster.start_error();
  std::string state;
  for (const int actors : {1, 2}) {
    JobText job = small("nccl");
    job.actors = actors;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

}  // namespace
}  // namespace seng::testing
