// The one table of a job's keys: reading, writing, `--set` and "did you mean" all go by it, in its order.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/spec/job_spec.h"

namespace seng {

// A place in a JobSpec.
template <class T>
using Member = T& (*)(JobSpec&);

struct NumberField {
  Member<double> at;
  double low = 0, high = 0;
  bool above_low = false;   // low itself is refused
  bool below_high = false;  // high itself is refused
};
struct CountField {
  // Exactly one is set.
  Member<std::uint32_t> at32 = nullptr;
  Member<std::uint64_t> at64 = nullptr;
  std::uint64_t low = 0, high = 0;
  std::string_view zero_word = {};  // a word that means 0, and is written for it
  std::string_view high_word = {};  // likewise for `high`, which then is no number that one may write
  std::uint64_t highest() const { return high_word.empty() ? high : high - 1; }
  void set(JobSpec& spec, std::uint64_t value) const;
  std::uint64_t get(const JobSpec& spec) const;
};
struct IntegerField {
  Member<std::int32_t> at;
  std::int32_t low = 0, high = 0;
};
struct FlagField {
  Member<bool> at;
};
struct ChoiceField {
  Member<std::string> at;
  std::vector<std::string_view> words;
};
// A text that `refusal` says nothing against: it returns what was expected, or an empty string.
struct TextField {
  Member<std::string> at;
  std::string (*refusal)(std::string_view text);
};
struct NumberListField {  // above 0, growing
  Member<std::vector<double>> at;
  std::size_t longest = 0;
};

struct SpecField {
  std::string_view path;
  std::variant<NumberField, CountField, IntegerField, FlagField, ChoiceField, TextField, NumberListField>
      type;
  bool required = false;  // when its group is there
};

// A key whose value is a map.
struct SpecGroup {
  std::string_view path;      // "" is the whole job
  std::string_view main_key;  // `group: value` means `group: {main_key: value}`; empty: no such short form
  bool required = false;
  Member<std::map<std::string, std::string>> options = nullptr;  // takes every other key as an option
};

std::span<const SpecField> spec_fields();
std::span<const SpecGroup> spec_groups();

const SpecField* find_field(std::string_view path);
const SpecGroup* find_group(std::string_view path);
// The keys directly in the group, "" for the top: "name", "seed", "model" ...
std::vector<std::string> keys_of(std::string_view group_path);
// "a number above 0, at most 1"
std::string expectation(const SpecField& field);

// "optimizer" of "optimizer.lr"; "" of "optimizer". And "lr", the last word.
std::string_view parent_path(std::string_view path);
std::string_view last_key(std::string_view path);
std::string join_path(std::string_view group, std::string_view key);

// Empty, or what was expected instead. Option names are words of a network or data set.
std::string refuse_option_name(std::string_view name);
std::string refuse_option_value(std::string_view value);

// The text as YAML: plain where it is read back as the same text, else in double quotes.
std::string yaml_text(std::string_view text);

}  // namespace seng
