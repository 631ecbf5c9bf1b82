#include "protocol/spec/spec_places.h"

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

// The first key of the group that the message names, "data.train_limit" in "data: data.train_limit of ...";
// else the group.
std::string_view nearest_path(std::string_view message) {
  const std::string_view group = leading_path(message);
  const std::string within = std::string(group) + ".";
  const std::size_t at = group.empty() ? std::string_view::npos : message.find(within, group.size());
  if (at == std::string_view::npos) return group;
  const std::string_view rest = message.substr(at);
  const std::string_view path = rest.substr(0, rest.find_first_not_of(kLetters));
  return path.substr(0, path.find_last_not_of('.') + 1);
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
  return place_of(nearest_path(message), yaml_text, source, overrides) + ": " + message;
}

}  // namespace seng
