#include "protocol/spec/spec_decoder.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "protocol/base/text.h"
#include "protocol/spec/spec_fields.h"
#include "protocol/spec/spec_layers.h"

namespace seng {
namespace {

std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+') text.remove_prefix(1);
  return text;
}

bool says_not_finite(std::string_view text) {
  std::string word;
  for (const char c : text) {
    if (c != '+' && c != '-' && c != '.') word += static_cast<char>(c | 0x20);
  }
  return word == "inf" || word == "infinity" || word == "nan";
}

// Reads the scalar as a number; else says what it is instead.
std::string read_number(const SpecNode& node, double& value) {
  if (node.kind != SpecNode::Kind::kScalar || node.quoted) return describe(node);
  const std::string_view text = without_plus(node.text);
  double read = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (says_not_finite(text)) return shown(node.text) + " is not finite";
  if (error == std::errc::result_out_of_range) return shown(node.text) + " does not fit a double";
  if (error != std::errc() || end != text.data() + text.size()) return describe(node);
  value = read;
  return "";
}

std::string read_count(const SpecNode& node, std::uint64_t& value) {
  if (node.kind != SpecNode::Kind::kScalar || node.quoted) return describe(node);
  const std::string_view text = without_plus(node.text);
  std::uint64_t read = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (end != text.data() + text.size() || error != std::errc()) return describe(node);
  value = read;
  return "";
}

// Each returns what is wrong with the value, or nothing and has set the field.
struct FieldReader {
  const SpecNode& node;
  JobSpec& spec;

  std::string operator()(const NumberField& f) const {
    double value = 0;
    if (std::string wrong = read_number(node, value); !wrong.empty()) return wrong;
    const bool low_enough = f.below_high ? value < f.high : value <= f.high;
    const bool high_enough = f.above_low ? value > f.low : value >= f.low;
    if (!low_enough || !high_enough) return node.text + " is out of range";
    f.at(spec) = value;
    return "";
  }
  std::string operator()(const CountField& f) const {
    std::uint64_t value = 0;
    const bool scalar = node.kind == SpecNode::Kind::kScalar;
    if (!f.zero_word.empty() && scalar && node.text == f.zero_word) {
      f.set(spec, 0);
      return "";
    }
    if (!f.high_word.empty() && scalar && node.text == f.high_word) {
      f.set(spec, f.high);
      return "";
    }
    if (std::string wrong = read_count(node, value); !wrong.empty()) return wrong;
    if (value < f.low || value > f.highest()) return node.text + " is out of range";
    f.set(spec, value);
    return "";
  }
  std::string operator()(const IntegerField& f) const {
    double value = 0;
    const bool whole = node.text.find_first_of(".eE") == std::string::npos;
    if (std::string wrong = read_number(node, value); !wrong.empty() || !whole) return describe(node);
    if (value < f.low || value > f.high) return node.text + " is out of range";
    f.at(spec) = static_cast<std::int32_t>(value);
    return "";
  }
  std::string operator()(const FlagField& f) const {
    const bool plain = node.kind == SpecNode::Kind::kScalar && !node.quoted;
    if (!plain || (node.text != "true" && node.text != "false")) return describe(node);
    f.at(spec) = node.text == "true";
    return "";
  }
  std::string operator()(const ChoiceField& f) const {
    if (node.kind != SpecNode::Kind::kScalar) return describe(node);
    for (const std::string_view word : f.words) {
      if (node.text == word) {
        f.at(spec) = node.text;
        return "";
      }
    }
    return "unknown value " + shown(node.text) + did_you_mean(node.text, std::span(f.words));
  }
  std::string operator()(const TextField& f) const {
    if (node.kind != SpecNode::Kind::kScalar || !f.refusal(node.text).empty()) return describe(node);
    f.at(spec) = node.text;
    return "";
  }
  std::string operator()(const NumberListField& f) const {
    if (node.kind != SpecNode::Kind::kList) return describe(node);
    if (node.items.size() > f.longest) return fmt::format("a list of {}", node.items.size());
    std::vector<double> values;
    for (const SpecNode& item : node.items) {
      double value = 0;
      if (std::string wrong = read_number(item, value); !wrong.empty()) return "in the list " + wrong;
      if (value <= 0 || (!values.empty() && value <= values.back())) return "in the list " + shown(item.text);
      values.push_back(value);
    }
    f.at(spec) = std::move(values);
    return "";
  }
};

class Decoder {
 public:
  explicit Decoder(SpecProblems& problems) : problems_(problems) {}

  void read_group(const SpecGroup& group, const SpecNode& node) {
    if (node.kind == SpecNode::Kind::kScalar && !group.main_key.empty()) {
      read_field(*find_field(join_path(group.path, group.main_key)), node);
      return check_required(group, node.where);
    }
    if (node.kind != SpecNode::Kind::kMap) {
      const std::string expected =
          group.main_key.empty() ? "a map" : fmt::format("a map or its {}", group.main_key);
      return refuse(node.where, group.path, fmt::format("{}; expected {}", describe(node), expected));
    }
    for (const SpecNode::Entry& entry : node.entries) read_entry(group, entry);
    check_required(group, node.where);
  }

  DecodedSpec take() { return std::move(decoded_); }

 private:
  void refuse(const std::string& where, std::string_view path, std::string what) {
    decoded_.wrong.emplace(path);
    problems_.push_back({where, std::string(path), std::move(what)});
  }

  void read_entry(const SpecGroup& group, const SpecNode::Entry& entry) {
    const std::string path = join_path(group.path, entry.key);
    const bool nested = entry.key.find('.') != std::string::npos;
    if (const SpecField* field = nested ? nullptr : find_field(path)) return read_field(*field, entry.value);
    if (const SpecGroup* inner = nested ? nullptr : find_group(path)) {
      decoded_.given.insert(path);
      if (path == "data.augment" && entry.value.kind == SpecNode::Kind::kNull) return;
      return read_group(*inner, entry.value);
    }
    if (path == "model.layers") return read_network(entry);
    const std::vector<std::string> keys = keys_of(group.path);
    // One slip away from a key of the group itself is that key, not an option.
    const bool slip = std::any_of(keys.begin(), keys.end(),
                                  [&](const std::string& key) { return edit_distance(key, entry.key) <= 1; });
    if (group.options != nullptr && !slip) return read_option(group, entry, path);
    if (nested && find_field(path) != nullptr) {
      const std::string_view outer = parent_path(path);
      return refuse(entry.where, path,
                    fmt::format("unknown key; expected {} inside {}", last_key(path), outer));
    }
    const std::string suggestion = did_you_mean(entry.key, std::span(keys));
    std::string expected;
    for (const std::string& key : keys) expected += (expected.empty() ? "; expected " : ", ") + key;
    refuse(entry.where, join_path(group.path, printable(entry.key)),
           "unknown key" + (suggestion.empty() ? expected : suggestion));
  }

  void read_field(const SpecField& field, const SpecNode& node) {
    decoded_.given.emplace(field.path);
    const std::string wrong = std::visit(FieldReader{node, decoded_.spec}, field.type);
    if (!wrong.empty())
      refuse(node.where, field.path, fmt::format("{}; expected {}", wrong, expectation(field)));
  }

  void read_option(const SpecGroup& group, const SpecNode::Entry& entry, const std::string& path) {
    const std::string shown_path = join_path(group.path, printable(entry.key));
    if (std::string expected = refuse_option_name(entry.key); !expected.empty())
      return refuse(entry.where, shown_path, "unknown key; expected " + expected);
    if (entry.value.kind != SpecNode::Kind::kScalar)
      return refuse(entry.value.where, path, describe(entry.value) + "; expected a plain value");
    if (std::string expected = refuse_option_value(entry.value.text); !expected.empty())
      return refuse(entry.value.where, path, describe(entry.value) + "; expected " + expected);
    group.options(decoded_.spec)[entry.key] = entry.value.text;
  }

  void read_network(const SpecNode::Entry& entry) {
    decoded_.given.insert("model.layers");
    const std::size_t before = problems_.size();
    decoded_.spec.model_layers = read_layers(entry.value, problems_);
    if (problems_.size() > before) decoded_.wrong.emplace("model.layers");
  }

  void check_required(const SpecGroup& group, const std::string& where) {
    for (const SpecField& field : spec_fields()) {
      if (field.path == "model.name" && decoded_.given.contains("model.layers")) continue;
      if (field.required && parent_path(field.path) == group.path && !decoded_.given.contains(field.path))
        refuse(where, field.path, "missing; expected " + expectation(field));
    }
    for (const SpecGroup& inner : spec_groups()) {
      const bool here = !inner.path.empty() && parent_path(inner.path) == group.path;
      if (here && inner.required && !decoded_.given.contains(inner.path)) {
        std::string keys;
        for (const std::string& key : keys_of(inner.path)) keys += (keys.empty() ? "" : ", ") + key;
        refuse(where, inner.path, "missing; expected a map of " + keys);
      }
    }
  }

  static std::string printable(const std::string& key) {
    return refuse_option_name(key).empty() ? key : shown(key);
  }

  SpecProblems& problems_;
  DecodedSpec decoded_;
};

}  // namespace

DecodedSpec decode_spec(const SpecNode& root, SpecProblems& problems) {
  Decoder decoder(problems);
  decoder.read_group(*find_group(""), root);
  return decoder.take();
}

std::string place_of(const SpecNode& root, std::string_view path) {
  const SpecNode* node = &root;
  while (!path.empty() && node->kind == SpecNode::Kind::kMap) {
    const std::string_view word = path.substr(0, path.find('.'));
    const SpecNode::Entry* entry = node->find(word);
    if (entry == nullptr) break;
    node = &entry->value;
    path.remove_prefix(std::min(path.size(), word.size() + 1));
  }
  return node->where;
}

}  // namespace seng
