#include "protocol/spec/job_spec.h"

#include <chrono>
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(JobSpec, RanksAreNumbersWithSpacesBetweenThem) {
  EXPECT_EQ(*parse_ranks(""), std::vector<int>{});
  EXPECT_EQ(*parse_ranks("7"), std::vector<int>{7});
  EXPECT_EQ(*parse_ranks("3 0 65535"), (std::vector<int>{3, 0, 65535}));
  EXPECT_EQ(ranks_text({3, 0, 65535}), "3 0 65535");
  for (const char* wrong : {" ", "3 ", " 3", "3  4", "-1", "65536", "3,4", "x", "99999999999999999999"})
    EXPECT_FALSE(parse_ranks(wrong)) << wrong;
}

using ::testing::HasSubstr;

const char kExample[] = R"(name: fashion-lenet
seed: 0
model: {name: lenet}                      # name and that network's own options
data: {name: fashion-mnist, root: auto, augment: {}}
batch: {global: 256, micro: 32}
epochs: 5                                 # may be fractional; or steps: 1000
loss: {label_smoothing: 0.0}
optimizer:
  name: seng                              # or sgd
  lr: {schedule: exp, initial: 0.1, exponent: 6, warmup_epochs: 0}
  momentum: 0.9
  weight_decay: 0.0005
  damping: {initial: 1.0, decay: 1.0, every_epochs: 10}
  curvature: {every: 100, samples: 256, batch_norm: explicit}
  trust_region: 0.002                     # 0 or absent: off
actors: {min: 1, max: 2, lanes: auto}
checkpoint: {every_steps: 200, keep: 2}
evaluate: {every_epochs: 1}
)";

const char kShortest[] =
    "model: lenet\ndata: mnist\nbatch: {global: 64, micro: 8}\nepochs: 1\noptimizer: sgd\n";

// kShortest with one line more, or with one of its lines replaced by the given one of the same key.
std::string with(const std::string& line) {
  const std::string key = line.substr(0, line.find(':') + 1);
  std::string out, text = kShortest;
  bool replaced = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at) + 1;
    const std::string old = text.substr(at, end - at);
    replaced |= old.starts_with(key);
    out += old.starts_with(key) ? line + "\n" : old;
    at = end;
  }
  return replaced ? out : out + line + "\n";
}

std::string problems(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const auto spec = parse_job_spec(text, "f.yaml", overrides);
  if (spec) return "accepted";
  EXPECT_EQ(spec.error().code, ErrorCode::kInvalidArgument);
  return spec.error().message;
}

TEST(JobSpec, ReadsTheExample) {
  const auto spec = parse_job_spec(kExample, "f.yaml");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->name, "fashion-lenet");
  EXPECT_EQ(spec->model_name, "lenet");
  EXPECT_TRUE(spec->model_options.empty());
  EXPECT_EQ(spec->data_name, "fashion-mnist");
  EXPECT_EQ(spec->batch_global, 256u);
  EXPECT_EQ(spec->micro_batches(), 8u);
  EXPECT_EQ(spec->epochs, 5);
  EXPECT_EQ(spec->steps, 0u);
  EXPECT_EQ(spec->optimizer.name, "seng");
  EXPECT_EQ(spec->optimizer.lr.kind, "exp");
  EXPECT_EQ(spec->optimizer.lr.exponent, 6);
  EXPECT_EQ(spec->optimizer.weight_decay, 0.0005);
  EXPECT_EQ(spec->optimizer.trust_region, 0.002);
  EXPECT_EQ(spec->optimizer.curvature.samples, 256u);
  EXPECT_EQ(spec->actors_max, 2u);
  EXPECT_EQ(spec->lanes, 0u);
  EXPECT_EQ(spec->checkpoint_every_steps, 200u);
  EXPECT_TRUE(notes_on(*spec).empty());
}

TEST(JobSpec, FillsInDefaults) {
  const auto spec = parse_job_spec(kShortest, "f.yaml");
  ASSERT_TRUE(spec) << spec.error().message;
  JobSpec expected;
  expected.name = "lenet-sgd";
  expected.model_name = "lenet";
  expected.data_name = "mnist";
  expected.batch_global = 64;
  expected.batch_micro = 8;
  expected.epochs = 1;
  expected.optimizer.name = "sgd";
  expected.optimizer.curvature.samples = 64;  // no more than the batch
  EXPECT_EQ(*spec, expected) << to_yaml(*spec);
}

TEST(JobSpec, DefaultSamplesAreAMultipleOfTheMicroBatches) {
  const auto samples = [](const std::string& batch) {
    const auto spec = parse_job_spec(with(batch), "f.yaml", {"optimizer=seng"});
    return spec ? spec->optimizer.curvature.samples : 0u;
  };
  EXPECT_EQ(samples("batch: {global: 2000, micro: 50}"), 240u);
  EXPECT_EQ(samples("batch: {global: 256, micro: 32}"), 256u);
  EXPECT_EQ(samples("batch: {global: 512, micro: 1}"), 512u);
  EXPECT_EQ(samples("batch: {global: 6, micro: 2}"), 6u);
}

TEST(JobSpec, AcceptsTheShortFormsAndOddTexts) {
  const struct {
    std::string line;
    bool (*holds)(const JobSpec&);
  } cases[] = {
      {"optimizer: {name: sgd, lr: 0.25}",
       [](const JobSpec& s) { return s.optimizer.lr.kind == "constant" && s.optimizer.lr.initial == 0.25; }},
      {"optimizer: {name: seng, damping: 2.5}",
       [](const JobSpec& s) { return s.optimizer.damping_initial == 2.5; }},
      {"actors: 4", [](const JobSpec& s) { return s.actors_min == 1 && s.actors_max == 4; }},
      {"actors: {min: 3}", [](const JobSpec& s) { return s.actors_min == 3 && s.actors_max == 3; }},
      {"model: {name: mlp, hidden: 128, activation: relu, deep: true}",
       [](const JobSpec& s) {
         return s.model_options.at("hidden") == "128" && s.model_options.at("deep") == "true";
       }},
      {"data: {name: synthetic, classes: 4, augment:}",
       [](const JobSpec& s) { return s.data_options.size() == 1 && s.data_options.at("classes") == "4"; }},
      {"data: {name: mnist, augment: {flip: true, pad_crop: 4, color_jitter: {hue: 0.1}, mixup: 0.2}}",
       [](const JobSpec& s) {
         return s.augment.flip && s.augment.pad_crop == 4 && s.augment.hue == 0.1 && s.augment.mixup == 0.2;
       }},
      {"data: {name: mnist, root: \"/a b/\\u00fc\"}",
       [](const JobSpec& s) { return s.data_root == "/a b/ü"; }},
      {"seed: 18446744073709551615", [](const JobSpec& s) { return s.seed == UINT64_MAX; }},
      {"epochs: 2.5e-1", [](const JobSpec& s) { return s.epochs == 0.25; }},
      {"actors: {max: 2, lanes: 3}", [](const JobSpec& s) { return s.lanes == 3; }},
      {"engine: {precision: bf16, loss_scale: 1024}",
       [](const JobSpec& s) { return s.engine_precision == "bf16" && s.engine_loss_scale == 1024; }},
      {"engine: {tune: true, choices: \"H; data f32 nhwc 1 = 1\"}",
       [](const JobSpec& s) { return s.engine_tune && s.engine_choices == "H; data f32 nhwc 1 = 1"; }},
      {"engine: {convolution: direct}", [](const JobSpec& s) { return s.engine_convolution == "direct"; }},
      {"engine: {graphs: off}", [](const JobSpec& s) { return s.engine_graphs == "off"; }},
      {"engine: {checkpoint_activations: true}",
       [](const JobSpec& s) { return s.engine_checkpoint_activations && s.engine_convolution == "auto"; }},
      {"exchange: nccl", [](const JobSpec& s) { return s.exchange == "nccl" && s.reduce == "ordered"; }},
      {"exchange: {path: auto, reduce: fast}",
       [](const JobSpec& s) { return s.exchange == "auto" && s.reduce == "fast"; }},
      {"ledger: true", [](const JobSpec& s) { return s.ledger; }},
      {"restart: 3", [](const JobSpec& s) { return s.restart_max == 3 && s.restart_window_s == 3600; }},
      {"restart: {max: 0, window: 0.5}",
       [](const JobSpec& s) { return s.restart_max == 0 && s.restart_window_s == 0.5; }},
      {"priority: -1000", [](const JobSpec& s) { return s.priority == -1000; }},
      {"priority: +7", [](const JobSpec& s) { return s.priority == 7; }},
      {"initial: {checkpoint: a/b}", [](const JobSpec& s) { return s.initial_checkpoint == "a/b"; }},
      {"initial: {weights: /a b, checkpoint: ''}",
       [](const JobSpec& s) { return s.initial_weights == "/a b" && s.initial_checkpoint.empty(); }},
      {"name: 'a.B_c-1'", [](const JobSpec& s) { return s.name == "a.B_c-1"; }},
      {"optimizer: {name: sgd, nesterov: true, lr: {schedule: step, milestones: [1, 2.5], gamma: 0.5}}",
       [](const JobSpec& s) {
         return s.optimizer.nesterov && s.optimizer.lr.milestones == std::vector<double>{1, 2.5};
       }},
  };
  for (const auto& c : cases) {
    const auto spec = parse_job_spec(with(c.line), "f.yaml");
    ASSERT_TRUE(spec) << c.line << "\n" << spec.error().message;
    EXPECT_TRUE(c.holds(*spec)) << c.line << "\n" << to_yaml(*spec);
  }
}

// Every line of a refusal, exactly: place, key path, what is wrong, what was expected.
TEST(JobSpec, RefusesWithPlacePathAndExpectation) {
  const struct {
    std::string line, message;
  } cases[] = {
      {"batch: {global: 64, micro: 9}",
       "f.yaml:3:28: batch.micro: 9 does not divide batch.global, 64; expected a divisor, as 8"},
      {"batch: {global: 64, micro: 65}",
       "f.yaml:3:28: batch.micro: 65 does not divide batch.global, 64; expected a divisor, as 64"},
      {"batch: {global: 64}", "f.yaml:3:8: batch.micro: missing; expected a whole number from 1 to 10000000"},
      {"batch: {global: 0, micro: 8}",
       "f.yaml:3:17: batch.global: 0 is out of range; expected a whole number from 1 to 10000000"},
      {"batch: {global: 80000000000000000000000, micro: 8}",
       "f.yaml:3:17: batch.global: \"80000000000000000000000\"; expected a whole number from 1 to 10000000"},
      {"batch: {global: 20000000, micro: 8}",
       "f.yaml:3:17: batch.global: 20000000 is out of range; expected a whole number from 1 to 10000000"},
      {"batch: {global: 9000000, micro: 1}",
       "f.yaml:3:33: batch.micro: 1 cuts the global batch into 9000000 micro-batches; expected at most "
       "65536"},
      {"batch: {global: 64, micro: [8]}",
       "f.yaml:3:28: batch.micro: a list; expected a whole number from 1 to 10000000"},
      {"batch: {global: \"64\", micro: 8}",
       "f.yaml:3:17: batch.global: the text \"64\"; expected a whole number from 1 to 10000000"},
      {"batch: {global: 64.0, micro: 8}",
       "f.yaml:3:17: batch.global: \"64.0\"; expected a whole number from 1 to 10000000"},
      {"batch: 64", "f.yaml:3:8: batch: \"64\"; expected a map"},
      {"seed: -1", "f.yaml:6:7: seed: \"-1\"; expected a whole number from 0 to 2^64-1"},
      {"epochs: .nan",
       "f.yaml:4:9: epochs: \".nan\" is not finite; expected a number above 0, at most 1000000"},
      {"epochs: inf",
       "f.yaml:4:9: epochs: \"inf\" is not finite; expected a number above 0, at most 1000000"},
      {"epochs: -.Inf",
       "f.yaml:4:9: epochs: \"-.Inf\" is not finite; expected a number above 0, at most 1000000"},
      {"epochs: 1e999",
       "f.yaml:4:9: epochs: \"1e999\" does not fit a double; expected a number above 0, at most 1000000"},
      {"epochs: -3", "f.yaml:4:9: epochs: -3 is out of range; expected a number above 0, at most 1000000"},
      {"epochs: 0", "f.yaml:4:9: epochs: 0 is out of range; expected a number above 0, at most 1000000"},
      {"epochs:", "f.yaml:4:1: epochs: nothing; expected a number above 0, at most 1000000"},
      {"epochs: 0x10", "f.yaml:4:9: epochs: \"0x10\"; expected a number above 0, at most 1000000"},
      {"steps: 10", "f.yaml:6:8: steps: given beside epochs; expected one of the two"},
      {"epoch: 3", "f.yaml:6:1: epoch: unknown key; did you mean \"epochs\"?"},
      {"optimiser: 3", "f.yaml:6:1: optimiser: unknown key; did you mean \"optimizer\"?"},
      {"loss: {label_smothing: 0.1}",
       "f.yaml:6:8: loss.label_smothing: unknown key; did you mean \"label_smoothing\"?"},
      {"loss: {zzz: 0.1}", "f.yaml:6:8: loss.zzz: unknown key; expected label_smoothing"},
      {"loss: {label_smoothing: 1}",
       "f.yaml:6:25: loss.label_smoothing: 1 is out of range; expected a number from 0, below 1"},
      {"loss:", "f.yaml:6:1: loss: nothing; expected a map"},
      {"epochs: 1\nepochs: 2", "f.yaml:5:1: epochs: given twice, first at f.yaml:4:1; expected once"},
      {"optimizer: {lr: 3}", "f.yaml:5:12: optimizer.name: missing; expected seng, kfac, sgd or lars"},
      {"optimizer: adam",
       "f.yaml:5:12: optimizer.name: unknown value \"adam\"; expected seng, kfac, sgd or lars"},
      {"optimizer: {name: sngd}",
       "f.yaml:5:19: optimizer.name: unknown value \"sngd\"; did you mean \"sgd\"?; expected seng, kfac, "
       "sgd or lars"},
      {"optimizer: {name: sgd, momentum: 1}",
       "f.yaml:5:34: optimizer.momentum: 1 is out of range; expected a number from 0, below 1"},
      {"optimizer: {name: sgd, nesterov: yes}",
       "f.yaml:5:34: optimizer.nesterov: \"yes\"; expected true or false"},
      {"optimizer: {name: seng, damping: {initial: 0}}",
       "f.yaml:5:44: optimizer.damping.initial: 0 is out of range; expected a number above 0, at most "
       "1000000000000"},
      {"optimizer: {name: seng, curvature: {rank: 0}}",
       "f.yaml:5:43: optimizer.curvature.rank: 0 is out of range; expected full, auto or a whole number from "
       "1 to 65535"},
      {"optimizer: {name: seng, curvature: {rank: 65536}}",
       "f.yaml:5:43: optimizer.curvature.rank: 65536 is out of range; expected full, auto or a whole number "
       "from 1 to "
       "65535"},
      {"optimizer: {name: seng, curvature: {mode: local, workers: 3}}",
       "f.yaml:5:59: optimizer.curvature.workers: 3 workers do not share out 8 micro-batches (batch.global / "
       "batch.micro); expected a divisor"},
      {"optimizer: {name: seng, curvature: {samples: 65}}",
       "f.yaml:5:46: optimizer.curvature.samples: 65 is more than batch.global, 64; expected at most that"},
      {"optimizer: {name: seng, curvature: {samples: 12}}",
       "f.yaml:5:46: optimizer.curvature.samples: 12 is no multiple of 8, the number of micro-batches "
       "(batch.global / "
       "batch.micro); expected one, as 8"},
      {"optimizer: {name: sgd, lr: {schedule: step}}",
       "f.yaml:5:28: optimizer.lr.milestones: missing for the schedule step; expected a list of epochs, as "
       "[10, 20]"},
      {"optimizer: {name: sgd, lr: {milestones: [2, 1]}}",
       "f.yaml:5:41: optimizer.lr.milestones: in the list \"1\"; expected a list of at most 100 growing "
       "numbers above 0, "
       "as [1, 2.5]"},
      {"actors: {min: 3, max: 2}",
       "f.yaml:6:15: actors.min: 3 is more than actors.max, 2; expected at most that"},
      {"actors: {min: 9}",
       "f.yaml:6:15: actors.min: 9 actors share 8 micro-batches (batch.global / batch.micro) and each needs "
       "one; "
       "expected at most 8"},
      {"actors: {lanes: 0}",
       "f.yaml:6:17: actors.lanes: 0 is out of range; expected auto or a whole number from 1 to 1024"},
      {"checkpoint: {keep: 0}",
       "f.yaml:6:20: checkpoint.keep: 0 is out of range; expected a whole number from 1 to 1000"},
      {"restart: {max: 100001}",
       "f.yaml:6:16: restart.max: 100001 is out of range; expected a whole number from 0 to 100000"},
      {"restart: {window: 0}",
       "f.yaml:6:19: restart.window: 0 is out of range; expected a number above 0, at most 100000000"},
      {"priority: 1001",
       "f.yaml:6:11: priority: 1001 is out of range; expected a whole number from -1000 to 1000"},
      {"priority: 1.0", "f.yaml:6:11: priority: \"1.0\"; expected a whole number from -1000 to 1000"},
      {"priority: .nan", "f.yaml:6:11: priority: \".nan\"; expected a whole number from -1000 to 1000"},
      {"initial: {checkpoint: a, weights: b}",
       "f.yaml:6:35: initial.weights: given beside initial.checkpoint; expected one of the two"},
      {"initial: {weights: \"a\\nb\"}",
       "f.yaml:6:20: initial.weights: the text \"a\\x0ab\"; expected a path, or \"\" for none"},
      {"initial: a", "f.yaml:6:10: initial: \"a\"; expected a map"},
      {"engine: {convolution: winograd}",
       "f.yaml:6:23: engine.convolution: unknown value \"winograd\"; expected auto or direct"},
      {"engine: {graphs: on}", "f.yaml:6:18: engine.graphs: unknown value \"on\"; expected auto or off"},
      {"allow_mixed_devices: true\nengine: {tune: true}",
       "f.yaml:7:16: engine.tune: given beside allow_mixed_devices; expected one of the two: what is "
       "measured "
       "on one kind of device says nothing of another"},
      {"engine: {choices: \"a\\tb\"}",
       "f.yaml:6:19: engine.choices: the text \"a\\x09b\"; expected a table of choices in one line, or \"\""},
      {"engine: {precision: fp16}",
       "f.yaml:6:21: engine.precision: unknown value \"fp16\"; did you mean \"f16\"?; expected f32, tf32, "
       "bf16 or f16"},
      {"exchange: {reduce: fast}",
       "f.yaml:6:20: exchange.reduce: fast: NCCL adds, and exchange.path is zmq, over which owners add in "
       "the "
       "tree's order; expected ordered, or exchange.path nccl or auto"},
      {"exchange: {path: nccl, reduce: quick}",
       "f.yaml:6:32: exchange.reduce: unknown value \"quick\"; expected ordered or fast"},
      {"engine: {loss_scale: 1000}",
       "f.yaml:6:22: engine.loss_scale: 1000 is no power of two; expected one, as 512"},
      {"data: {name: mnist, augment: {flp: true}}",
       "f.yaml:2:31: data.augment.flp: unknown key; did you mean \"flip\"?"},
      {"data: {name: mnist, augment: true}", "f.yaml:2:30: data.augment: \"true\"; expected a map"},
      {"data: {name: mnist, augment: {resized_crop: 0.1, pad_crop: 4}}",
       "f.yaml:2:60: data.augment.pad_crop: given beside resized_crop; expected one of the two"},
      {"data: {name: mnist, augment: {color_jitter: {hue: 0.6}}}",
       "f.yaml:2:51: data.augment.color_jitter.hue: 0.6 is out of range; expected a number from 0 to 0.5"},
      {"data: {name: mnist, rot: x}", "f.yaml:2:21: data.rot: unknown key; did you mean \"root\"?"},
      {"data: {name: mnist, list: [1]}", "f.yaml:2:27: data.list: a list; expected a plain value"},
      {"data: {name: mnist, root: \"a\\nb\"}",
       "f.yaml:2:27: data.root: the text \"a\\x0ab\"; expected auto or a directory"},
      {"model: {hidden: 3}",
       "f.yaml:1:8: model.name: missing; expected a name of letters, digits, '.', '_' and '-'"},
      {"model: lenet\nbatch.global: 3",
       "f.yaml:2:1: batch.global: unknown key; expected global inside batch"},
      {"seed: *a", "f.yaml:6:7: not YAML: the referenced anchor is not defined"},
      {"seed: &a 1", "f.yaml:6:7: seed: an anchor (&name); job files do without, write the value out"},
      {"seed: !!int 1", "f.yaml:6:7: seed: a tag (!name); job files do without, write the plain value"},
      {"seed: 1\n---\nseed: 2", "f.yaml:7:1: a second document begins; expected one job in a file"},
      {"seed: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}",
       "f.yaml:6:35: seed.a.b.c.d.e.f.g: nested more than 8 levels deep"},
      {"seed: [1", "f.yaml:7:1: not YAML: end of sequence flow not found"},
      {"? [a]\n: 1", "f.yaml:6:3: a list or a map in the place of a key, or its bracket is never closed"},
  };
  for (const auto& c : cases) EXPECT_EQ(problems(with(c.line)), c.message) << c.line;
}

TEST(JobSpec, PointsAtATab) {
  const std::string said = problems(with("restart:\tmax: 3"));
  EXPECT_NE(said.find("not YAML: "), std::string::npos) << said;
  EXPECT_NE(said.find("; line 6 has a tab: YAML wants spaces"), std::string::npos) << said;
}

TEST(JobSpec, RefusesNames) {
  for (const std::string name : {"''", "12", "-a", ".a", "a/b", "a b", "\"a\\0\"", "ü", "[a]",
                                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_THAT(problems(with("name: " + name)), ::testing::StartsWith("f.yaml:6:7: name: ")) << name;
  }
}

TEST(JobSpec, CollectsAllProblems) {
  const std::string text = problems("batch: {global: 8, micro: 3}\nepochs: -1\nsteps: x\ndat: 1\n");
  for (const char* part :
       {"batch.micro: 3 does not", "epochs: -1", "steps: \"x\"", "dat: unknown key; did you mean \"data\"",
        "model: missing", "data: missing", "optimizer: missing", "steps: given beside epochs"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  std::string many = kShortest;
  for (int i = 0; i < 30; ++i) many += "zzzzzz" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(problems(many), ::testing::EndsWith("\nf.yaml: and 10 more problems"));
}

TEST(JobSpec, RefusesWhatIsNoJob) {
  EXPECT_EQ(problems(""), "f.yaml: empty; expected a job: model, data, batch, optimizer ...");
  EXPECT_EQ(problems("# nothing\n"), "f.yaml: empty; expected a job: model, data, batch, optimizer ...");
  EXPECT_EQ(problems("just words"), "f.yaml:1:1: \"just words\"; expected a map");
  EXPECT_EQ(problems("- 1\n- 2\n"), "f.yaml:1:1: a list; expected a map");
  EXPECT_THAT(problems(std::string("a: \0b\n", 6)), HasSubstr("a zero byte at offset 3"));
  EXPECT_THAT(problems(std::string((1 << 20) + 1, '#')), HasSubstr("expected a job of at most 1048576"));
}

TEST(JobSpec, HostileTextsTakeNoTime) {
  for (const std::string piece : {"[",   "{",     "- ", "? ", "a: ",  "&a ",  "\"",
                                  "!",   "%",     "|",  "'",  "{a: ", "[a, ", "a\n",
                                  "*a ", "- a\n", ",",  "{?", "\t",   "\xff", "a: {b: &x [*x, *x]}\n"}) {
    std::string text;
    while (text.size() + piece.size() <= (1 << 20)) text += piece;
    const auto began = std::chrono::steady_clock::now();
    EXPECT_NE(problems(text), "accepted") << piece;
    // A generous bound against quadratic work, which would take minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30)) << piece;
  }
}

TEST(JobSpec, RandomDamageNeverCrashes) {
  std::mt19937 random(std::random_device{}());
  const std::string example = kExample, letters = "{}[]:,-?&*!|>'\"%@`#\n\t \0a1.é";
  for (int round = 0; round < 2000; ++round) {
    std::string text = example;
    for (int i = 0, n = 1 + random() % 4; i < n; ++i) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = letters[random() % letters.size()];
          break;
        case 1:
          text.erase(at, 1 + random() % 20);
          break;
        default:
          text.insert(at, 1, letters[random() % letters.size()]);
      }
    }
    const auto spec = parse_job_spec(text, "f.yaml");
    if (!spec) {
      EXPECT_THAT(spec.error().message, ::testing::StartsWith("f.yaml")) << text;
      continue;
    }
    const auto again = parse_job_spec(to_yaml(*spec), "again");
    ASSERT_TRUE(again) << again.error().message << "\n" << text;
    EXPECT_EQ(*again, *spec);
  }
}

TEST(JobSpecOverrides, ChangeTheTree) {
  const struct {
    std::vector<std::string> overrides;
    bool (*holds)(const JobSpec&);
  } cases[] = {
      {{"seed=7"}, [](const JobSpec& s) { return s.seed == 7; }},
      {{"seed=7", "seed=8"}, [](const JobSpec& s) { return s.seed == 8; }},
      {{"optimizer.lr=0.5"},
       [](const JobSpec& s) { return s.optimizer.lr.initial == 0.5 && s.optimizer.lr.kind == "exp"; }},
      {{"optimizer.lr={initial: 0.5}"},
       [](const JobSpec& s) { return s.optimizer.lr.initial == 0.5 && s.optimizer.lr.kind == "constant"; }},
      {{"optimizer.lr.schedule=step", "optimizer.lr.milestones=[1, 2]"},
       [](const JobSpec& s) { return s.optimizer.lr.milestones.size() == 2; }},
      {{"optimizer.name=sgd"}, [](const JobSpec& s) { return s.optimizer.name == "sgd"; }},
      {{"optimizer=sgd", "batch.micro=1"}, [](const JobSpec& s) { return s.batch_micro == 1; }},
      {{"steps=12"}, [](const JobSpec& s) { return s.steps == 12 && s.epochs == 0; }},
      {{"steps=12", "epochs=2.5", "seed=1"}, [](const JobSpec&) { return false; }},
      {{"actors=1"}, [](const JobSpec& s) { return s.actors_max == 1; }},
      {{"model.hidden=64"}, [](const JobSpec& s) { return s.model_options.at("hidden") == "64"; }},
      {{"engine.convolution=direct"}, [](const JobSpec& s) { return s.engine_convolution == "direct"; }},
      {{"data.root=/tmp/x=y"}, [](const JobSpec& s) { return s.data_root == "/tmp/x=y"; }},
  };
  for (const auto& c : cases) {
    const auto spec = parse_job_spec(kExample, "f.yaml", c.overrides);
    if (c.overrides.size() == 3) {
      EXPECT_EQ(spec.error().message, "--set steps=12: steps: given beside epochs; expected one of the two");
      continue;
    }
    ASSERT_TRUE(spec) << spec.error().message;
    EXPECT_TRUE(c.holds(*spec)) << c.overrides[0] << "\n" << to_yaml(*spec);
  }
  const auto in_short_form =
      parse_job_spec(kShortest, "f.yaml", {"optimizer.lr.schedule=cosine", "loss.label_smoothing=0.1"});
  ASSERT_TRUE(in_short_form) << in_short_form.error().message;
  EXPECT_EQ(in_short_form->optimizer.name, "sgd");
  EXPECT_EQ(in_short_form->optimizer.lr.kind, "cosine");
}

TEST(JobSpecOverrides, RefusalsNameTheOverride) {
  const struct {
    std::string override, message;
  } cases[] = {
      {"optimizer.lr=-1",
       "--set optimizer.lr=-1: optimizer.lr.initial: -1 is out of range; expected a number from 0 to "
       "1000000"},
      {"optimizer.lrr=1",
       "--set optimizer.lrr=1: \"optimizer.lrr\": unknown key; did you mean \"optimizer.lr\"?"},
      {"lr=1", "--set lr=1: \"lr\": unknown key; did you mean \"optimizer.lr\"?"},
      {"xyzzyx=1", "--set xyzzyx=1: \"xyzzyx\": unknown key"},
      {"seed", "--set seed: no key and value; expected key.path=value"},
      {"=3", "--set =3: no key and value; expected key.path=value"},
      {"seed=", "--set seed=: seed: no value; expected key.path=value"},
      {"seed.x=1", "--set seed.x=1: \"seed.x\": unknown key; did you mean \"seed\"?"},
      {"seed=[1", "--set seed=[1: a list or a map in the place of a key, or its bracket is never closed"},
      {"batch.micro=33",
       "--set batch.micro=33: batch.micro: 33 does not divide batch.global, 256; expected a divisor, as 32"},
      {"data.augment={zzzz: 4}",
       "--set data.augment={zzzz: 4}: data.augment.zzzz: unknown key; expected resized_crop, pad_crop, "
       "flip, cutout, mixup, color_jitter"},
      {"optimizer..lr=1",
       "--set optimizer..lr=1: \"optimizer..lr\": unknown key; did you mean \"optimizer.lr\"?"},
  };
  for (const auto& c : cases) EXPECT_EQ(problems(kExample, {c.override}), c.message) << c.override;
}

TEST(JobSpec, DifferencesNameTheKeysAndBothValues) {
  const auto a = parse_job_spec(kExample, "f.yaml", {"model.hidden=64", "data.limit=5"});
  const auto b = parse_job_spec(kExample, "f.yaml",
                                {"seed=7", "optimizer.lr.milestones=[1, 2]", "steps=9", "model.hidden=65",
                                 "model.deep=true", "actors.min=2", "name=other"});
  ASSERT_TRUE(a && b);
  EXPECT_TRUE(differences(*a, *a).empty());
  EXPECT_THAT(differences(*a, *b, {"name", "actors", "epochs"}),
              ::testing::ElementsAre("seed: 0 and 7", "steps: 0 and 9",
                                     "optimizer.lr.milestones: [] and [1, 2]", "model.deep: none and true",
                                     "model.hidden: 64 and 65", "data.limit: 5 and none"));
  EXPECT_THAT(differences(*a, *b, {"seed", "steps", "optimizer.lr", "model", "data", "epochs"}),
              ::testing::ElementsAre("name: fashion-lenet and other", "actors.min: 1 and 2"));
}

TEST(JobSpec, NotesNameWhatHasNoEffect) {
  const auto notes = [](const std::vector<std::string>& overrides) {
    const auto spec = parse_job_spec(kExample, "f.yaml", overrides);
    return spec ? notes_on(*spec) : std::vector<std::string>{spec.error().message};
  };
  EXPECT_THAT(notes({"optimizer=sgd"}),
              ::testing::ElementsAre(HasSubstr("optimizer.trust_region has no effect")));
  EXPECT_TRUE(notes({"optimizer.name=kfac", "optimizer.curvature.inverse_every=3"}).empty());
  EXPECT_THAT(notes({"optimizer.name=kfac", "optimizer.curvature.sketch=rows"}),
              ::testing::ElementsAre(HasSubstr("optimizer.curvature.sketch has no effect")));
  EXPECT_TRUE(notes({"optimizer.damping.adaptive=5"}).empty());
  EXPECT_THAT(notes({"optimizer.damping.adaptive.factor=2"}),
              ::testing::ElementsAre(HasSubstr("optimizer.damping.adaptive")));
  EXPECT_TRUE(notes({"engine.tune=true", "engine.choices=H"}).empty());
  EXPECT_THAT(notes({"engine.choices=H"}),
              ::testing::ElementsAre(HasSubstr("engine.choices has no effect: engine.tune is false")));
  EXPECT_TRUE(notes({"engine.precision=f16", "engine.loss_scale=2"}).empty());
  EXPECT_THAT(notes({"engine.precision=bf16", "engine.loss_scale=2"}),
              ::testing::ElementsAre(HasSubstr("engine.loss_scale has no effect: engine.precision is bf16")));
  EXPECT_THAT(notes({"optimizer.curvature.decay=0.5"}),
              ::testing::ElementsAre(HasSubstr("optimizer.curvature.decay")));
  EXPECT_THAT(notes({"optimizer.lr.schedule=cosine"}),
              ::testing::ElementsAre(HasSubstr("optimizer.lr.exponent")));
  EXPECT_THAT(notes({"actors.max=9"}), ::testing::ElementsAre(HasSubstr("only 8 actors have work")));
  EXPECT_THAT(notes({"exchange=nccl", "exchange.reduce=fast"}),
              ::testing::ElementsAre(HasSubstr("not reproducible across group sizes")));
  EXPECT_THAT(notes({"optimizer.lr.final=0.1"}), ::testing::ElementsAre(HasSubstr("optimizer.lr.final")));
}

TEST(JobSpec, GpuNotesNameWhatTheCpuCannotDo) {
  const auto notes = [](const std::vector<std::string>& overrides) {
    const auto spec = parse_job_spec(kExample, "f.yaml", overrides);
    return spec ? gpu_notes_on(*spec) : std::vector<std::string>{spec.error().message};
  };
  EXPECT_THAT(notes({}), ::testing::IsEmpty());
  EXPECT_THAT(notes({"exchange=auto", "engine.graphs=off"}), ::testing::IsEmpty());
  for (const std::string precision : {"tf32", "bf16", "f16"})
    EXPECT_THAT(notes({"engine.precision=" + precision}),
                ::testing::ElementsAre(HasSubstr("engine.precision is " + precision + ", which GPUs alone")));
  EXPECT_THAT(notes({"exchange=nccl", "exchange.reduce=fast", "engine.tune=true", "actors=1"}),
              ::testing::ElementsAre(HasSubstr("exchange.path is nccl"), HasSubstr("exchange.reduce is fast"),
                                     HasSubstr("engine.tune measures on GPUs")));
  EXPECT_THAT(notes({"exchange=nccl", "actors.min=2", "actors.max=2"}),
              ::testing::ElementsAre(HasSubstr("fewer than 2 of its slots are GPUs'")));
  EXPECT_THAT(notes({"exchange=nccl", "actors.min=1"}),
              ::testing::ElementsAre(HasSubstr("none of its slots is a GPU's")));
}

}  // namespace
}  // namespace seng
