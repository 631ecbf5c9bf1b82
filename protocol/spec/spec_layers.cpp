#include "protocol/spec/spec_layers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "protocol/base/text.h"
#include "protocol/spec/spec_fields.h"

namespace seng {
namespace {

constexpr double kWidest = 65'536;
constexpr double kLargestWindow = 1024;

using Kind = LayerOption::Kind;

std::vector<LayerType> make_types() {
  const LayerOption channels{"channels", Kind::kCount, 1, kWidest, "", true};
  const LayerOption features{"features", Kind::kCount, 1, kWidest, "", true};
  const LayerOption bias{"bias", Kind::kFlag, 0, 1, "true"};
  const LayerOption stride{"stride", Kind::kCount, 1, kLargestWindow, "1"};
  const LayerOption padding{"padding", Kind::kCount, 0, kLargestWindow, "0"};
  const LayerOption window{"kernel", Kind::kCount, 1, kLargestWindow, "2"};
  const LayerOption pool_stride{"stride", Kind::kCount, 1, kLargestWindow, ""};
  return {
      {"conv2d", 1, {channels, {"kernel", Kind::kCount, 1, kLargestWindow, "3"}, stride, padding, bias}},
      {"linear", 1, {features, bias}},
      {"batch_norm", 1, {}},
      {"relu", 1, {}},
      {"add", 2, {}},
      {"flatten", 1, {}},
      {"dropout", 1, {{"probability", Kind::kNumber, 0, 1, "0.5"}}},
      {"max_pool", 1, {window, pool_stride, padding}},
      {"average_pool", 1, {window, pool_stride, padding}},
      {"global_average_pool", 1, {}},
      {"adaptive_average_pool", 1, {{"size", Kind::kCount, 1, kLargestWindow, "", true}}},
  };
}

const LayerOption* find_option(const LayerType& type, std::string_view name) {
  for (const LayerOption& option : type.options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string expectation_of(const LayerOption& option) {
  switch (option.kind) {
    case Kind::kCount:
      return fmt::format("a whole number from {} to {}", option.low, option.high);
    case Kind::kNumber:
      return fmt::format("a number from {}, below {}", option.low, option.high);
    case Kind::kFlag:
      return "true or false";
  }
  return "";
}

template <class T>
bool reads_as(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_allowed(const LayerOption& option, const SpecNode& node) {
  if (node.kind != SpecNode::Kind::kScalar || node.quoted) return false;
  if (option.kind == Kind::kFlag) return node.text == "true" || node.text == "false";
  if (option.kind == Kind::kCount) {
    std::uint32_t value = 0;
    return reads_as(node.text, value) && value >= option.low && value <= option.high;
  }
  double value = 0;
  return reads_as(node.text, value) && value >= option.low && value < option.high;
}

bool is_layer_name(std::string_view text) {
  // The names of parameters, and words of job files.
  return refuse_option_name(std::string("a") + std::string(text.substr(0, 1))).empty() && text.size() <= 64 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string_view::npos &&
         text != kImageInput && text.front() != '.' && text.back() != '.';
}

class LayerReader {
 public:
  LayerReader(const SpecNode& list, SpecProblems& problems) : list_(list), problems_(problems) {}

  void read(const SpecNode& node) {
    path_ = fmt::format("model.layers[{}]", layers_.size());
    layers_.emplace_back();
    last_where_ = node.where;
    if (node.kind != SpecNode::Kind::kMap)
      return refuse(node.where, "", describe(node) + "; expected a map of name, type, inputs and options");
    read_name(node);
    const LayerType* type = read_type(node);
    read_inputs(node, type);
    if (type != nullptr) read_options(node, *type);
  }

  // Once all are read: nothing but the last may be unused.
  void check_uses(const SpecNode& list) {
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
      if (used_.contains(layers_[i].name) || layers_[i].name.empty()) continue;
      path_ = fmt::format("model.layers[{}]", i);
      refuse(list.items[i].where, "", fmt::format("nothing uses the output of {}", shown(layers_[i].name)));
    }
  }

  std::vector<LayerSpec> take() { return std::move(layers_); }

 private:
  void refuse(const std::string& where, std::string_view key, std::string what) {
    problems_.push_back({where, key.empty() ? path_ : fmt::format("{}.{}", path_, key), std::move(what)});
  }

  void read_name(const SpecNode& node) {
    const SpecNode::Entry* entry = node.find("name");
    if (entry == nullptr) return refuse(node.where, "name", "missing; expected the layer's name");
    const SpecNode& value = entry->value;
    if (value.kind != SpecNode::Kind::kScalar || value.text.empty() || !is_layer_name(value.text)) {
      return refuse(value.where, "name",
                    fmt::format("{}; expected 1 to 64 letters, digits, '.', '_' and '-', no '.' at the ends, "
                                "not \"{}\"",
                                describe(value), kImageInput));
    }
    const auto [before, is_new] = where_named_.try_emplace(value.text, value.where);
    if (!is_new)
      return refuse(value.where, "name",
                    fmt::format("{} is the name of the layer at {} too; expected another", shown(value.text),
                                before->second));
    layers_.back().name = value.text;
    names_.push_back(value.text);
  }

  const LayerType* read_type(const SpecNode& node) {
    std::vector<std::string_view> words;
    for (const LayerType& type : layer_types()) words.push_back(type.name);
    const SpecNode::Entry* entry = node.find("type");
    const std::string expected = fmt::format("expected {}", fmt::join(words, ", "));
    if (entry == nullptr) return refuse(node.where, "type", "missing; " + expected), nullptr;
    const SpecNode& value = entry->value;
    const LayerType* type = value.kind == SpecNode::Kind::kScalar ? find_layer_type(value.text) : nullptr;
    if (type == nullptr) {
      const std::string near =
          value.kind == SpecNode::Kind::kScalar ? did_you_mean(value.text, std::span(words)) : "";
      refuse(value.where, "type",
             "unknown type " + describe(value) + (near.empty() ? "; " + expected : near));
      return nullptr;
    }
    layers_.back().type = value.text;
    return type;
  }

  void read_inputs(const SpecNode& node, const LayerType* type) {
    std::vector<std::string>& inputs = layers_.back().inputs;
    const SpecNode::Entry* entry = node.find("inputs");
    const std::size_t index = layers_.size() - 1;
    if (entry == nullptr) {
      if (type != nullptr && type->inputs > 1)
        refuse(node.where, "inputs",
               fmt::format("missing; expected a list of {} layers' names", type->inputs));
      if (index > 0) used_[layers_[index - 1].name] = true;
      return;
    }
    const SpecNode& value = entry->value;
    if (value.kind == SpecNode::Kind::kScalar) return read_input(value, inputs), check_count(value, type);
    if (value.kind != SpecNode::Kind::kList)
      return refuse(value.where, "inputs", describe(value) + "; expected a list of earlier layers' names");
    for (const SpecNode& item : value.items) read_input(item, inputs);
    check_count(value, type);
  }

  void check_count(const SpecNode& value, const LayerType* type) {
    const std::size_t given = value.kind == SpecNode::Kind::kList ? value.items.size() : 1;
    if (type != nullptr && given != type->inputs)
      refuse(value.where, "inputs",
             fmt::format("{} of them; expected {} for the type {}", given, type->inputs, type->name));
  }

  void read_input(const SpecNode& item, std::vector<std::string>& inputs) {
    const bool word = item.kind == SpecNode::Kind::kScalar;
    const bool earlier = word && item.text != layers_.back().name &&
                         (item.text == kImageInput || where_named_.contains(item.text));
    if (!earlier) return refuse(item.where, "inputs", describe(item) + why_no_input(item));
    used_[item.text] = true;
    inputs.push_back(item.text);
  }

  std::string why_no_input(const SpecNode& item) const {
    const bool word = item.kind == SpecNode::Kind::kScalar;
    if (word && item.text == layers_.back().name) return " is this layer itself; expected an earlier one";
    if (word && stands_in_the_list(item.text)) return " comes later; expected an earlier layer";
    std::vector<std::string> candidates(names_);
    std::erase(candidates, layers_.back().name);
    candidates.emplace_back(kImageInput);
    return " is no earlier layer" + (word ? did_you_mean(item.text, std::span(candidates)) : "");
  }

  bool stands_in_the_list(const std::string& name) const {
    return std::any_of(list_.items.begin(), list_.items.end(), [&](const SpecNode& layer) {
      const SpecNode::Entry* entry = layer.kind == SpecNode::Kind::kMap ? layer.find("name") : nullptr;
      return entry != nullptr && entry->value.kind == SpecNode::Kind::kScalar && entry->value.text == name;
    });
  }

  void read_options(const SpecNode& node, const LayerType& type) {
    std::vector<std::string> words = {"name", "type", "inputs"};
    for (const LayerOption& option : type.options) words.emplace_back(option.name);
    for (const SpecNode::Entry& entry : node.entries) {
      if (entry.key == "name" || entry.key == "type" || entry.key == "inputs") continue;
      const LayerOption* option = find_option(type, entry.key);
      if (option == nullptr) {
        const std::string near = did_you_mean(entry.key, std::span(words));
        const std::string known = type.options.empty()
                                      ? fmt::format("; the type {} has no options", type.name)
                                      : fmt::format("; expected {}", fmt::join(words, ", "));
        refuse(entry.where, shown(entry.key), "unknown key" + (near.empty() ? known : near));
        continue;
      }
      if (!is_allowed(*option, entry.value))
        refuse(entry.value.where, option->name,
               fmt::format("{}; expected {}", describe(entry.value), expectation_of(*option)));
      layers_.back().options[entry.key] = entry.value.text;
    }
    for (const LayerOption& option : type.options) {
      if (option.required && node.find(option.name) == nullptr)
        refuse(node.where, option.name, "missing; expected " + expectation_of(option));
    }
  }

  const SpecNode& list_;
  SpecProblems& problems_;
  std::vector<LayerSpec> layers_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> where_named_;
  std::map<std::string, bool> used_;
  std::string path_, last_where_;
};

}  // namespace

std::span<const LayerType> layer_types() {
  static const std::vector<LayerType> types = make_types();
  return types;
}

const LayerType* find_layer_type(std::string_view name) {
  for (const LayerType& type : layer_types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::string layer_option(const LayerSpec& layer, std::string_view name) {
  const auto given = layer.options.find(std::string(name));
  if (given != layer.options.end()) return given->second;
  const LayerType* type = find_layer_type(layer.type);
  const LayerOption* option = type == nullptr ? nullptr : find_option(*type, name);
  SENG_CHECK(option != nullptr, "an option of the layer's type");
  const bool as_kernel = option->otherwise.empty() && name == "stride";
  return as_kernel ? layer_option(layer, "kernel") : std::string(option->otherwise);
}

std::vector<LayerSpec> read_layers(const SpecNode& node, SpecProblems& problems) {
  const std::string path = "model.layers";
  if (node.kind != SpecNode::Kind::kList || node.items.empty()) {
    const bool empty = node.kind == SpecNode::Kind::kList;
    problems.push_back(
        {node.where, path, (empty ? "an empty list" : describe(node)) + "; expected a list of layers"});
    return {};
  }
  if (node.items.size() > kMaxLayers) {
    problems.push_back(
        {node.where, path, fmt::format("{} layers; expected at most {}", node.items.size(), kMaxLayers)});
    return {};
  }
  const std::size_t before = problems.size();
  LayerReader reader(node, problems);
  for (const SpecNode& item : node.items) reader.read(item);
  if (problems.size() == before) reader.check_uses(node);
  return reader.take();
}

std::string layer_text(const LayerSpec& layer) {
  std::string out = fmt::format("{{name: {}, type: {}", yaml_text(layer.name), layer.type);
  if (!layer.inputs.empty()) {
    out += ", inputs: [";
    for (std::size_t i = 0; i < layer.inputs.size(); ++i)
      out += (i > 0 ? ", " : "") + yaml_text(layer.inputs[i]);
    out += "]";
  }
  for (const auto& [key, value] : layer.options) out += fmt::format(", {}: {}", key, value);
  return out + "}";
}

}  // namespace seng
