#include "protocol/spec/spec_overrides.h"

#include "protocol/base/text.h"
#include "protocol/spec/spec_fields.h"

namespace seng {
namespace {

constexpr std::string_view kPrefix = "--set ";

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t dot = path.find('.');
    words.emplace_back(path.substr(0, dot));
    if (dot == std::string_view::npos) return words;
    path.remove_prefix(dot + 1);
  }
}

bool is_known(std::string_view path) {
  if (path.empty()) return false;
  if (find_field(path) != nullptr || find_group(path) != nullptr) return true;
  const SpecGroup* parent = find_group(parent_path(path));
  return parent != nullptr && parent->options != nullptr;
}

// By the whole path, then by its last word: `lr` is near optimizer.lr.
std::string suggestion_for(std::string_view path) {
  std::vector<std::string> paths, last_words;
  const auto add = [&](std::string_view known) {
    if (known.empty()) return;
    paths.emplace_back(known);
    last_words.emplace_back(last_key(known));
  };
  for (const SpecGroup& group : spec_groups()) add(group.path);
  for (const SpecField& field : spec_fields()) add(field.path);
  if (const auto near = nearest_word(path, paths)) return *near;
  const auto word = nearest_word(last_key(path), last_words);
  for (std::size_t i = 0; word && i < paths.size(); ++i) {
    if (last_words[i] == *word) return paths[i];
  }
  return "";
}

SpecNode empty_map(const std::string& where) {
  SpecNode node;
  node.kind = SpecNode::Kind::kMap;
  node.where = where;
  return node;
}

void put(SpecNode& map, const std::string& key, SpecNode value) {
  if (SpecNode::Entry* entry = map.find(key)) {
    entry->where = value.where;
    entry->value = std::move(value);
    return;
  }
  const std::string where = value.where;
  map.entries.push_back({key, where, std::move(value)});
}

// The group's map in `parent`, made of the short form or of nothing where need be. Null where the file has
// something else there, which is reported when it is read.
SpecNode* open_group(SpecNode& parent, const SpecGroup& group, const std::string& where) {
  const std::string key(last_key(group.path));
  SpecNode::Entry* entry = parent.find(key);
  if (entry == nullptr) {
    put(parent, key, empty_map(where));
    entry = parent.find(key);
  }
  SpecNode& value = entry->value;
  if (value.kind == SpecNode::Kind::kNull) value = empty_map(where);
  if (value.kind == SpecNode::Kind::kScalar && !group.main_key.empty()) {
    SpecNode map = empty_map(value.where);
    put(map, std::string(group.main_key), std::move(value));
    entry->value = std::move(map);
  }
  return entry->value.kind == SpecNode::Kind::kMap ? &entry->value : nullptr;
}

void assign(SpecNode& root, std::string path, SpecNode value, const std::string& where) {
  const SpecGroup* target = find_group(path);
  if (target != nullptr && value.kind == SpecNode::Kind::kScalar && !target->main_key.empty())
    path = join_path(path, target->main_key);
  const std::vector<std::string> words = split(path);
  SpecNode* node = &root;
  std::string so_far;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    so_far = join_path(so_far, words[i]);
    node = open_group(*node, *find_group(so_far), where);
    if (node == nullptr) return;
  }
  put(*node, words.back(), std::move(value));
}

// epochs and steps exclude each other; the one on the command line is meant.
void drop_rival(SpecNode& root, std::string_view key) {
  const std::string_view rival = key == "epochs" ? "steps" : key == "steps" ? "epochs" : "";
  const SpecNode::Entry* entry = rival.empty() ? nullptr : root.find(rival);
  if (entry != nullptr && !entry->where.starts_with(kPrefix)) root.erase(rival);
}

}  // namespace

void apply_override(SpecNode& root, const std::string& assignment, SpecProblems& problems) {
  const std::string quoted = shown(assignment);
  const std::string where = std::string(kPrefix) + quoted.substr(1, quoted.size() - 2);
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    problems.push_back({where, "", "no key and value; expected key.path=value"});
    return;
  }
  const std::string path = assignment.substr(0, equals);
  if (!is_known(path)) {
    const std::string near = suggestion_for(path);
    problems.push_back(
        {where, shown(path), near.empty() ? "unknown key" : "unknown key; did you mean \"" + near + "\"?"});
    return;
  }
  const std::size_t problems_before = problems.size();
  SpecNode value = read_spec_tree(assignment.substr(equals + 1), where, false, problems);
  if (problems.size() > problems_before) return;
  if (value.kind == SpecNode::Kind::kMissing) {
    problems.push_back({where, path, "no value; expected key.path=value"});
    return;
  }
  drop_rival(root, path);
  assign(root, path, std::move(value), where);
}

}  // namespace seng
