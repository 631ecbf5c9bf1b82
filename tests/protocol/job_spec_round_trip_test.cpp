// Every specification that the parser can give survives being written out.
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

// Any specification that the parser can give.
class RandomSpecs {
 public:
  JobSpec next() {
    JobSpec s;
    const std::uint32_t pieces = whole(1, 64);
    s.name = fmt::format("n{}", text("abcXYZ019._-", 20));
    s.seed = std::uint64_t{random_()} << 32 | random_();
    s.model_name = fmt::format("m{}", text("abc._-9", 8));
    s.data_name = fmt::format("d{}", text("abc._-9", 8));
    if (whole(0, 1)) s.data_root = fmt::format("/{}", text("abc /:#'\"{}[],&*!|>%@`\\~-ü", 30));
    options(s.model_options);
    options(s.data_options);
    if (whole(0, 2) == 0) written_network(s);
    augment(s.augment);
    s.data_workers = whole(0, 64);
    s.data_prefetch = whole(1, 1024);
    s.batch_micro = whole(1, 100);
    s.batch_global = s.batch_micro * pieces;
    if (whole(0, 1)) {
      s.epochs = number(1e6);
    } else {
      s.steps = whole(1, 1'000'000'000);
    }
    s.label_smoothing = number(1);
    optimizer(s, pieces);
    s.actors_max = whole(1, pieces);
    s.actors_min = whole(1, s.actors_max);
    s.lanes = whole(0, 8);
    s.checkpoint_every_steps = whole(0, 1000);
    s.checkpoint_keep = whole(1, 1000);
    s.evaluate_every_epochs = number(100);
    s.engine_precision = std::array{"f32", "tf32", "bf16", "f16"}[whole(0, 3)];
    s.engine_loss_scale = 1u << whole(0, 24);
    s.engine_tune = !s.allow_mixed_devices && whole(0, 1) == 1;
    s.engine_choices = std::array{"", "H; forward f32 nhwc 2x1x8x8 4x3x3 s1 p1 = 6"}[whole(0, 1)];
    s.engine_convolution = whole(0, 1) ? "auto" : "direct";
    s.engine_graphs = whole(0, 1) ? "auto" : "off";
    s.engine_checkpoint_activations = whole(0, 1) == 1;
    s.ledger = whole(0, 1) == 1;
    s.exchange = std::array{"auto", "nccl", "zmq"}[whole(0, 2)];
    if (s.exchange != "zmq" && whole(0, 1)) s.reduce = "fast";
    s.restart_max = whole(0, 100'000);
    s.restart_window_s = number(1e8);
    s.priority = static_cast<std::int32_t>(whole(0, 2000)) - 1000;
    std::string& from = whole(0, 1) ? s.initial_checkpoint : s.initial_weights;
    if (whole(0, 1)) from = text("ab /:#'\"{}~-ü", 20);
    return s;
  }

 private:
  std::uint32_t whole(std::uint32_t low, std::uint32_t high) { return low + random_() % (high - low + 1); }
  double number(double below) {  // of any magnitude, above 0
    const double x =
        std::ldexp(1 + std::generate_canonical<double, 53>(random_), -static_cast<int>(whole(1, 60)));
    return x * below;
  }
  std::string text(const std::string& letters, std::uint32_t longest) {
    std::string out;
    for (std::uint32_t i = 0, n = whole(1, longest); i < n; ++i) {
      const char c = letters[random_() % letters.size()];
      out += static_cast<unsigned char>(c) < 0x80 ? std::string(1, c) : "ü";
    }
    return out;
  }
  void options(std::map<std::string, std::string>& options) {
    const std::vector<std::string> values = {"1",   "-0.5", "true", "null", "~",  "",    " a ",
                                             "- b", "--",   "...",  "a: b", "\"", "\\n", "#c"};
    for (std::uint32_t i = 0, n = whole(0, 3); i < n; ++i)
      options["option-" + text("xyz_9", 5)] = values[random_() % values.size()];
  }
  void augment(AugmentSpec& a) {
    (whole(0, 1) ? a.cutout : a.pad_crop) = whole(0, 8);
    if (a.pad_crop == 0) a.resized_crop = number(1);
    a.flip = whole(0, 1) == 1;
    a.brightness = number(10);
    a.contrast = number(1);
    a.saturation = number(1);
    a.hue = number(0.25);
    a.mixup = number(2);
  }
  void written_network(JobSpec& s) {
    s.model_name.clear();
    s.model_options.clear();
    std::string first = "a";
    first.append(text("b.-_9", 5)).append("c");
    s.model_layers = {{first, "conv2d", {}, {{"channels", "3"}, {"bias", "false"}}},
                      {"drop", "dropout", {"image"}, {{"probability", "0.5"}}},
                      {"sum", "add", {"drop", ""}, {}}};
    s.model_layers[2].inputs[1] = s.model_layers[0].name;
  }
  void optimizer(JobSpec& s, std::uint32_t pieces) {
    OptimizerSpec& o = s.optimizer;
    o.name = std::vector<std::string>{"seng", "kfac", "sgd", "lars"}[random_() % 4];
    o.trust_coefficient = number(1);
    const std::vector<std::string> kinds = {"constant", "exp", "poly", "cosine", "step"};
    o.lr.kind = kinds[random_() % kinds.size()];
    o.lr.initial = number(10);
    o.lr.final = number(1);
    o.lr.exponent = number(10);
    o.lr.end_epochs = number(100);
    o.lr.gamma = number(1);
    o.lr.warmup_epochs = number(10);
    for (std::uint32_t i = 0, n = whole(o.lr.kind == "step", 5); i < n; ++i)
      o.lr.milestones.push_back((o.lr.milestones.empty() ? 0 : o.lr.milestones.back()) + 0.001 + number(10));
    o.momentum = number(1);
    o.nesterov = whole(0, 1) == 1;
    o.weight_decay = number(1);
    o.damping_initial = number(1e12);
    o.damping_decay = whole(0, 1) ? 1 : number(1);
    o.damping_every_epochs = number(100);
    o.adaptive.every = o.damping_decay == 1 ? whole(2, 100) : 0;
    o.adaptive.factor = 1.01 + number(10);
    o.adaptive.min = o.damping_initial * 0.25;
    o.adaptive.max = o.damping_initial;
    o.curvature.every = whole(1, 1000);
    o.curvature.samples = pieces * whole(1, s.batch_micro);
    o.curvature.batch_norm = whole(0, 1) ? "explicit" : "scale";
    const auto one_of = [&](const std::vector<std::string>& words) {
      return words[random_() % words.size()];
    };
    o.curvature.representation = one_of({"auto", "explicit", "implicit"});
    o.curvature.rank = whole(0, 1) ? whole(0, 9) : CurvatureSpec::kRankAuto;
    if (o.curvature.rank == CurvatureSpec::kRankAuto && whole(0, 1))
      o.curvature.ranks = "3 0 " + std::to_string(whole(0, 65535));
    o.curvature.rank_energy = number(1);
    o.curvature.rank_max = whole(1, 65535);
    o.curvature.rank_method = one_of({"subspace", "svd"});
    o.curvature.sketch = one_of({"none", "rows", "countsketch"});
    o.curvature.sketch_rows = whole(1, 10000);
    o.curvature.product = one_of({"exact", "countsketch", "authors"});
    o.curvature.product_buckets = whole(1, 1000);
    o.curvature.mode = one_of({"global", "local"});
    o.curvature.workers = o.curvature.mode == "local" ? pieces : whole(1, 1000);
    o.curvature.dtype = whole(0, 1) ? "f32" : "bf16";
    o.curvature.fragment_dtype = whole(0, 1) ? "f32" : "bf16";
    o.curvature.overlap = o.adaptive.every == 0 && whole(0, 1) == 1;
    o.curvature.memory_mib = whole(0, 1) ? whole(1, 100000) : 0;
    o.curvature.decay = number(1);
    o.curvature.inverse_every = whole(1, 50);
    o.trust_region = number(1);
  }

  std::mt19937 random_{std::random_device{}()};
};

TEST(JobSpec, WrittenOutReadsBackTheSame) {
  RandomSpecs specs;
  for (int i = 0; i < 1000; ++i) {
    const JobSpec spec = specs.next();
    const std::string yaml = to_yaml(spec);
    const auto again = parse_job_spec(yaml, "written");
    ASSERT_TRUE(again) << again.error().message << "\n" << yaml;
    EXPECT_EQ(*again, spec) << yaml;
    EXPECT_EQ(to_yaml(*again), yaml);
  }
}

}  // namespace
}  // namespace seng
