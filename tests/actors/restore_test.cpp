// Jobs that go on from checkpoints, with a real trainer: the same bits as if nothing had happened, and no
// bits at all from a checkpoint that is not whole or not theirs.
#include "actors/restore.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "actors/checkpoint/directory.h"
#include "actors/checkpoint/layout.h"
#include "actors/checkpoint/safetensors.h"
#include "actors/exchange/placement.h"
#include "actors/exchange/zmq_exchange.h"
#include "actors/kept_curvature.h"
#include "actors/plan.h"
#include "actors/trainer.h"
#include "tests/support/process.h"

namespace seng::restore_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kSeng =
    "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.01, curvature: {every: 4, samples: 14}}";

// 100 samples, batches of 42: step 6 ends in the middle of the third epoch.
std::string job_text(const std::vector<std::pair<std::string, std::string>>& changes = {}) {
  std::string text =
      std::string(
          "name: restored\nseed: 3\nmodel: {name: resnet18, width: \"2\"}\n"
          "data: {name: synthetic, train: 100, test: 4, channels: 2, height: 8, width: 8, classes: 5}\n"
          "batch: {global: 42, micro: 6}\nsteps: 10\noptimizer: ") +
      kSeng + "\nloss: {label_smoothing: 0.1}\n";
  for (const auto& [from, to] : changes) {
    const auto at = text.find(from);
    if (at == std::string::npos) throw std::runtime_error("no " + from);
    text.replace(at, from.size(), to);
  }
  return text;
}

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

Workload workload_of(const std::string& text) {
  return value_of(load_workload(value_of(parse_job_spec(text, "test"))));
}

// Step 6 is tried, and 7 judges it: the checkpoint of step 6 has its promise.
constexpr const char* kAdaptiveKfac =
    "{name: kfac, lr: 0.005, damping: {initial: 0.3, adaptive: {every: 7}}, trust_region: 0.01, curvature: "
    "{every: 2, "
    "samples: 14, inverse_every: 2}}";

// A group of one, without a daemon.
class Training {
 public:
  explicit Training(const std::string& text) : workload_(workload_of(text)), lanes_(2) {
    for (int i = 0; i < 2; ++i) replicas_.emplace_back(workload_.network, replica_options(workload_.spec));
    begin(value_of(beginning(workload_)));
    ZmqExchangeOptions options;
    options.step.block_floats = block_floats(workload_.network.blocks());
    options.token = "secret";
    exchange_ = value_of(ZmqExchange::open(std::move(options)));
    trainer_ =
        std::make_unique<Trainer>(Trainer::Parts{.workload = &workload_,
                                                 .state = &state_,
                                                 .exchange = exchange_.get(),
                                                 .lanes = &lanes_,
                                                 .replicas = &replicas_,
                                                 .ledger = nullptr,
                                                 .event = [](const std::string&, const std::string&) {},
                                                 .gauges = &gauges_});
  }

  void begin(RestoredState from) { state_ = value_of(to_train_state(workload_, std::move(from))); }
  void train_to(std::uint64_t step) {
    const std::uint32_t micro = workload_.spec.micro_batches();
    Group group{.job = 1, .epoch = {1, 1}, .self = 0, .micro_batches = micro};
    group.members = {Member{0, "n", "", 0, micro}};
    group.placement = place_blocks(workload_.network.blocks(), group.members);
    if (auto joined = exchange_->join(group); !joined) throw std::runtime_error(joined.error().message);
    trainer_->set_group(group);
    while (state_.step < step)
      if (!trainer_->step({})) throw std::runtime_error(trainer_->interruption());
  }

  std::string state_sha256() const {
    std::vector<Digest> curvature(workload_.network.blocks().size(), Digest{});
    for (const auto& [block, each] : state_.curvature) curvature[block] = digest_of(keep_curvature(each));
    return to_hex(
        state_digest(weights(), state_.momentum, curvature, state_.step, state_.step * 42, damping()));
  }
  std::optional<SavedDamping> damping() const {
    if (!workload_.adapts_damping()) return std::nullopt;
    return SavedDamping{state_.damping.lambda, state_.damping.predicted, state_.damping.loss};
  }
  // As a group of two would write it. Returns its directory.
  std::string save(const std::string& checkpoints) const {
    const auto& blocks = workload_.network.blocks();
    const std::string staging = value_of(open_staging(checkpoints, state_.step));
    Manifest manifest{.spec_yaml = to_yaml(workload_.spec),
                      .step = state_.step,
                      .sample_position = state_.step * 42,
                      .weights_sha256 = to_hex(weights()),
                      .state_sha256 = state_sha256(),
                      .files = value_of(write_model(staging, blocks, state_.parameters, state_.statistics,
                                                    state_.momentum, state_.step)),
                      .epoch_so_far = {2, 3.5, 0.75},
                      .damping = damping()};
    std::map<std::uint32_t, KeptCurvature> kept;
    std::vector<CurvatureView> parts[2];
    for (const auto& [block, each] : state_.curvature) {
      kept[block] = keep_curvature(each);
      append_views(block, kept[block], parts[block % 2]);
    }
    for (int i = 0; i < 2; ++i)
      if (!parts[i].empty())
        manifest.files.push_back(
            value_of(write_curvature(staging, "curvature-" + std::to_string(i) + ".safetensors", blocks,
                                     std::span<const CurvatureView>(parts[i]))));
    return value_of(commit_checkpoint(checkpoints, staging, manifest, 10));
  }
  const Workload& workload() const { return workload_; }
  const TrainState& state() const { return state_; }

 private:
  Digest weights() const {
    return weights_digest(workload_.network.blocks(), state_.parameters, state_.statistics);
  }

  Workload workload_;
  Lanes lanes_;
  std::vector<Replica> replicas_;
  TrainState state_;
  std::unique_ptr<Exchange> exchange_;
  Gauges gauges_;
  std::unique_ptr<Trainer> trainer_;
};

void rewrite(const std::string& path, const std::function<void(std::string&)>& change) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  change(bytes);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string refusal(const std::string& text, const std::string& directory) {
  const auto restored = restore_state(workload_of(text), directory);
  return restored ? "restored" : restored.error().message;
}

class Restore : public ::testing::Test {
 protected:
  // A run to its end, with checkpoints after steps 3 and 6.
  static void SetUpTestSuite() {
    directory_ = new testing::TempDir;
    Training training(job_text());
    training.train_to(3);
    training.save(checkpoints());
    training.train_to(6);
    checkpoint_ = training.save(checkpoints());
    training.train_to(10);
    final_ = training.state_sha256();
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string checkpoints() { return directory_->path() + "/checkpoints"; }
  // A copy of all checkpoints that a test may damage.
  std::string copy() {
    const std::string to = own_.path() + "/checkpoints";
    std::filesystem::copy(checkpoints(), to, std::filesystem::copy_options::recursive);
    return to;
  }

  static testing::TempDir* directory_;
  static std::string checkpoint_, final_;
  testing::TempDir own_;
};
testing::TempDir* Restore::directory_ = nullptr;
std::string Restore::checkpoint_, Restore::final_;

TEST_F(Restore, GoesOnInTheMiddleOfAnEpochWithTheSameBits) {
  Training again(job_text());
  auto restored = restore_state(again.workload(), checkpoint_);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(restored->step, 6u);
  EXPECT_EQ(restored->source, checkpoint_);
  ASSERT_EQ(restored->curvature.size(), again.workload().network.blocks().size());
  for (const CurvatureValues& each : restored->curvature) EXPECT_EQ(each.step, 5u);  // the refresh before
  again.begin(std::move(*restored));
  EXPECT_EQ(again.state().tally.steps, 2u) << "the running epoch's sums go on";
  EXPECT_EQ(again.state().tally.loss, 3.5);
  EXPECT_EQ(again.state().tally.accuracy, 0.75);
  EXPECT_FALSE(again.state().tally.closed);
  again.train_to(10);
  EXPECT_EQ(again.state_sha256(), final_);
}

// Of step 5, which refreshes, and of the one behind it: with overlap the refresh waits in the first.
class RestoredCurvature : public ::testing::TestWithParam<const char*> {};

TEST_P(RestoredCurvature, GoesOnWithTheSameBits) {
  const std::string text = job_text({{"samples: 14", std::string("samples: 14, ") + GetParam()}});
  const testing::TempDir directory;
  Training training(text);
  std::vector<std::string> checkpoints;
  for (const std::uint64_t step : {1, 5, 6}) {
    training.train_to(step);
    checkpoints.push_back(training.save(directory.path() + "/checkpoints"));
  }
  training.train_to(10);
  for (const std::string& checkpoint : checkpoints) {
    Training again(text);
    auto restored = restore_state(again.workload(), checkpoint);
    ASSERT_TRUE(restored) << restored.error().message;
    again.begin(std::move(*restored));
    again.train_to(10);
    EXPECT_EQ(again.state_sha256(), training.state_sha256()) << checkpoint;
  }
  // The other precision's curvature is another job's.
  EXPECT_THAT(refusal(job_text(), checkpoints.back()), HasSubstr("optimizer.curvature."));
}
INSTANTIATE_TEST_SUITE_P(Kinds, RestoredCurvature,
                         ::testing::Values("dtype: bf16", "overlap: true",
                                           "overlap: true, dtype: bf16, fragment_dtype: bf16"));

TEST_F(Restore, RunningMeansAndTheDampingGoOnToo) {
  const std::string text = job_text({{kSeng, kAdaptiveKfac}});
  Training straight(text), again(text);
  straight.train_to(6);
  EXPECT_LT(straight.state().damping.predicted, 0);
  const std::string saved = straight.save(own_.path() + "/kfac");
  straight.train_to(10);
  auto restored = restore_state(again.workload(), saved);
  ASSERT_TRUE(restored) << restored.error().message;
  again.begin(std::move(*restored));
  again.train_to(10);
  EXPECT_EQ(again.state_sha256(), straight.state_sha256());
  EXPECT_EQ(again.state().damping, straight.state().damping);
  EXPECT_NE(again.state().damping.lambda, 0.3);

  rewrite(saved + "/manifest.json", [](std::string& json) {
    const auto at = json.find("\"lambda\": 0.");
    ASSERT_NE(at, std::string::npos) << json;
    json.insert(at + 12, "1");
  });
  const auto refused = restore_state(again.workload(), saved);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("state_sha256"));
}

TEST_F(Restore, AnotherJobMayGoOnFromIt) {
  const std::string text =
      job_text({{"name: restored", "name: other"}, {"steps: 10", "epochs: 7"}}) +
      "actors: {min: 1, max: 2, lanes: 3}\ncheckpoint: {every_steps: 1}\nevaluate: {every_epochs: 2}\n"
      "ledger: true\nrestart: 3\npriority: 5\ninitial: {checkpoint: " +
      checkpoint_ + "}\n";
  Training other(text);
  EXPECT_EQ(other.state().step, 6u);
  other.train_to(10);
  EXPECT_EQ(other.state_sha256(), final_);
}

TEST_F(Restore, RefusesAnotherJobsStateByKeyAndValues) {
  const struct {
    std::string from, to, said;
  } cases[] = {
      {"seed: 3", "seed: 4", "seed: 3 and 4"},
      {"width: \"2\"", "width: \"3\"", "model.width: 2 and 3"},
      {"train: 100", "train: 101", "data.train: 100 and 101"},
      {"micro: 6", "micro: 3", "batch.micro: 6 and 3"},
      {"lr: 0.05", "lr: 0.06", "optimizer.lr.initial: 0.05 and 0.06"},
      {"damping: 0.3", "damping: 0.31", "optimizer.damping.initial: 0.3 and 0.31"},
      {"every: 4", "every: 5", "optimizer.curvature.every: 4 and 5"},
      {"label_smoothing: 0.1", "label_smoothing: 0.2", "loss.label_smoothing: 0.1 and 0.2"},
      {"loss:", "engine: {convolution: direct}\nloss:", "engine.convolution: auto and direct"},
  };
  for (const auto& c : cases) {
    const std::string said = refusal(job_text({{c.from, c.to}}), checkpoint_);
    EXPECT_THAT(said, AllOf(HasSubstr(checkpoint_), HasSubstr(c.said)));
  }
  EXPECT_THAT(refusal(job_text({{"seed: 3", "seed: 4"}, {"lr: 0.05", "lr: 0.06"}}), checkpoint_),
              AllOf(HasSubstr("seed: 3 and 4, "), HasSubstr("initial: 0.05 and 0.06")));
  EXPECT_THAT(refusal(job_text({{"steps: 10", "steps: 5"}}), checkpoint_),
              HasSubstr("the state of step 6; the job ends with step 5"));
}

TEST_F(Restore, TakesTheNewestThatIsWholeAndNamesTheOthers) {
  const Workload workload = workload_of(job_text());
  std::vector<std::string> refused;
  const auto newest = [&](const std::string& directory) {
    refused.clear();
    return newest_restorable(workload, directory, [&](const std::string& path, const Error& error) {
      refused.push_back(path + ": " + error.message);
    });
  };
  const std::string directory = copy(), newer = directory + "/step-00000006";
  EXPECT_EQ(newest(directory)->step, 6u);
  EXPECT_TRUE(refused.empty());

  const auto falls_back = [&](const std::string& file, const std::function<void(std::string&)>& change,
                              const std::string& said) {
    std::string before;
    rewrite(newer + "/" + file, [&](std::string& bytes) { before = bytes, change(bytes); });
    const auto restored = newest(directory);
    ASSERT_TRUE(restored) << restored.error().message;
    EXPECT_EQ(restored->step, 3u);
    ASSERT_EQ(refused.size(), 1u);
    EXPECT_THAT(refused[0], AllOf(StartsWith(newer + ": "), HasSubstr(said)));
    rewrite(newer + "/" + file, [&](std::string& bytes) { bytes = before; });
  };
  for (const std::string file : {"model.safetensors", "optimizer.safetensors", "curvature-1.safetensors"}) {
    SCOPED_TRACE(file);
    falls_back(
        file, [](std::string& bytes) { bytes.resize(bytes.size() - 1); }, file);
    falls_back(
        file, [](std::string& bytes) { bytes[std::random_device{}() % bytes.size()] ^= 1; }, file);
  }
  falls_back(
      kManifestName, [](std::string& bytes) { bytes.resize(bytes.size() / 2); }, kManifestName);
  // Edited, with hashes of files that are right: the state's own hash tells.
  const auto edit = [](const char* key, const nlohmann::ordered_json& value) {
    return [=](std::string& bytes) {
      auto json = nlohmann::ordered_json::parse(bytes);
      json[key] = value;
      bytes = json.dump();
    };
  };
  falls_back(kManifestName, edit("sample_position", 251), "sample_position is 251; expected 252");
  falls_back(kManifestName, edit("state_sha256", std::string(64, 'a')), "state_sha256");
  falls_back(kManifestName, edit("spec", "name: x\n"), "manifest.json: spec");
  falls_back(kManifestName, edit("spec", to_yaml(workload.spec) + "later: 1\n"), "later");
  falls_back(
      kManifestName,
      [](std::string& bytes) {  // a block's curvature is gone, and the manifest says nothing of it
        auto json = nlohmann::ordered_json::parse(bytes);
        json["files"].erase(3);
        bytes = json.dump();
      },
      "state_sha256");

  std::filesystem::remove(newer + "/model.safetensors");
  std::filesystem::remove(directory + "/step-00000003/optimizer.safetensors");
  const auto none = newest(directory);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(refused.size(), 2u);
  EXPECT_EQ(newest(own_.path() + "/none").error().code, ErrorCode::kNotFound);
}

// What hinders reading passes; to begin anew meanwhile would throw away what was trained.
TEST_F(Restore, LooksAgainAtWhatCannotBeReadNow) {
  const Workload workload = workload_of(job_text());
  const std::string directory = copy(), aside = own_.path() + "/aside";
  const std::string manifest = directory + "/step-00000006/manifest.json";
  std::vector<std::string> refused;
  const auto newest = [&](const LookAgain& look_again) {
    refused.clear();
    return newest_restorable(
        workload, directory,
        [&](const std::string& path, const Error& error) { refused.push_back(path + error.message); },
        look_again);
  };
  const auto never = [](int) { return false; };
  const auto mended_at = [](int look, const std::function<void()>& mend) {
    return [=](int looks) {
      if (looks == look) mend();
      return looks < 5;
    };
  };
  // The directory.
  std::filesystem::rename(directory, aside);
  std::filesystem::create_symlink(directory, directory);  // ELOOP
  EXPECT_EQ(newest(never).error().code, ErrorCode::kUnavailable);
  const auto found = newest(mended_at(2, [&] {
    std::filesystem::remove(directory);
    std::filesystem::rename(aside, directory);
  }));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->step, 6u);
  EXPECT_TRUE(refused.empty());

  // One of two: the older one will do where waiting does not help.
  std::filesystem::rename(manifest, aside);
  std::filesystem::create_symlink(manifest, manifest);
  const auto older = newest(never);
  ASSERT_TRUE(older) << older.error().message;
  EXPECT_EQ(older->step, 3u);
  EXPECT_EQ(refused.size(), 1u);
  const auto newer = newest(mended_at(0, [&] { std::filesystem::rename(aside, manifest); }));
  ASSERT_TRUE(newer) << newer.error().message;
  EXPECT_EQ(newer->step, 6u);

  // The only one.
  std::filesystem::remove_all(directory + "/step-00000003");
  std::filesystem::remove(manifest);
  std::filesystem::create_symlink(manifest, manifest);
  int looks = 0;
  EXPECT_EQ(newest([&](int) { return ++looks < 3; }).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(looks, 3);
}

// ---- weights from a file ----

class InitialWeights : public ::testing::Test {
 protected:
  Status load(const std::string& path) {
    parameters_.assign(workload_.network.parameter_count(), -1);
    statistics_.assign(workload_.network.statistics_count(), -1);
    return load_initial_weights(workload_, path, parameters_, statistics_);
  }
  // A file of tensors made by Python's standard library alone; `change` works on the dictionary
  // t: name -> [type, shape, list of numbers].
  std::string from_python(const std::string& change) {
    nlohmann::json tensors;
    for (const LayoutTensor& tensor : model_layout(workload_.network.blocks())) {
      const bool counter = tensor.source == ValueSource::kBatchesTracked;
      tensors[tensor.name] = {counter ? "I64" : "F32", tensor.shape, tensor.count};
    }
    const std::string path = directory_.path() + "/python.safetensors";
    const std::string script =
        "import json, struct, sys\n"
        "t = {k: [d, s, [i * 0.5 for i in range(n)] if d == 'F32' else [7] * n]\n"
        "     for k, (d, s, n) in json.load(sys.stdin).items()}\n" +
        change +
        "\nheader, data = {'__metadata__': {'format': 'pt'}}, b''\n"
        "for k, (d, s, v) in sorted(t.items(), key=lambda e: (e[1][0] != 'I64', e[0])):\n"
        "    raw = struct.pack('<%d%s' % (len(v), {'F32': 'f', 'I64': 'q'}[d]), *v)\n"
        "    header[k] = {'dtype': d, 'shape': s, 'data_offsets': [len(data), len(data) + len(raw)]}\n"
        "    data += raw\n"
        "head = json.dumps(header).encode()\n"
        "head += b' ' * (-len(head) % 8)\n"
        "open(sys.argv[1], 'wb').write(struct.pack('<Q', len(head)) + head + data)\n";
    const auto run = testing::run({"python3", "-c", script, path}, {.input = tensors.dump()});
    if (run.exit_code != 0) throw std::runtime_error(run.err);
    return path;
  }
  std::string refusal_of(const std::string& change) {
    const Status loaded = load(from_python(change));
    return loaded ? "loaded" : loaded.error().message;
  }

  testing::TempDir directory_;
  Workload workload_ = workload_of(job_text());
  std::vector<float> parameters_, statistics_;
};

TEST_F(InitialWeights, AreThoseOfAnExportedModel) {
  Training training(job_text());
  training.train_to(2);
  const std::string file = training.save(directory_.path()) + "/model.safetensors";
  const Status loaded = load(file);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(parameters_, training.state().parameters);
  EXPECT_EQ(statistics_, training.state().statistics);

  const auto from_file = beginning(workload_of(job_text() + "initial: {weights: " + file + "}\n"));
  ASSERT_TRUE(from_file) << from_file.error().message;
  EXPECT_EQ(from_file->parameters, training.state().parameters);
  EXPECT_EQ(from_file->momentum, std::vector<float>(parameters_.size(), 0.0f));
  EXPECT_EQ(from_file->step, 0u);
  EXPECT_EQ(from_file->source, file);
  EXPECT_EQ(initial_sha256(*from_file), to_hex(*sha256_of_file(file)));
  const auto other =
      beginning(workload_of(job_text({{"classes: 5", "classes: 6"}}) + "initial: {weights: " + file + "}\n"));
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, AllOf(StartsWith("initial.weights: " + file),
                                           HasSubstr("fc.bias (expected F32 [6], found F32 [5])")));
}

TEST_F(InitialWeights, OfAnotherFileThanBeforeAreRefused) {
  Training training(job_text());
  training.train_to(2);
  const std::string first = training.save(directory_.path()) + "/model.safetensors";
  const std::string file = directory_.path() + "/weights.safetensors";
  std::filesystem::copy_file(first, file);
  const Workload workload = workload_of(job_text() + "initial: {weights: " + file + "}\n");
  const std::string sha256 = initial_sha256(value_of(beginning(workload)));
  EXPECT_TRUE(beginning(workload, sha256));
  training.train_to(4);
  std::filesystem::copy_file(training.save(directory_.path()) + "/model.safetensors", file,
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(beginning(workload)) << "it is whole";
  const auto changed = beginning(workload, sha256);
  ASSERT_FALSE(changed);
  EXPECT_THAT(changed.error().message,
              AllOf(StartsWith("initial.weights: " + file + " has changed since the job was submitted"),
                    HasSubstr(sha256)));
}

TEST_F(InitialWeights, OfAFileFromPython) {
  if (testing::run({"python3", "-c", "import json, struct"}).exit_code != 0)
    GTEST_SKIP() << "there is no python3";
  const auto as_written = [&] {
    for (const Block& block : workload_.network.blocks()) {
      for (const BlockTensor& tensor : block.parameters)
        for (std::size_t i = 0; i < tensor.count; ++i)
          if (parameters_[tensor.offset + i] != static_cast<float>(i) * 0.5f) return tensor.name;
      for (const BlockTensor& tensor : block.statistics)
        for (std::size_t i = 0; i < tensor.count; ++i)
          if (statistics_[tensor.offset + i] != static_cast<float>(i) * 0.5f) return tensor.name;
    }
    return std::string();
  };
  EXPECT_EQ(refusal_of(""), "loaded");
  EXPECT_EQ(as_written(), "");
  EXPECT_EQ(refusal_of("t = {k: v for k, v in t.items() if 'num_batches' not in k}"), "loaded");
  EXPECT_EQ(as_written(), "");
  EXPECT_EQ(refusal_of("t['elsewhere.num_batches_tracked'] = ['I64', [], [3]]"), "loaded");

  EXPECT_THAT(refusal_of("del t['conv1.weight'], t['layer4.1.bn2.running_var']"),
              HasSubstr("tensors missing: conv1.weight, layer4.1.bn2.running_var"));
  EXPECT_THAT(refusal_of("t['fc.weight'][1].reverse()"),
              HasSubstr("of another shape: fc.weight (expected F32 [5, 16], found F32 [16, 5])"));
  EXPECT_THAT(refusal_of("t['fc.bias'] = ['I64', [5], [1] * 5]"),
              HasSubstr("fc.bias (expected F32 [5], found I64 [5])"));
  EXPECT_THAT(refusal_of("t['module.fc.bias'] = t['fc.bias']"),
              HasSubstr("not of this network: module.fc.bias"));
  EXPECT_THAT(refusal_of("t['fc.bias'][2][3] = float('nan')"), HasSubstr("not finite: fc.bias"));
  EXPECT_THAT(refusal_of("t = {'m.' + k: v for k, v in t.items() if 'num_batches' not in k}"),
              AllOf(HasSubstr("missing: "), HasSubstr(" more; not of this network: ")));
}

TEST_F(InitialWeights, OfNoFileAreAnError) {
  EXPECT_THAT(load(directory_.path() + "/none").error().message, HasSubstr("/none"));
  std::ofstream(directory_.path() + "/text") << "just words, and enough of them";
  EXPECT_EQ(load(directory_.path() + "/text").error().code, ErrorCode::kCorrupt);
}

// ---- said at submit ----

// Ranks are decided once, by the first plan: also for whoever goes on from a checkpoint, on any machine.
TEST_F(Restore, GoesOnWithTheRanksThatWereDecided) {
  const auto text = [](const std::string& more) {
    return job_text({{"samples: 14", "samples: 14, rank: auto" + more}});
  };
  const auto plan = nlohmann::json::parse(plan_job(text(""), 1).json);
  const std::string found = plan["ranks"];
  std::vector<int> ranks = value_of(parse_ranks(found));
  ASSERT_EQ(ranks.size(), plan["blocks"].size());
  // As if another machine had decided.
  for (int& rank : ranks) rank = rank > 1 ? 1 : rank;
  const std::string decided = ranks_text(ranks);
  ASSERT_NE(decided, found);
  Training training(text(", ranks: \"" + decided + "\""));
  training.train_to(2);
  const std::string checkpoint = training.save(own_.path() + "/checkpoints");
  const std::string resumed = text("") + "initial: {checkpoint: " + checkpoint + "}\n";
  const PlanOutcome outcome = plan_job(resumed, 1);
  ASSERT_TRUE(outcome.ok) << outcome.json;
  EXPECT_EQ(nlohmann::json::parse(outcome.json)["ranks"], decided);
  EXPECT_NE(refusal(text(""), checkpoint).find("optimizer.curvature.ranks"), std::string::npos);
  EXPECT_FALSE(load_workload(value_of(parse_job_spec(text(", ranks: \"1 2\""), "test"))));
}

// So are the algorithms of convolutions, by the first actor.
TEST_F(Restore, GoesOnWithTheChoicesThatWereDecided) {
  const auto text = [](const std::string& engine) { return job_text() + "engine: {" + engine + "}\n"; };
  const std::string decided = "H100; forward f32 nhwc 2x1x8x8 4x3x3 s1 p1 = 6";
  Training training(text("tune: true, choices: \"" + decided + "\""));
  training.train_to(2);
  const std::string checkpoint = training.save(own_.path() + "/checkpoints");
  const auto resumed = [&](const std::string& engine) {
    return nlohmann::json::parse(
        plan_job(text(engine) + "initial: {checkpoint: " + checkpoint + "}\n", 1).json);
  };
  EXPECT_EQ(resumed("tune: true").value("choices", ""), decided);
  EXPECT_THAT(resumed("tune: false").dump(), HasSubstr("engine.tune: true and false"));
  EXPECT_THAT(resumed("tune: true, choices: H200").dump(), HasSubstr("engine.choices: "));
  EXPECT_THAT(refusal(text("tune: true"), checkpoint_), HasSubstr("engine.tune: false and true"));
  EXPECT_THAT(nlohmann::json::parse(plan_job(text("tune: true, choices: \"H; a\""), 1).json).dump(),
              HasSubstr("engine.choices: no table of choices"));
  // It has run on the CPU so far.
  Training untouched(text("tune: true"));
  untouched.train_to(2);
  const std::string without = untouched.save(own_.path() + "/without");
  EXPECT_EQ(refusal(text("tune: true, choices: \"" + decided + "\""), without), "restored");
}

TEST_F(Restore, ThePlanReadsWhatTheJobBeginsWith) {
  const auto plan = [](const std::string& initial, const std::string& text = job_text()) {
    return nlohmann::json::parse(plan_job(text + "initial: {" + initial + "}\n", 1).json);
  };
  EXPECT_EQ(nlohmann::json::parse(plan_job(job_text(), 1).json).at("initial"), nullptr);
  const auto resumed = plan("checkpoint: " + checkpoint_);
  ASSERT_EQ(resumed["ok"], true) << resumed.dump();
  EXPECT_EQ(resumed["initial"]["step"], 6);
  EXPECT_EQ(resumed["initial"]["checkpoint"], checkpoint_);
  EXPECT_EQ(resumed["initial"]["state_sha256"].get<std::string>().size(), 64u);
  const auto weights = plan("weights: " + checkpoint_ + "/model.safetensors");
  ASSERT_EQ(weights["ok"], true) << weights.dump();
  EXPECT_EQ(weights["initial"]["step"], 0);

  const auto refused = [](const nlohmann::json& plan) {
    return plan["ok"] == false ? plan["errors"].dump() : "ok";
  };
  EXPECT_THAT(refused(plan("checkpoint: " + checkpoint_, job_text({{"seed: 3", "seed: 4"}}))),
              AllOf(HasSubstr("initial.checkpoint: " + checkpoint_), HasSubstr("seed: 3 and 4")));
  EXPECT_THAT(refused(plan("checkpoint: " + checkpoint_, job_text({{"steps: 10", "steps: 6"}}))),
              HasSubstr("nothing is left to do"));
  EXPECT_THAT(refused(plan("checkpoint: /nonexistent")), HasSubstr("/nonexistent/manifest.json"));
  EXPECT_THAT(refused(plan("weights: " + checkpoint_ + "/manifest.json")), HasSubstr("initial.weights: "));
  const std::string damaged = copy() + "/step-00000006";
  rewrite(damaged + "/model.safetensors", [](std::string& bytes) { bytes.back() ^= 1; });
  EXPECT_THAT(refused(plan("checkpoint: " + damaged)), HasSubstr("SHA-256"));
}

}  // namespace
}  // namespace seng::restore_test
