// Jobs on a GPU that is none (tests/support/emulated_cuda): the real daemon and actors, GPUs told by a
// management library of the tests, the CUDA backend's own code.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/cluster.h"
#include "tests/system/gpu_job.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kOnGpus = {"--device",       "cuda",
                                          "--actor-binary", SENG_BIN_DIR "/emulated/seng-actor",
                                          "--nvml-library", SENG_BIN_DIR "/modules/fake_nvml.so"};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class OnEmulatedGpus : public ::testing::Test {
 protected:
  OnEmulatedGpus() {
    setenv("SENG_FAKE_GPUS", "GPU-a|Emulated GPU|16384|512|40;GPU-b|Emulated GPU|16384|0|-", 1);
  }
  ~OnEmulatedGpus() override { unsetenv("SENG_FAKE_GPUS"); }
};

TEST_F(OnEmulatedGpus, AJobComesToTheSameBitsWithAnyNumberOfActors) {
  Cluster cluster(3, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  std::string state;
  for (const auto& [actors, lanes] : {std::pair{1, 1}, {2, 1}, {3, 2}}) {
    JobText job = small_gpu_job();
    job.actors = actors;
    job.lanes = lanes;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    EXPECT_EQ(result.value("device_kind", ""), "Emulated GPU");
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state);
    EXPECT_EQ(state.size(), 64u);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

// Alone an actor keeps its state on the GPU; with others it is the host's, and so it is while a newcomer
// follows. Every change comes in the middle of training, and a checkpoint every few steps.
TEST_F(OnEmulatedGpus, GrowingAndShrinkingComesToTheBitsOfOneThatIsAlone) {
  Cluster cluster(2, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small_gpu_job();
  job.steps = 100000;  // it is stopped
  job.extra = "checkpoint: {every_steps: 15}\n";
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  const auto comes_to = [&](unsigned actors, unsigned steps) {
    return cluster.wait_until("1", [&](const auto& now) {
      return now.value("actors", 0u) == actors && now.value("steps", 0u) >= steps;
    });
  };
  ASSERT_TRUE(comes_to(1, 3)) << cluster.ctl({"events", "1"}).out;
  for (const unsigned count : {2u, 1u, 2u}) {
    const unsigned steps = cluster.status("1").value("steps", 0u);
    ASSERT_EQ(cluster.ctl({"scale", "1", std::to_string(count)}).exit_code, 0);
    ASSERT_TRUE(comes_to(count, steps + 3)) << count << cluster.ctl({"events", "1"}).out;
  }
  // Alone again, and not by anybody's plan.
  kill(cluster.actors("1").back().at("pid").get<pid_t>(), SIGKILL);
  ASSERT_TRUE(cluster.wait_until("1", [](const auto& now) { return now.value("restarts", 0) == 1; }));
  const unsigned steps = cluster.status("1").value("steps", 0u);
  ASSERT_TRUE(comes_to(2, steps + 20)) << cluster.ctl({"events", "1"}).out;
  ASSERT_EQ(cluster.ctl({"stop", "--wait", "1"}).exit_code, 0);
  const auto stopped = cluster.status("1");
  EXPECT_EQ(stopped.value("state", ""), "stopped") << cluster.ctl({"events", "1"}).out;
  EXPECT_EQ(stopped.value("restarts", 0), 1);
  job.steps = stopped.value("steps", 0);
  const auto alone = cluster.train(to_text(job));
  ASSERT_EQ(alone.value("state", ""), "succeeded") << alone.dump() << cluster.last().err;
  EXPECT_THAT(contents(cluster.state_dir() + "/jobs/2/logs/actor-0.log"),
              HasSubstr("the state stays on the GPU"));
  EXPECT_EQ(stopped.value("state_sha256", "?"), alone.value("state_sha256", ""));
  EXPECT_TRUE(cluster.stop().empty());
}

// With a lane for each of its 11 micro-batches the host adds all; else lanes add theirs on the GPU, in pieces
// that are cut differently each time.
TEST_F(OnEmulatedGpus, WhatLanesAddOnTheGpuHasTheBitsOfWhatTheHostAdds) {
  std::string state;
  const auto comes_to_it = [&](Cluster& cluster, int actors, int lanes) {
    JobText job = small_gpu_job();
    job.optimizer = "{name: seng, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 22}}";
    job.global = 22;
    job.steps = 3;
    job.actors = actors;
    job.lanes = lanes;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state) << actors << "x" << lanes;
    EXPECT_EQ(state.size(), 64u);
    const std::string log = cluster.ctl({"logs", result.at("id").dump()}).out;
    EXPECT_EQ(log.find("are added on the GPU") != std::string::npos, lanes < 11) << log;
  };
  Cluster cluster(3, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  for (const auto& [actors, lanes] : {std::pair{1, 11}, {1, 1}, {1, 3}, {2, 2}, {3, 1}})
    comes_to_it(cluster, actors, lanes);
  EXPECT_TRUE(cluster.stop().empty());

  Cluster alone(1, kOnGpus);  // its one actor has all cores for what stays with the host
  ASSERT_TRUE(alone.started()) << alone.start_error();
  comes_to_it(alone, 1, 1);
  const auto nodes = nlohmann::json::parse(alone.ctl({"nodes", "-o", "json"}).out);
  const int threads = std::min(16, nodes.at("nodes").at(0).at("cores").get<int>());
  if (threads > 1) {
    EXPECT_THAT(alone.ctl({"logs", "1"}).out, HasSubstr(std::to_string(threads) + " threads of the host"));
  }
  EXPECT_TRUE(alone.stop().empty());
}

// With f16 the first loss scale is so large that gradients overflow: steps are left out until it fits.
TEST_F(OnEmulatedGpus, MixedPrecisionComesToTheSameBitsToo) {
  Cluster cluster(3, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  for (const std::string precision : {"bf16", "f16, loss_scale: 262144"}) {
    JobText job = small_gpu_job();
    job.steps = 8;
    job.extra = "engine: {precision: " + precision + "}\ncheckpoint: {every_steps: 3, keep: 9}\n";
    std::string state;
    const auto comes_to_it = [&](const std::vector<std::string>& sets) {
      const auto result = cluster.train(to_text(job), sets);
      ASSERT_TRUE(result.is_object()) << cluster.last().err;
      ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
      if (state.empty()) state = result.value("state_sha256", "");
      EXPECT_EQ(result.value("state_sha256", ""), state) << precision << sets[0];
      const std::string id = result.at("id").dump();
      const std::string events = cluster.ctl({"events", id}).out;
      EXPECT_EQ(events.find("gradients overflowed f16") != std::string::npos, precision != "bf16") << events;
      // The scale of step 3 has been halved already: it is gone on with.
      const auto again =
          cluster.train(to_text(job), {"actors=2", "initial.checkpoint=" + cluster.state_dir() + "/jobs/" +
                                                       id + "/checkpoints/step-00000003"});
      ASSERT_TRUE(again.is_object()) << cluster.last().err;
      EXPECT_EQ(again.value("state_sha256", ""), state) << again.dump();
    };
    comes_to_it({"actors=1"});
    comes_to_it({"actors=3"});
    EXPECT_EQ(state.size(), 64u);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

// What the GPU makes of the samples: a convolution's raw ones, sketched and bucketed ones, cut ones.
TEST_F(OnEmulatedGpus, EveryFormOfCurvatureComesToTheSameBitsToo) {
  Cluster cluster(3, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  for (const std::string form :
       {"representation: implicit", "representation: implicit, rank: 2",
        "representation: implicit, rank: 2, sketch: rows, sketch_rows: 40, fragment_dtype: bf16",
        "representation: implicit, sketch: countsketch, sketch_rows: 40, product: countsketch, "
        "product_buckets: 12"}) {
    JobText job = small_gpu_job();
    job.optimizer =
        "{name: seng, lr: 0.05, momentum: 0.9, damping: 0.5, curvature: {every: 2, samples: 16, " + form +
        "}}";
    std::string state;
    for (const int actors : {1, 3}) {
      job.actors = actors;
      const auto result = cluster.train(to_text(job));
      ASSERT_TRUE(result.is_object()) << cluster.last().err;
      ASSERT_EQ(result.value("state", ""), "succeeded") << form << result.dump() << cluster.last().err;
      if (state.empty()) state = result.value("state_sha256", "");
      EXPECT_EQ(result.value("state_sha256", ""), state) << form;
      EXPECT_EQ(state.size(), 64u);
      const std::string log = cluster.ctl({"logs", result.at("id").dump()}).out;
      EXPECT_EQ(log.find("the GPU cuts the factors of 1 of 3 blocks to low rank") != std::string::npos,
                form.find("rank: 2") != std::string::npos)
          << log;
    }
  }
  EXPECT_TRUE(cluster.stop().empty());
}

// The passes of a micro-batch are graphs, or are queued call by call: wanted so, or since cuDNN refuses.
TEST_F(OnEmulatedGpus, WithAndWithoutGraphsTheBitsAreTheSame) {
  std::set<std::string> states;
  for (const bool refused : {false, true}) {
    if (refused) setenv("SENG_EMULATED_CAPTURE_REFUSES", "cudnn", 1);
    Cluster cluster(2, kOnGpus);
    unsetenv("SENG_EMULATED_CAPTURE_REFUSES");
    ASSERT_TRUE(cluster.started()) << cluster.start_error();
    JobText job = small_gpu_job();
    job.actors = 2;
    std::string number = "0";
    for (const char* graphs : {"auto", "off"}) {
      ++number[0];
      const auto result = cluster.train(to_text(job), {std::string("engine.graphs=") + graphs});
      ASSERT_TRUE(result.is_object()) << cluster.last().err;
      ASSERT_EQ(result.value("state", ""), "succeeded") << result.dump() << cluster.last().err;
      states.insert(result.value("state_sha256", ""));
      const std::string events = cluster.ctl({"events", number}).out;
      const bool told = events.find("GraphsMissing") != std::string::npos;
      EXPECT_EQ(told, refused && graphs == std::string("auto")) << events;
      if (told) {
        EXPECT_THAT(events, HasSubstr("not as a CUDA graph: cuDNN: CUDNN_STATUS_EXECUTION_FAILED"));
      }
    }
    EXPECT_TRUE(cluster.stop().empty());
  }
  EXPECT_EQ(states.size(), 1u);
}

// Its factors are multiplied and decomposed there: one actor, three, and two that go on from a checkpoint.
TEST_F(OnEmulatedGpus, KfacComesToTheSameBitsToo) {
  Cluster cluster(3, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  for (const std::string form : {"decay: 0.8", "inverse_every: 2"}) {
    JobText job = small_gpu_job();
    job.optimizer = "{name: kfac, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 16, " + form + "}}";
    job.extra = "checkpoint: {every_steps: 3, keep: 9}\n";
    std::string state, id;
    const auto comes_to_it = [&](const std::vector<std::string>& sets) {
      const auto result = cluster.train(to_text(job), sets);
      ASSERT_TRUE(result.is_object()) << cluster.last().err;
      id = result.at("id").dump();
      const std::string events = cluster.ctl({"events", id}).out;
      ASSERT_EQ(result.value("state", ""), "succeeded") << form << events;
      if (state.empty()) state = result.value("state_sha256", "");
      EXPECT_EQ(result.value("state_sha256", ""), state) << form << sets[0];
      EXPECT_EQ(events.find("is refused"), std::string::npos) << events;
    };
    comes_to_it({"actors=1"});
    comes_to_it({"actors=3"});
    comes_to_it({"actors=2",
                 "initial.checkpoint=" + cluster.state_dir() + "/jobs/" + id + "/checkpoints/step-00000003"});
    EXPECT_EQ(state.size(), 64u);
  }
  EXPECT_TRUE(cluster.stop().empty());
}

// Else the test above would not notice where they are decomposed.
TEST_F(OnEmulatedGpus, WhatCusolverSaysOfKfacsFactorsIsTold) {
  setenv("SENG_EMULATED_CUSOLVER_INFO", "3", 1);
  Cluster cluster(1, kOnGpus);
  unsetenv("SENG_EMULATED_CUSOLVER_INFO");
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small_gpu_job();
  job.optimizer = "{name: kfac, lr: 0.05, damping: 0.5, curvature: {every: 2, samples: 16}}";
  job.steps = 2;
  const auto result = cluster.train(to_text(job));
  ASSERT_TRUE(result.is_object()) << cluster.last().err;
  EXPECT_EQ(result.value("state", ""), "succeeded");
  EXPECT_THAT(cluster.ctl({"events", "1"}).out, HasSubstr("does not converge"));
  EXPECT_TRUE(cluster.stop().empty());
}

TEST_F(OnEmulatedGpus, ActorsAreBoundToTheirGpuAndReplacedWhenKilled) {
  Cluster cluster(2, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job = small_gpu_job();
  job.actors = 2;
  job.steps = 14;
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  ASSERT_TRUE(cluster.wait_until("1", [](const auto& now) { return now.value("steps", 0) >= 2; }));
  const auto actors = cluster.actors("1");
  ASSERT_EQ(actors.size(), 2u);
  std::set<std::string> gpus;
  for (const auto& actor : actors) {
    EXPECT_THAT(actor.at("device").get<std::string>(), HasSubstr("Emulated GPU x"));
    const std::string environment =
        contents("/proc/" + std::to_string(actor.at("pid").get<pid_t>()) + "/environ");
    const std::size_t at = environment.find("CUDA_VISIBLE_DEVICES=");
    ASSERT_NE(at, std::string::npos);
    gpus.insert(environment.substr(at + 21, 5));
  }
  EXPECT_EQ(gpus, (std::set<std::string>{"GPU-a", "GPU-b"}));
  kill(actors[1].at("pid").get<pid_t>(), SIGKILL);
  const auto waited = cluster.ctl({"wait", "1"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err;
  EXPECT_EQ(cluster.status("1").value("state", ""), "succeeded");
  EXPECT_TRUE(cluster.stop().empty());
}

// The one that fails says why, the job goes on with the other, and what replaces it finds a GPU again.
TEST_F(OnEmulatedGpus, ALostGpuIsToldInWordsAndTheJobComesToTheSameBits) {
  TempDir dir;
  JobText job = small_gpu_job();
  job.steps = 10;
  std::string state;
  for (const bool fails : {false, true}) {
    if (fails) setenv("SENG_EMULATED_GPU_FAILS", ("GPU-b,900,214," + dir.path() + "/failed").c_str(), 1);
    Cluster cluster(2, kOnGpus);
    unsetenv("SENG_EMULATED_GPU_FAILS");
    ASSERT_TRUE(cluster.started()) << cluster.start_error();
    job.actors = 2;
    const auto result = cluster.train(to_text(job));
    ASSERT_TRUE(result.is_object()) << cluster.last().err;
    const std::string events = cluster.ctl({"events", "1"}).out;
    EXPECT_EQ(result.value("state", ""), "succeeded") << events;
    EXPECT_EQ(cluster.status("1").value("restarts", 0) > 0, fails) << events;
    if (state.empty()) state = result.value("state_sha256", "");
    EXPECT_EQ(result.value("state_sha256", ""), state);
    if (fails) {
      EXPECT_THAT(events,
                  HasSubstr("uncorrectable ECC error encountered (cudaErrorECCUncorrectable): the GPU "
                            "is lost to this process; the kernel's log (dmesg) has its Xid"));
    }
    EXPECT_TRUE(cluster.stop().empty());
  }
}

TEST_F(OnEmulatedGpus, AJobThatNeedsMoreOfAGpuThanThereIsIsRefused) {
  setenv("SENG_FAKE_GPUS", "GPU-a|Emulated GPU|600|512|40", 1);
  Cluster cluster(1, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto submit = [&](const std::string& set) {
    return cluster.ctl({"submit", "-", "--set", set}, {.input = to_text(small_gpu_job())});
  };
  const auto refused = submit("actors.lanes=64");
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("MiB of a GPU's memory, but the largest GPU of this node has 600 MiB"));
  setenv("SENG_FAKE_GPUS", "GPU-a|Emulated GPU|800|512|40", 1);
  Cluster larger(1, kOnGpus);
  ASSERT_TRUE(larger.started()) << larger.start_error();
  EXPECT_EQ(larger.ctl({"submit", "-"}, {.input = to_text(small_gpu_job())}).exit_code, 0);
}

// As any actor that cannot begin, it fails a job that has not trained yet.
TEST_F(OnEmulatedGpus, AnActorThatFindsNoUsableGpuSaysWhy) {
  setenv("SENG_EMULATED_GPU_FAILS", "GPU-a,0,35", 1);
  Cluster cluster(1, kOnGpus);
  unsetenv("SENG_EMULATED_GPU_FAILS");
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto result = cluster.train(to_text(small_gpu_job()));
  ASSERT_TRUE(result.is_object()) << cluster.last().err;
  EXPECT_EQ(result.value("state", ""), "failed");
  EXPECT_THAT(cluster.status("1").value("reason", ""),
              HasSubstr("(cudaErrorInsufficientDriver): there is no NVIDIA driver here, or it is too old for "
                        "CUDA 13"));
  EXPECT_TRUE(cluster.stop().empty());
}

TEST_F(OnEmulatedGpus, NodesShowThem) {
  Cluster cluster(2, kOnGpus);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto node = nlohmann::json::parse(cluster.ctl({"nodes", "-o", "json"}).out)["nodes"][0];
  EXPECT_EQ(node["slots"][1]["device"], "cuda");
  EXPECT_EQ(node["slots"][1]["gpu"], "GPU-b");
  ASSERT_EQ(node["gpus"].size(), 2u);
  EXPECT_EQ(node["gpus"][0]["model"], "Emulated GPU");
  EXPECT_EQ(node["gpus"][0]["memory_bytes"], std::uint64_t{16384} << 20);
  EXPECT_DOUBLE_EQ(node["gpus"][0]["utilisation"].get<double>(), 0.4);
  EXPECT_TRUE(node["gpus"][1]["utilisation"].is_null());
  const std::string table = cluster.ctl({"nodes"}).out;
  EXPECT_THAT(table, HasSubstr("GPU-a  Emulated GPU"));
  EXPECT_THAT(table, HasSubstr("40 %"));
}

// The program that says whether all of it works on a machine's GPUs, in small.
TEST_F(OnEmulatedGpus, TheCheckOfAGpuRunsItsStages) {
  if (run({"python3", "-c", "import json"}).exit_code != 0) GTEST_SKIP() << "there is no python3";
  const TempDir dir;
  const auto check = [&](const std::string& stages) {
    std::vector<std::string> command = {"env",
                                        "SENG_BIN=" SENG_BIN_DIR,
                                        SENG_SOURCE_DIR "/scripts/gpu/check_gpu.py",
                                        "--quick",
                                        "--stages",
                                        stages,
                                        "--out",
                                        dir.path() + "/found.json",
                                        "--parity",
                                        SENG_BIN_DIR "/emulated/parity_emulated_tests"};
    for (std::size_t i = 2; i < kOnGpus.size(); ++i) command.push_back("--sengd-option=" + kOnGpus[i]);
    return run(command, {.timeout_seconds = 300});
  };
  const auto good = check("machine,operations,kill,tune,speed");
  EXPECT_EQ(good.exit_code, 0) << good.out << good.err;
  const auto found = nlohmann::json::parse(contents(dir.path() + "/found.json"));
  for (const char* stage : {"machine", "operations", "kill", "tune", "speed"})
    EXPECT_EQ(found.at(stage).value("verdict", ""), "passed") << found.at(stage);
  EXPECT_GT(found["operations"]["figures"].value("passed", 0), 5);
  EXPECT_EQ(found["kill"]["figures"].value("restarts", 0), 1);

  setenv("SENG_EMULATED_GPU_FAILS", "GPU-a,0,35", 1);
  const auto bad = check("speed");
  unsetenv("SENG_EMULATED_GPU_FAILS");
  EXPECT_EQ(bad.exit_code, 1) << bad.out << bad.err;
  EXPECT_THAT(bad.out, HasSubstr("speed       FAILED"));
}

TEST(WithoutGpus, APrecisionThatTheCpuHasNotIsRefused) {
  Cluster cluster(1);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto refused =
      cluster.ctl({"submit", "-", "--set", "engine.precision=bf16"}, {.input = to_text(small_gpu_job())});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("engine.precision: bf16, which GPUs compute in and the CPU does not"));
}

TEST(WithoutGpus, ARequestForCudaSaysWhatIsMissing) {
  setenv("SENG_FAKE_NVML_FAILS", "1", 1);
  const Cluster no_driver(1, kOnGpus);
  unsetenv("SENG_FAKE_NVML_FAILS");
  EXPECT_THAT(no_driver.start_error(),
              HasSubstr("--device cuda: the NVIDIA driver: nvmlInit: Driver Not Loaded"));
  TempDir dir;  // a program without the backend beside it
  const Cluster no_backend(1, {"--device", "cuda", "--actor-binary", dir.path() + "/seng-actor"});
  EXPECT_THAT(no_backend.start_error(), HasSubstr("this build has no CUDA backend (libseng_cuda.so)"));
}

}  // namespace
}  // namespace seng::testing
