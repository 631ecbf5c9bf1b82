// A YAML text as a tree that remembers where everything stood. The only reader of YAML in the product.
//
// Job files need little of YAML, and what they do not need is refused here: aliases and anchors, tags,
// several documents, keys that are no plain words, duplicate keys. Depth, size and the number of values are
// bounded, so that no text can take more than a moment.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace seng {

inline constexpr std::size_t kMaxSpecBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxSpecDepth = 8;
inline constexpr std::size_t kMaxSpecValues = 10'000;

struct SpecNode {
  enum class Kind { kMissing, kNull, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kMissing;
  std::string text;             // kScalar
  bool quoted = false;          // kScalar: "5" is a text, 5 a number
  std::string where;            // "FILE:LINE:COL", or "--set key.path=value"
  std::vector<SpecNode> items;  // kList
  std::vector<Entry> entries;   // kMap, in the order of the text; a key occurs once

  const Entry* find(std::string_view key) const;
  Entry* find(std::string_view key);
  void erase(std::string_view key);
};

struct SpecNode::Entry {
  std::string key;
  std::string where;  // of the key
  SpecNode value;
};

// One problem: "WHERE: key.path: what is wrong; expected ...", the path left out where there is none.
struct SpecProblem {
  std::string where, path, what;
};
using SpecProblems = std::vector<SpecProblem>;

// All of `yaml_text`; a node of kind kMissing when it is empty or cannot be read. Problems are appended.
// `source` leads the places: "SOURCE:LINE:COL", or just "SOURCE" when with_lines is false.
SpecNode read_spec_tree(const std::string& yaml_text, const std::string& source, bool with_lines,
                        SpecProblems& problems);

// For messages: "the text "abc"", "a list", "nothing"; long texts shortened, control characters escaped.
std::string describe(const SpecNode& node);
std::string shown(std::string_view text);  // the text itself in double quotes, shortened and escaped

}  // namespace seng
