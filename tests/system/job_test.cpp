// Jobs from submission to the end, through the real binaries.
#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <signal.h>

#include "actors/data/ledger.h"
#include "tests/support/cluster.h"
#include "tests/support/pictures.h"

namespace seng::testing {
namespace {

nlohmann::json json_of(const RunResult& result) {
  return nlohmann::json::parse(result.out, nullptr, false);
}

TEST(Job, PrintsOneObjectWithEveryPromisedField) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;
  job.actors = 2;
  const auto result = cluster.train(to_text(job));
  ASSERT_TRUE(result.is_object()) << cluster.last().out << cluster.last().err;
  EXPECT_EQ(cluster.last().exit_code, 0);
  for (const char* field :
       {"id", "name", "state", "epochs", "steps", "samples_seen", "train_loss", "test_accuracy",
        "images_per_second", "weights_sha256", "state_sha256", "checkpoint", "actors"})
    EXPECT_TRUE(result.contains(field)) << field;
  EXPECT_EQ(result["state"], "succeeded");
  EXPECT_EQ(result["samples_seen"], 3 * 64);
  EXPECT_TRUE(std::filesystem::exists(result["checkpoint"].get<std::string>() + "/manifest.json"));
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(Job, UsesEverySampleOncePerEpoch) {
  Cluster cluster(3);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;
  job.data = "{name: synthetic, train: 200, test: 10, channels: 1, height: 28, width: 28, classes: 10}";
  job.actors = 3;
  job.steps = 10;  // 640 samples: three whole epochs of 200, batches across their borders, 40 of the fourth
  job.extra = "ledger: true\n";
  const auto result = cluster.train(to_text(job));
  ASSERT_EQ(result.value("state", ""), "succeeded") << cluster.last().err;
  std::map<std::uint64_t, std::multiset<std::uint32_t>> used;
  std::map<std::uint64_t, std::size_t> per_step;
  const std::string directory = cluster.state_dir() + "/jobs/" + result["id"].dump();
  std::vector<std::vector<LedgerRow>> ledgers;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().filename().string().rfind("ledger-", 0) != 0) continue;
    const auto rows = read_ledger(entry.path());
    ASSERT_TRUE(rows) << rows.error().message;
    ledgers.push_back(*rows);
  }
  const auto merged = merge_ledgers(ledgers);
  ASSERT_TRUE(merged) << merged.error().message;
  for (const UsedSample& row : *merged) {
    used[row.epoch].insert(row.sample);
    ++per_step[row.step];
  }
  EXPECT_EQ(ledgers.size(), 3u);
  ASSERT_EQ(used.size(), 4u);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(used[epoch].size(), 200u);
    EXPECT_EQ(std::set<std::uint32_t>(used[epoch].begin(), used[epoch].end()).size(), 200u);
  }
  EXPECT_EQ(used[3].size(), 40u);
  EXPECT_EQ(per_step.size(), 10u);
  for (const auto& [step, samples] : per_step) EXPECT_EQ(samples, 64u) << "step " << step;
}

TEST(Job, QueuesForSlotsAndDescribeSaysWhy) {
  Cluster cluster(1);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText longer;
  longer.steps = 100000;
  const RunResult first =
      cluster.ctl({"submit", "-", "--name", "first", "-o", "json"}, {.input = to_text(longer)});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const RunResult second =
      cluster.ctl({"submit", "-", "--name", "second", "-o", "json"}, {.input = to_text({})});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  const auto described = json_of(cluster.ctl({"describe", "second", "-o", "json"}));
  EXPECT_EQ(described["job"]["state"], "queued");
  EXPECT_NE(described["job"]["reason"].get<std::string>().find("slot"), std::string::npos)
      << described["job"].dump();

  ASSERT_EQ(cluster.ctl({"wait", "first", "--step", "1"}).exit_code, 0);  // or it would stop before it began
  EXPECT_EQ(cluster.ctl({"stop", "first"}).exit_code, 0);
  EXPECT_NE(cluster.ctl({"wait", "first"}).exit_code, 0);  // a stopped job is not a success
  const RunResult waited = cluster.ctl({"wait", "second"});
  EXPECT_EQ(waited.exit_code, 0) << waited.err;
  const auto stopped = json_of(cluster.ctl({"status", "first", "-o", "json"}));
  EXPECT_EQ(stopped["state"], "stopped");
  EXPECT_FALSE(stopped["checkpoint"].get<std::string>().empty());
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(Job, ThatDivergesFailsAndKeepsACheckpointOfFiniteWeights) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;
  job.steps = 1000;
  job.actors = 2;
  job.optimizer = "{name: sgd, lr: 1000000, momentum: 0.9}";
  job.extra = "checkpoint: {every_steps: 1}\n";
  const RunResult run = cluster.ctl({"submit", "-", "--wait", "-o", "json"}, {.input = to_text(job)});
  EXPECT_EQ(run.exit_code, 1);
  const auto failed = json_of(run);
  ASSERT_TRUE(failed.is_object()) << run.out << run.err;
  EXPECT_EQ(failed["state"], "failed");
  EXPECT_EQ(failed["restarts"], 0);
  EXPECT_LT(failed["steps"], 1000);
  EXPECT_EQ(failed["reason"].get<std::string>().find("diverged at step " + failed["steps"].dump() + ":"), 0u)
      << failed["reason"];
  const RunResult again = cluster.ctl(
      {"submit", "-", "--wait", "--init-from", failed["checkpoint"].get<std::string>() + "/model.safetensors",
       "--set", "steps=1", "--set", "on_divergence=continue"},
      {.input = to_text(job)});
  EXPECT_EQ(again.exit_code, 0) << "weights that are not finite are refused: " << again.err;
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(Job, WithoutRestartsAnActorThatIsKilledEndsItWithTheCause) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  JobText job;
  job.steps = 100000;
  job.actors = 2;
  job.extra = "restart: {max: 0, window: 3600}\n";
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0);
  // The first committed step: from then on both actors train.
  ASSERT_EQ(cluster.ctl({"wait", "test", "--step", "1", "--timeout", "60"}).exit_code, 0);
  const auto described = json_of(cluster.ctl({"describe", "test", "-o", "json"}));
  ASSERT_EQ(described["actors"].size(), 2u);
  kill(described["actors"][1]["pid"].get<pid_t>(), SIGKILL);
  const RunResult waited = cluster.ctl({"wait", "test", "--timeout", "60"});
  EXPECT_EQ(waited.exit_code, 1) << waited.err;
  const auto failed = json_of(cluster.ctl({"status", "test", "-o", "json"}));
  EXPECT_EQ(failed["state"], "failed");
  const std::string reason = failed["reason"];
  EXPECT_NE(reason.find("signal 9"), std::string::npos) << reason;
  EXPECT_NE(reason.find("actor-1.log"), std::string::npos) << reason;
  EXPECT_TRUE(cluster.stop().empty());
}

// Another actor would come to the same picture.
TEST(Job, ADamagedPictureEndsItAtOnceByName) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const TempDir pictures;
  write_image_folder(pictures.path(), "val", {"cat", "dog"}, 64, 30, 30);
  const std::string damaged = pictures.path() + "/train/dog/73.png";
  ASSERT_TRUE(std::filesystem::exists(damaged));
  std::filesystem::resize_file(damaged, std::filesystem::file_size(damaged) / 2);
  JobText job;
  job.data = "{name: imagefolder, root: " + pictures.path() + ", size: 28, channels: 1, cache: \"off\"}";
  job.actors = 2;
  job.steps = 100000;
  job.extra = "evaluate: {every_epochs: 0}\n";
  ASSERT_EQ(cluster.ctl({"submit", "-"}, {.input = to_text(job)}).exit_code, 0) << cluster.last().err;
  const RunResult waited = cluster.ctl({"wait", "test", "--timeout", "60"});
  EXPECT_EQ(waited.exit_code, 1) << waited.err;
  const auto failed = json_of(cluster.ctl({"status", "test", "-o", "json"}));
  EXPECT_NE(failed["reason"].get<std::string>().find(damaged), std::string::npos) << failed["reason"];
  EXPECT_EQ(failed["restarts"], 0);
  // And a job that has ended can be forgotten.
  EXPECT_EQ(cluster.ctl({"delete", "test"}).exit_code, 0);
  EXPECT_EQ(json_of(cluster.ctl({"list", "-o", "json"}))["jobs"].size(), 0u);
  EXPECT_FALSE(std::filesystem::exists(cluster.state_dir() + "/jobs/1"));
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(Job, RefusedAtSubmitBeforeAnythingStarts) {
  Cluster cluster(2);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  struct Refusal {
    const char* set;
    const char* said;
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {"model.name=lennet", "lenet"},
           {"data.name=fashion-mnst", "fashion-mnist"},
           {"data={name: fashion-mnist, root: /nonexistent}", "/nonexistent"},
           {"batch.micro=7", "batch"},
           {"batch.global=10000000", "batch"},
           {"actors={min: 3, max: 2}", "actors"},
           {"actors={min: 3, max: 3}", "slot"},
           {"optimizer.lr.initial=.nan", "optimizer.lr"},
           {"optimizer.momentun=0.5", "momentum"},
           {"steps=-1", "steps"},
           {"model={name: mlp, hidden: 400000000}", "65536"},
           {"model={name: resnet18, width: 0}", "--set model={name: resnet18, width: 0}: model.width: "},
           {"model={name: mlp, hidden: \"65536,65536\"}", "needs about"},
       }) {
    const RunResult result = cluster.ctl({"submit", "-", "--set", refusal.set}, {.input = to_text({})});
    EXPECT_EQ(result.exit_code, 2) << refusal.set << "\n" << result.out << result.err;
    EXPECT_NE(result.err.find(refusal.said), std::string::npos) << refusal.set << "\n" << result.err;
  }
  const auto jobs = json_of(cluster.ctl({"list", "-o", "json"}));
  EXPECT_EQ(jobs["jobs"].size(), 0u) << jobs.dump();
  EXPECT_TRUE(cluster.stop().empty());
}

TEST(Job, ExportOpensInPythonWithTheFormatsDocumentationAlone) {
  Cluster cluster(1);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  const auto result = cluster.train(to_text({}));
  ASSERT_TRUE(result.is_object()) << cluster.last().err;
  const std::string file = cluster.state_dir() + "/out.safetensors";
  const RunResult exported = cluster.ctl({"export", "test", "--output", file});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const char* script = R"(
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + size])
header.pop("__metadata__", None)
print(json.dumps({name: entry["shape"] for name, entry in header.items()}))
total = max(entry["data_offsets"][1] for entry in header.values())
assert len(data) == 8 + size + total
weights = header["fc2.weight"]
begin, end = weights["data_offsets"]
values = struct.unpack("<%df" % ((end - begin) // 4), data[8 + size + begin:8 + size + end])
assert len(values) == 1280 and any(values) and all(abs(v) < 10 for v in values)
)";
  const RunResult python = run({"python3", "-c", script, file});
  ASSERT_EQ(python.exit_code, 0) << python.err;
  const auto shapes = nlohmann::json::parse(python.out);
  const nlohmann::json expected = {{"conv1.weight", {32, 1, 3, 3}},
                                   {"bn1.weight", {32}},
                                   {"bn1.bias", {32}},
                                   {"bn1.running_mean", {32}},
                                   {"bn1.running_var", {32}},
                                   {"bn1.num_batches_tracked", nlohmann::json::array()},
                                   {"conv2.weight", {64, 32, 3, 3}},
                                   {"bn2.weight", {64}},
                                   {"bn2.bias", {64}},
                                   {"bn2.running_mean", {64}},
                                   {"bn2.running_var", {64}},
                                   {"bn2.num_batches_tracked", nlohmann::json::array()},
                                   {"fc1.weight", {128, 3136}},
                                   {"fc1.bias", {128}},
                                   {"fc2.weight", {10, 128}},
                                   {"fc2.bias", {10}}};
  EXPECT_EQ(shapes, expected);
}

// One actor owns every block: what it says that it holds is what `validate` has said before.
TEST(Job, HoldsTheCurvatureThatValidateSays) {
  Cluster cluster(1);
  ASSERT_TRUE(cluster.started()) << cluster.start_error();
  for (const std::string optimizer :
       {"name: seng, curvature: {every: 2, samples: 16}",
        "name: seng, curvature: {every: 2, samples: 16, rank: 2, sketch: rows, sketch_rows: 60}",
        "name: seng, curvature: {every: 2, samples: 16, sketch: countsketch, sketch_rows: 300, dtype: bf16}",
        "name: kfac, curvature: {every: 1, samples: 16, inverse_every: 2}"}) {
    SCOPED_TRACE(optimizer);
    JobText job;
    if (optimizer.find("kfac") != std::string::npos) job.model = "{name: mlp, hidden: 24}";
    job.optimizer = "{lr: 0.01, " + optimizer + "}";
    const auto validated = json_of(cluster.ctl({"validate", "-", "-o", "json"}, {.input = to_text(job)}));
    ASSERT_TRUE(validated.is_object());
    double said = 0;
    for (const auto& block : validated["plan"]["blocks"]) said += block["curvature_bytes"].get<double>();
    const auto result = cluster.train(to_text(job));
    ASSERT_EQ(result.value("state", ""), "succeeded") << cluster.last().err;
    const auto metrics = json_of(cluster.ctl({"metrics", result["id"].dump(), "-o", "json"}));
    ASSERT_EQ(metrics["steps"].size(), 3u);
    for (const auto& step : metrics["steps"])
      EXPECT_NEAR(step["curvature_bytes"].get<double>() / said, 1, 0.02) << step;
  }
  EXPECT_TRUE(cluster.stop().empty());
}

}  // namespace
}  // namespace seng::testing
