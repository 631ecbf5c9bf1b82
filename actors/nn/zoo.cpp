#include "actors/nn/zoo.h"

#include <charconv>

#include "protocol/base/text.h"

namespace seng {
namespace {

struct Entry {
  const char* name;
  std::vector<std::string> options;
  Result<Graph> (*build)(const ZooOptions&, ImageShape, int);
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      {"mlp", {"hidden"}, build_mlp},
      {"lenet", {}, build_lenet},
      {"resnet18", {"stem", "width", "zero_init_residual"}, build_resnet18},
      {"resnet34", {"stem", "width", "zero_init_residual"}, build_resnet34},
      {"resnet50", {"stem", "width", "zero_init_residual"}, build_resnet50},
      {"vgg11_bn", {"head", "width"}, build_vgg11_bn},
      {"vgg16_bn", {"head", "width"}, build_vgg16_bn},
  };
  return table;
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Status check_options(const Entry& entry, const ZooOptions& options) {
  for (const auto& [key, value] : options) {
    if (std::find(entry.options.begin(), entry.options.end(), key) != entry.options.end()) continue;
    const std::string known =
        entry.options.empty() ? " has no options" : "'s options are: " + listed(entry.options);
    return fail(ErrorCode::kInvalidArgument, "model." + key + ": unknown option of model " + entry.name +
                                                 did_you_mean(key, entry.options) + "; " + entry.name +
                                                 known);
  }
  return {};
}

}  // namespace

Result<int> parse_width(const std::string& option, const std::string& text, int largest) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > largest) {
    return fail(
        ErrorCode::kInvalidArgument,
        "model." + option + ": \"" + text + "\" is not a whole number from 1 to " + std::to_string(largest));
  }
  return value;
}

Result<int> width_option(const ZooOptions& options, int otherwise, int largest) {
  const auto given = options.find("width");
  return given == options.end() ? otherwise : parse_width("width", given->second, largest);
}

Result<bool> flag_option(const ZooOptions& options, const std::string& name, bool otherwise) {
  const auto given = options.find(name);
  if (given == options.end()) return otherwise;
  if (given->second == "true" || given->second == "false") return given->second == "true";
  return fail(ErrorCode::kInvalidArgument,
              "model." + name + ": \"" + given->second + "\" is neither true nor false");
}

Result<ImageForm> form_option(const ZooOptions& options, const std::string& name, ImageForm otherwise) {
  const auto given = options.find(name);
  if (given == options.end()) return otherwise;
  if (given->second == "cifar") return ImageForm::kCifar;
  if (given->second == "imagenet") return ImageForm::kImagenet;
  return fail(ErrorCode::kInvalidArgument, "model." + name + ": \"" + given->second +
                                               "\" is neither cifar nor imagenet" +
                                               did_you_mean(given->second, {"cifar", "imagenet"}));
}

Result<Graph> build_from_zoo(const std::string& name, const ZooOptions& options, ImageShape input,
                             int classes) {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) {
    if (entry.name != name) {
      names.push_back(entry.name);
      continue;
    }
    SENG_TRY(check_options(entry, options));
    return entry.build(options, input, classes);
  }
  return fail(ErrorCode::kInvalidArgument, "model.name: unknown model \"" + name + "\"" +
                                               did_you_mean(name, names) +
                                               "; known models are: " + listed(names));
}

}  // namespace seng
