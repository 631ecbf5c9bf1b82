#include "protocol/spec/spec_places.h"

#include "protocol/spec/spec_overrides.h"
#include "protocol/spec/spec_tree.h"

namespace seng {
namespace {

// The letters before the first colon, if they are a key path's.
std::string_view leading_path(std::string_view message) {
  const std::size_t colon = message.find(": ");
  if (colon == std::string_view::npos) return {};
  const std::string_view path = message.substr(0, colon);
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789_.";
  return path.find_first_not_of(kLetters) == std::string_view::npos ? path : std::string_view();
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
  return place_of(leading_path(message), yaml_text, source, overrides) + ": " + message;
}

}  // namespace seng
