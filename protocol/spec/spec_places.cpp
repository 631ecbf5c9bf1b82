#include "protocol/spec/spec_places.h"

#include <fmt/format.h>

#include "protocol/spec/spec_overrides.h"
#include "protocol/spec/spec_tree.h"

namespace seng {
namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789_.";

// The letters before the first colon, if they are a key path's.
std::string_view leading_path(std::string_view message) {
  const std::size_t colon = message.find(": ");
  if (colon == std::string_view::npos) return {};
  const std::string_view path = message.substr(0, colon);
  return path.find_first_not_of(kLetters) == std::string_view::npos ? path : std::string_view();
}

// Keys that choose what the whole group is about, the nearest to it first.
struct Choosers {
  std::string_view group;
  std::vector<std::string_view> keys;
};
const Choosers kChoosers[] = {{"data", {"data.root", "data.name"}}, {"model", {"model.name"}}};

// The first key of the group that the message's first line names, "data.train_limit" in "data:
// data.train_limit of ..."; else the group.
std::string_view nearest_path(std::string_view message) {
  message = message.substr(0, message.find('\n'));
  const std::string_view group = leading_path(message);
  const std::string within = std::string(group) + ".";
  const std::size_t at = group.empty() ? std::string_view::npos : message.find(within, group.size());
  if (at == std::string_view::npos) return group;
  const std::string_view rest = message.substr(at);
  const std::string_view path = rest.substr(0, rest.find_first_not_of(kLetters));
  return path.substr(0, path.find_last_not_of('.') + 1);
}

// Without "SOURCE:LINE:COL: ".
std::string_view without_place(std::string_view message, std::string_view source) {
  if (source.empty() || !message.starts_with(source)) return message;
  std::string_view rest = message.substr(source.size());
  for (int number = 0; number < 2 && rest.starts_with(':'); ++number) {
    const std::size_t end = rest.find_first_not_of("0123456789", 1);
    if (end == 1 || end == std::string_view::npos) break;
    rest.remove_prefix(end);
  }
  return rest.starts_with(": ") ? rest.substr(2) : message;
}

}  // namespace

std::string place_of(std::string_view key_path, const std::string& yaml_text, const std::string& source,
                     const std::vector<std::string>& overrides) {
  SpecProblems problems;
  SpecNode root = read_spec_tree(yaml_text, source, true, problems);
  for (const std::string& assignment : overrides) apply_override(root, assignment, problems);
  std::string place = source;
  const SpecNode* node = &root;
  while (!key_path.empty()) {
    const std::size_t dot = key_path.find('.');
    const SpecNode::Entry* entry = node->find(key_path.substr(0, dot));
    if (entry == nullptr) break;
    place = entry->where;
    node = &entry->value;
    key_path = dot == std::string_view::npos ? std::string_view() : key_path.substr(dot + 1);
  }
  return place;
}

std::string with_place(const std::string& message, const std::string& yaml_text, const std::string& source,
                       const std::vector<std::string>& overrides) {
  const std::string_view said = without_place(message, source);
  const std::string_view path = nearest_path(said);
  std::string place = place_of(path, yaml_text, source, overrides);
  for (const Choosers& choosers : kChoosers) {
    if (path != choosers.group) continue;
    for (const std::string_view key : choosers.keys) {
      const std::string chosen = place_of(key, yaml_text, source, overrides);
      if (!chosen.starts_with("--set ")) continue;
      place = chosen;
      break;
    }
  }
  return fmt::format("{}: {}", place, said);
}

}  // namespace seng
