#include "protocol/spec/spec_fields.h"

#include <algorithm>

#include <fmt/format.h>

namespace seng {
namespace {

constexpr std::size_t kLongestName = 64;
constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kLongestChoices = 256 << 10;  // thousands of convolutions
constexpr double kMany = 1e6;                       // epochs, rates: more is a slip
constexpr double kLongestTime = 1e8;                // seconds, three years

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool is_word(std::string_view text, std::string_view punctuation) {
  return !text.empty() && text.size() <= kLongestName && (is_letter(text[0]) || is_digit(text[0])) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return is_letter(c) || is_digit(c) || punctuation.find(c) != std::string_view::npos;
         });
}

// A job can be named by its number too, so that a name must not look like one.
std::string refuse_job_name(std::string_view text) {
  if (is_word(text, "._-") && std::any_of(text.begin(), text.end(), is_letter)) return "";
  return "1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit, at least one a letter";
}

std::string refuse_kind_name(std::string_view text) {
  return is_word(text, "._-") ? "" : "a name of letters, digits, '.', '_' and '-'";
}

std::string refuse_path(std::string_view text) {
  if (!text.empty() && text.size() <= kLongestText && std::none_of(text.begin(), text.end(), is_control))
    return "";
  return "auto or a directory";
}

std::string refuse_ranks(std::string_view text) {
  return parse_ranks(text) ? "" : "whole numbers from 0 to 65535 with a space between them, or \"\"";
}

std::string refuse_choices(std::string_view text) {
  if (text.size() <= kLongestChoices && std::none_of(text.begin(), text.end(), is_control)) return "";
  return "a table of choices in one line, or \"\"";
}

std::string refuse_optional_path(std::string_view text) {
  return text.empty() || refuse_path(text).empty() ? "" : "a path, or \"\" for none";
}

// A captureless accessor, so that the table below stays a table.
#define SENG_AT(member) [](JobSpec& s) -> decltype((s.member)) { return s.member; }

NumberField number(Member<double> at, double low, double high) {
  return {at, low, high};
}
NumberField above(Member<double> at, double low, double high) {
  return {at, low, high, true};
}
NumberField below(Member<double> at, double low, double high) {
  return {at, low, high, false, true};
}
NumberField share(Member<double> at) {
  return {at, 0, 1, true};
}
CountField count(Member<std::uint32_t> at, std::uint64_t low, std::uint64_t high, std::string_view zero = {},
                 std::string_view top = {}) {
  return {at, nullptr, low, high, zero, top};
}
CountField count(Member<std::uint64_t> at, std::uint64_t low, std::uint64_t high) {
  return {nullptr, at, low, high, {}, {}};
}

std::vector<SpecField> make_fields() {
  return {
      {"name", TextField{SENG_AT(name), refuse_job_name}},
      {"seed", count(SENG_AT(seed), 0, UINT64_MAX)},
      {"model.name", TextField{SENG_AT(model_name), refuse_kind_name}, true},
      {"data.name", TextField{SENG_AT(data_name), refuse_kind_name}, true},
      {"data.root", TextField{SENG_AT(data_root), refuse_path}},
      {"data.workers", count(SENG_AT(data_workers), 0, 64)},
      {"data.prefetch", count(SENG_AT(data_prefetch), 1, 1024)},
      {"data.augment.resized_crop", number(SENG_AT(augment.resized_crop), 0, 1)},
      {"data.augment.pad_crop", count(SENG_AT(augment.pad_crop), 0, 4096)},
      {"data.augment.flip", FlagField{SENG_AT(augment.flip)}},
      {"data.augment.color_jitter.brightness", number(SENG_AT(augment.brightness), 0, 100)},
      {"data.augment.color_jitter.contrast", number(SENG_AT(augment.contrast), 0, 100)},
      {"data.augment.color_jitter.saturation", number(SENG_AT(augment.saturation), 0, 100)},
      {"data.augment.color_jitter.hue", number(SENG_AT(augment.hue), 0, 0.5)},
      {"data.augment.cutout", count(SENG_AT(augment.cutout), 0, 4096)},
      {"data.augment.mixup", number(SENG_AT(augment.mixup), 0, 1000)},
      {"batch.global", count(SENG_AT(batch_global), 1, 10'000'000), true},
      {"batch.micro", count(SENG_AT(batch_micro), 1, 10'000'000), true},
      {"epochs", above(SENG_AT(epochs), 0, kMany)},
      {"steps", count(SENG_AT(steps), 1, 1'000'000'000)},
      {"loss.label_smoothing", below(SENG_AT(label_smoothing), 0, 1)},
      {"optimizer.name", ChoiceField{SENG_AT(optimizer.name), {"seng", "kfac", "sgd", "lars"}}, true},
      {"optimizer.lr.schedule",
       ChoiceField{SENG_AT(optimizer.lr.kind), {"constant", "exp", "poly", "cosine", "step"}}},
      {"optimizer.lr.initial", number(SENG_AT(optimizer.lr.initial), 0, kMany)},
      {"optimizer.lr.final", number(SENG_AT(optimizer.lr.final), 0, kMany)},
      {"optimizer.lr.exponent", number(SENG_AT(optimizer.lr.exponent), 0, 1000)},
      {"optimizer.lr.end_epochs", number(SENG_AT(optimizer.lr.end_epochs), 0, kMany)},
      {"optimizer.lr.milestones", NumberListField{SENG_AT(optimizer.lr.milestones), 100}},
      {"optimizer.lr.gamma", number(SENG_AT(optimizer.lr.gamma), 0, 1000)},
      {"optimizer.lr.warmup_epochs", number(SENG_AT(optimizer.lr.warmup_epochs), 0, kMany)},
      {"optimizer.momentum", below(SENG_AT(optimizer.momentum), 0, 1)},
      {"optimizer.nesterov", FlagField{SENG_AT(optimizer.nesterov)}},
      {"optimizer.weight_decay", number(SENG_AT(optimizer.weight_decay), 0, kMany)},
      {"optimizer.damping.initial", above(SENG_AT(optimizer.damping_initial), 0, 1e12)},
      {"optimizer.damping.decay", above(SENG_AT(optimizer.damping_decay), 0, 1000)},
      {"optimizer.damping.every_epochs", above(SENG_AT(optimizer.damping_every_epochs), 0, kMany)},
      {"optimizer.damping.adaptive.every", count(SENG_AT(optimizer.adaptive.every), 0, 1'000'000'000)},
      {"optimizer.damping.adaptive.factor", above(SENG_AT(optimizer.adaptive.factor), 1, 1000)},
      {"optimizer.damping.adaptive.min", above(SENG_AT(optimizer.adaptive.min), 0, 1e12)},
      {"optimizer.damping.adaptive.max", above(SENG_AT(optimizer.adaptive.max), 0, 1e12)},
      {"optimizer.curvature.every", count(SENG_AT(optimizer.curvature.every), 1, 1'000'000'000)},
      {"optimizer.curvature.samples", count(SENG_AT(optimizer.curvature.samples), 1, 10'000'000)},
      {"optimizer.curvature.batch_norm",
       ChoiceField{SENG_AT(optimizer.curvature.batch_norm), {"explicit", "scale"}}},
      {"optimizer.curvature.representation",
       ChoiceField{SENG_AT(optimizer.curvature.representation), {"auto", "explicit", "implicit"}}},
      {"optimizer.curvature.rank",
       count(SENG_AT(optimizer.curvature.rank), 1, CurvatureSpec::kRankAuto, "full", "auto")},
      {"optimizer.curvature.rank_energy", share(SENG_AT(optimizer.curvature.rank_energy))},
      {"optimizer.curvature.rank_max", count(SENG_AT(optimizer.curvature.rank_max), 1, 65535)},
      {"optimizer.curvature.ranks", TextField{SENG_AT(optimizer.curvature.ranks), refuse_ranks}},
      {"optimizer.curvature.rank_method",
       ChoiceField{SENG_AT(optimizer.curvature.rank_method), {"subspace", "svd"}}},
      {"optimizer.curvature.sketch",
       ChoiceField{SENG_AT(optimizer.curvature.sketch), {"none", "rows", "countsketch"}}},
      {"optimizer.curvature.sketch_rows", count(SENG_AT(optimizer.curvature.sketch_rows), 1, 1'000'000'000)},
      {"optimizer.curvature.product",
       ChoiceField{SENG_AT(optimizer.curvature.product), {"exact", "countsketch", "authors"}}},
      {"optimizer.curvature.product_buckets",
       count(SENG_AT(optimizer.curvature.product_buckets), 1, 1'000'000)},
      {"optimizer.curvature.mode", ChoiceField{SENG_AT(optimizer.curvature.mode), {"global", "local"}}},
      {"optimizer.curvature.workers", count(SENG_AT(optimizer.curvature.workers), 1, 65536)},
      {"optimizer.curvature.overlap", FlagField{SENG_AT(optimizer.curvature.overlap)}},
      {"optimizer.curvature.dtype", ChoiceField{SENG_AT(optimizer.curvature.dtype), {"f32", "bf16"}}},
      {"optimizer.curvature.fragment_dtype",
       ChoiceField{SENG_AT(optimizer.curvature.fragment_dtype), {"f32", "bf16"}}},
      {"optimizer.curvature.memory_mib",
       count(SENG_AT(optimizer.curvature.memory_mib), 1, 1'000'000'000, "unlimited")},
      {"optimizer.curvature.decay", below(SENG_AT(optimizer.curvature.decay), 0, 1)},
      {"optimizer.curvature.inverse_every",
       count(SENG_AT(optimizer.curvature.inverse_every), 1, 1'000'000'000)},
      {"optimizer.trust_region", number(SENG_AT(optimizer.trust_region), 0, kMany)},
      {"optimizer.trust_coefficient", above(SENG_AT(optimizer.trust_coefficient), 0, kMany)},
      {"actors.min", count(SENG_AT(actors_min), 1, 1024)},
      {"actors.max", count(SENG_AT(actors_max), 1, 1024)},
      {"actors.lanes", count(SENG_AT(lanes), 1, 1024, "auto")},
      {"exchange.path", ChoiceField{SENG_AT(exchange), {"auto", "zmq", "nccl"}}},
      {"exchange.reduce", ChoiceField{SENG_AT(reduce), {"ordered", "fast"}}},
      {"restart.max", count(SENG_AT(restart_max), 0, 100'000)},
      {"restart.window", above(SENG_AT(restart_window_s), 0, kLongestTime)},
      {"priority", IntegerField{SENG_AT(priority), -1000, 1000}},
      {"allow_mixed_devices", FlagField{SENG_AT(allow_mixed_devices)}},
      {"checkpoint.every_steps", count(SENG_AT(checkpoint_every_steps), 0, 1'000'000'000)},
      {"checkpoint.keep", count(SENG_AT(checkpoint_keep), 1, 1000)},
      {"evaluate.every_epochs", number(SENG_AT(evaluate_every_epochs), 0, kMany)},
      {"engine.precision", ChoiceField{SENG_AT(engine_precision), {"f32", "tf32", "bf16", "f16"}}},
      {"engine.loss_scale", count(SENG_AT(engine_loss_scale), 1, 1 << 24)},
      {"engine.convolution", ChoiceField{SENG_AT(engine_convolution), {"auto", "direct"}}},
      {"engine.graphs", ChoiceField{SENG_AT(engine_graphs), {"auto", "off"}}},
      {"engine.checkpoint_activations", FlagField{SENG_AT(engine_checkpoint_activations)}},
      {"engine.tune", FlagField{SENG_AT(engine_tune)}},
      {"engine.choices", TextField{SENG_AT(engine_choices), refuse_choices}},
      {"ledger", FlagField{SENG_AT(ledger)}},
      {"on_divergence", ChoiceField{SENG_AT(on_divergence), {"fail", "continue"}}},
      {"initial.checkpoint", TextField{SENG_AT(initial_checkpoint), refuse_optional_path}},
      {"initial.weights", TextField{SENG_AT(initial_weights), refuse_optional_path}},
  };
}

std::vector<SpecGroup> make_groups() {
  return {
      {"", "", true},
      {"model", "name", true, SENG_AT(model_options)},
      {"data", "name", true, SENG_AT(data_options)},
      {"data.augment", ""},
      {"data.augment.color_jitter", ""},
      {"batch", "", true},
      {"loss", ""},
      {"optimizer", "name", true},
      {"optimizer.lr", "initial"},
      {"optimizer.damping", "initial"},
      {"optimizer.damping.adaptive", "every"},
      {"optimizer.curvature", ""},
      {"actors", "max"},
      {"exchange", "path"},
      {"restart", "max"},
      {"checkpoint", ""},
      {"evaluate", ""},
      {"engine", ""},
      {"initial", ""},
  };
}

#undef SENG_AT

std::string words(const std::vector<std::string_view>& list) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += i + 1 == list.size() ? " or " : ", ";
    out += list[i];
  }
  return out;
}

struct Expectation {
  std::string operator()(const NumberField& f) const {
    if (f.above_low) return fmt::format("a number above {}, at most {}", f.low, f.high);
    if (f.below_high) return fmt::format("a number from {}, below {}", f.low, f.high);
    return fmt::format("a number from {} to {}", f.low, f.high);
  }
  std::string operator()(const CountField& f) const {
    std::string words;
    if (!f.zero_word.empty() && !f.high_word.empty()) words = fmt::format("{}, ", f.zero_word);
    if (!f.high_word.empty() || !f.zero_word.empty())
      words += fmt::format("{} or ", f.high_word.empty() ? f.zero_word : f.high_word);
    if (f.high == UINT64_MAX) return fmt::format("{}a whole number from {} to 2^64-1", words, f.low);
    return fmt::format("{}a whole number from {} to {}", words, f.low, f.highest());
  }
  std::string operator()(const IntegerField& f) const {
    return fmt::format("a whole number from {} to {}", f.low, f.high);
  }
  std::string operator()(const FlagField&) const { return "true or false"; }
  std::string operator()(const ChoiceField& f) const { return words(f.words); }
  std::string operator()(const TextField& f) const { return f.refusal(std::string_view("\0", 1)); }
  std::string operator()(const NumberListField& f) const {
    return fmt::format("a list of at most {} growing numbers above 0, as [1, 2.5]", f.longest);
  }
};

}  // namespace

void CountField::set(JobSpec& spec, std::uint64_t value) const {
  if (at32 != nullptr) {
    at32(spec) = static_cast<std::uint32_t>(value);
  } else {
    at64(spec) = value;
  }
}

std::uint64_t CountField::get(const JobSpec& spec) const {
  auto& mutable_spec = const_cast<JobSpec&>(spec);  // the accessors only refer
  return at32 != nullptr ? at32(mutable_spec) : at64(mutable_spec);
}

std::span<const SpecField> spec_fields() {
  static const std::vector<SpecField> fields = make_fields();
  return fields;
}

std::span<const SpecGroup> spec_groups() {
  static const std::vector<SpecGroup> groups = make_groups();
  return groups;
}

const SpecField* find_field(std::string_view path) {
  for (const SpecField& field : spec_fields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

const SpecGroup* find_group(std::string_view path) {
  for (const SpecGroup& group : spec_groups()) {
    if (group.path == path) return &group;
  }
  return nullptr;
}

std::vector<std::string> keys_of(std::string_view group_path) {
  std::vector<std::string> keys;
  const auto add = [&](std::string_view path) {
    if (!path.empty() && parent_path(path) == group_path) keys.emplace_back(last_key(path));
  };
  for (const SpecField& field : spec_fields()) add(field.path);
  for (const SpecGroup& group : spec_groups()) add(group.path);
  if (group_path == "model") keys.emplace_back("layers");
  return keys;
}

std::string expectation(const SpecField& field) {
  return std::visit(Expectation{}, field.type);
}

std::string_view parent_path(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::string_view last_key(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::string join_path(std::string_view group, std::string_view key) {
  return group.empty() ? std::string(key) : fmt::format("{}.{}", group, key);
}

std::string refuse_option_name(std::string_view name) {
  return is_word(name, "_-") ? "" : "an option's name of letters, digits, '_' and '-'";
}

std::string refuse_option_value(std::string_view value) {
  if (value.size() <= kLongestText && std::none_of(value.begin(), value.end(), is_control)) return "";
  return fmt::format("at most {} characters and no control characters", kLongestText);
}

}  // namespace seng
