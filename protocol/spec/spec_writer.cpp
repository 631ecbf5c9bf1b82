// to_yaml, differences and notes_on of job_spec.h.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "protocol/spec/job_spec.h"
#include "protocol/spec/spec_fields.h"
#include "protocol/spec/spec_layers.h"

namespace seng {
namespace {

// The shortest decimal that reads back as the same double.
std::string exact(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end);
}

struct FieldWriter {
  JobSpec& spec;
  std::string operator()(const NumberField& f) const { return exact(f.at(spec)); }
  std::string operator()(const CountField& f) const {
    const std::uint64_t value = f.get(spec);
    if (value == 0 && !f.zero_word.empty()) return std::string(f.zero_word);
    return value == f.high && !f.high_word.empty() ? std::string(f.high_word) : std::to_string(value);
  }
  std::string operator()(const IntegerField& f) const { return std::to_string(f.at(spec)); }
  std::string operator()(const FlagField& f) const { return f.at(spec) ? "true" : "false"; }
  std::string operator()(const ChoiceField& f) const { return f.at(spec); }
  std::string operator()(const TextField& f) const { return yaml_text(f.at(spec)); }
  std::string operator()(const NumberListField& f) const {
    std::string out;
    for (const double value : f.at(spec)) out += (out.empty() ? "" : ", ") + exact(value);
    return "[" + out + "]";
  }
};

std::string indent(std::string_view path) {
  return std::string(2 * static_cast<std::size_t>(std::count(path.begin(), path.end(), '.')), ' ');
}

void add_option_differences(std::string_view group, const std::map<std::string, std::string>& a,
                            const std::map<std::string, std::string>& b, std::vector<std::string>& out) {
  std::map<std::string, std::pair<std::string, std::string>> both;
  for (const auto& [key, value] : a) both[key] = {yaml_text(value), "none"};
  for (const auto& [key, value] : b)
    both.try_emplace(key, "none", "none").first->second.second = yaml_text(value);
  for (const auto& [key, values] : both)
    if (values.first != values.second)
      out.push_back(fmt::format("{}.{}: {} and {}", group, key, values.first, values.second));
}

void add_layer_differences(const std::vector<LayerSpec>& a, const std::vector<LayerSpec>& b,
                           std::vector<std::string>& out) {
  const auto text = [](const std::vector<LayerSpec>& layers, std::size_t i) {
    return i < layers.size() ? layer_text(layers[i]) : "none";
  };
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string x = text(a, i), y = text(b, i);
    if (x != y) out.push_back(fmt::format("model.layers[{}]: {} and {}", i, x, y));
  }
}

}  // namespace

std::string yaml_text(std::string_view text) {
  const auto plain_char = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '/' || c == '-' || c == '+';
  };
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  const bool plain = !text.empty() && text[0] != '+' &&
                     (text[0] != '-' || (text.size() > 1 && text[1] != '-')) && lower != "null" &&
                     text != "-" && std::all_of(text.begin(), text.end(), plain_char);
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::vector<std::string> differences(const JobSpec& a, const JobSpec& b,
                                     const std::vector<std::string_view>& but_for) {
  JobSpec first = a, second = b;  // the accessors want them mutable
  const auto left_out = [&](std::string_view path) {
    return std::any_of(but_for.begin(), but_for.end(), [&](std::string_view each) {
      return path == each || (path.starts_with(each) && path[each.size()] == '.');
    });
  };
  std::vector<std::string> out;
  for (const SpecField& field : spec_fields()) {
    if (left_out(field.path)) continue;
    const std::string x = std::visit(FieldWriter{first}, field.type),
                      y = std::visit(FieldWriter{second}, field.type);
    if (x != y) out.push_back(fmt::format("{}: {} and {}", field.path, x, y));
  }
  for (const SpecGroup& group : spec_groups()) {
    if (group.options != nullptr && !left_out(group.path))
      add_option_differences(group.path, group.options(first), group.options(second), out);
  }
  if (!left_out("model.layers")) add_layer_differences(a.model_layers, b.model_layers, out);
  return out;
}

std::string to_yaml(const JobSpec& spec) {
  JobSpec copy = spec;
  std::string out;
  std::string_view open;  // the group being written
  const auto options_of = [&](std::string_view path) {
    const SpecGroup* group = find_group(path);
    if (group == nullptr || group->options == nullptr) return;
    for (const auto& [key, value] : group->options(copy))
      out += fmt::format("  {}: {}\n", key, yaml_text(value));
  };
  for (const SpecField& field : spec_fields()) {
    if ((field.path == "epochs" && spec.steps != 0) || (field.path == "steps" && spec.steps == 0)) continue;
    const std::string_view group = parent_path(field.path);
    if (group != open) {
      options_of(open);
      if (!group.empty() && !open.starts_with(group))
        out += fmt::format("{}{}:\n", indent(group), last_key(group));
      open = group;
    }
    if (field.path == "model.name" && !spec.model_layers.empty()) {
      out += "  layers:\n";
      for (const LayerSpec& layer : spec.model_layers) out += fmt::format("    - {}\n", layer_text(layer));
      continue;
    }
    out += fmt::format("{}{}: {}\n", indent(field.path), last_key(field.path),
                       std::visit(FieldWriter{copy}, field.type));
  }
  return out;
}

namespace {

using Unused = std::function<void(std::string_view key, std::string_view why)>;

void curvature_notes(const CurvatureSpec& c, const Unused& unused) {
  const CurvatureSpec usual;
  if (c.rank != 0 && c.representation == "explicit")
    unused("optimizer.curvature.rank", "the representation is explicit");
  if (c.rank != CurvatureSpec::kRankAuto &&
      (c.rank_energy != usual.rank_energy || c.rank_max != usual.rank_max))
    unused("optimizer.curvature.rank_energy and rank_max", "the rank is not auto");
  if (c.rank != CurvatureSpec::kRankAuto && !c.ranks.empty())
    unused("optimizer.curvature.ranks", "the rank is not auto");
  if (c.rank == 0 && c.rank_method != usual.rank_method)
    unused("optimizer.curvature.rank_method", "the rank is full");
  if (c.sketch == "none" && c.sketch_rows != usual.sketch_rows)
    unused("optimizer.curvature.sketch_rows", "there is no sketch");
  if (c.product != "countsketch" && c.product_buckets != usual.product_buckets)
    unused("optimizer.curvature.product_buckets", "the product is " + c.product);
  if (c.mode == "global" && c.workers != 1) unused("optimizer.curvature.workers", "the mode is global");
  if (c.decay != usual.decay || c.inverse_every != usual.inverse_every)
    unused("optimizer.curvature.decay and inverse_every", "they are kfac's");
}

// K-FAC has one form; what chooses among SENG's says nothing to it.
void kfac_notes(const CurvatureSpec& c, const Unused& unused) {
  const CurvatureSpec usual;
  const std::pair<const char*, bool> keys[] = {{"representation", c.representation != usual.representation},
                                               {"rank", c.rank != usual.rank},
                                               {"sketch", c.sketch != usual.sketch},
                                               {"product", c.product != usual.product},
                                               {"mode", c.mode != usual.mode},
                                               {"overlap", c.overlap},
                                               {"dtype", c.dtype != usual.dtype},
                                               {"fragment_dtype", c.fragment_dtype != usual.fragment_dtype}};
  for (const auto& [key, given] : keys)
    if (given) unused(fmt::format("optimizer.curvature.{}", key), "it is seng's");
}

}  // namespace

std::vector<std::string> notes_on(const JobSpec& spec) {
  std::vector<std::string> notes;
  const auto unused = [&](std::string_view key, std::string_view why) {
    notes.push_back(fmt::format("{} has no effect: {}", key, why));
  };
  const OptimizerSpec& o = spec.optimizer;
  const OptimizerSpec usual;
  if (!has_curvature(o.name)) {
    const std::string none = o.name + " has no curvature";
    if (o.trust_region != 0) unused("optimizer.trust_region", o.name + " takes the gradient as it is");
    if (o.damping_initial != usual.damping_initial || o.damping_decay != usual.damping_decay ||
        o.adaptive.every != 0)
      unused("optimizer.damping", none);
    if (o.curvature.every != usual.curvature.every) unused("optimizer.curvature", none);
  }
  if (o.adaptive.every == 0 && o.adaptive != usual.adaptive)
    unused("optimizer.damping.adaptive", "its `every` is 0");
  if (spec.data_prefetch != JobSpec{}.data_prefetch && spec.data_workers == 0)
    unused("data.prefetch", "data.workers is 0");
  if (o.name != "lars" && o.trust_coefficient != usual.trust_coefficient)
    unused("optimizer.trust_coefficient", "it is lars's");
  if (o.name == "seng") curvature_notes(o.curvature, unused);
  if (o.name == "kfac") kfac_notes(o.curvature, unused);
  const ScheduleSpec& lr = o.lr;
  const bool fades = lr.kind == "exp" || lr.kind == "poly";
  if (lr.exponent != 1 && !fades) unused("optimizer.lr.exponent", "the schedule is " + lr.kind);
  if (lr.end_epochs != 0 && !fades) unused("optimizer.lr.end_epochs", "the schedule is " + lr.kind);
  if (lr.final != 0 && lr.kind != "poly" && lr.kind != "cosine")
    unused("optimizer.lr.final", "the schedule is " + lr.kind);
  if (!lr.milestones.empty() && lr.kind != "step")
    unused("optimizer.lr.milestones", "the schedule is " + lr.kind);
  if (lr.gamma != usual.lr.gamma && lr.kind != "step")
    unused("optimizer.lr.gamma", "the schedule is " + lr.kind);
  if (spec.engine_precision != "f16" && spec.engine_loss_scale != JobSpec{}.engine_loss_scale)
    unused("engine.loss_scale", "engine.precision is " + spec.engine_precision);
  if (!spec.engine_tune && !spec.engine_choices.empty()) unused("engine.choices", "engine.tune is false");
  if (spec.batch_micro > 0 && spec.actors_max > spec.micro_batches())
    notes.push_back(fmt::format(
        "actors.max is {}, but only {} work: one for each micro-batch", spec.actors_max,
        spec.micro_batches() == 1 ? "1 actor has" : fmt::format("{} actors have", spec.micro_batches())));
  if (spec.reduce == "fast")
    notes.push_back(
        "exchange.reduce is fast: the trained bits are not reproducible across group sizes, nor after a "
        "change of the members: they depend on who computes which micro-batch and on NCCL's order of sums");
  if (o.nesterov && o.momentum == 0) unused("optimizer.nesterov", "optimizer.momentum is 0");
  return notes;
}

std::vector<std::string> gpu_notes_on(const JobSpec& spec) {
  std::vector<std::string> notes;
  const std::string refusal =
      "sengd refuses the job where " +
      (spec.actors_min == 1 ? std::string("none of its slots is a GPU's")
                            : fmt::format("fewer than {} of its slots are GPUs'", spec.actors_min));
  if (spec.engine_precision != "f32")
    notes.push_back(fmt::format("engine.precision is {}, which GPUs alone compute in: {}",
                                spec.engine_precision, refusal));
  if (spec.exchange == "nccl")
    notes.push_back("exchange.path is nccl, which GPUs alone have: " + refusal + "; auto takes ZeroMQ there");
  if (spec.reduce == "fast")
    notes.push_back("exchange.reduce is fast, which NCCL does between GPUs: " + refusal);
  if (spec.engine_tune) notes.push_back("engine.tune measures on GPUs alone: on the CPU it has no effect");
  return notes;
}

}  // namespace seng
