#include "actors/data/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {

const std::string* DataOptions::take(std::string_view name) {
  known_.emplace_back(name);
  const auto found = options_.find(known_.back());
  return found == options_.end() ? nullptr : &found->second;
}

void DataOptions::refuse(std::string_view name, const std::string& text, const std::string& expected) {
  if (!status_) return;
  status_ = fail(ErrorCode::kInvalidArgument,
                 fmt::format("data.{} of {}: expected {}, found \"{}\"", name, data_set_, expected, text));
}

void DataOptions::whole(std::string_view name, std::uint64_t lowest, std::uint64_t highest,
                        std::uint64_t* value) {
  const std::string* text = take(name);
  if (!text) return;
  std::uint64_t parsed = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, parsed);
  if (error != std::errc() || rest != end || parsed < lowest || parsed > highest) {
    return refuse(name, *text, fmt::format("a whole number from {} to {}", lowest, highest));
  }
  *value = parsed;
}

void DataOptions::real(std::string_view name, double lowest, double highest, double* value) {
  const std::string* text = take(name);
  if (!text) return;
  double parsed = 0;
  const char* end = text->data() + text->size();
  const auto [rest, error] = std::from_chars(text->data(), end, parsed);
  if (error != std::errc() || rest != end || !std::isfinite(parsed) || parsed < lowest || parsed > highest) {
    return refuse(name, *text, fmt::format("a number from {} to {}", lowest, highest));
  }
  *value = parsed;
}

void DataOptions::text(std::string_view name, std::string* value) {
  if (const std::string* text = take(name)) *value = *text;
}

void DataOptions::word(std::string_view name, std::initializer_list<std::string_view> words,
                       std::string* value) {
  const std::string* text = take(name);
  if (!text) return;
  if (std::find(words.begin(), words.end(), *text) == words.end())
    return refuse(name, *text, fmt::format("one of {}", fmt::join(words, ", ")));
  *value = *text;
}

void DataOptions::reals(std::string_view name, double lowest, double highest, std::vector<double>* values) {
  const std::string* text = take(name);
  if (!text) return;
  std::vector<double> parsed;
  const char* at = text->data();
  const char* end = at + text->size();
  bool whole = false;
  while (!whole) {
    while (at != end && *at == ' ') ++at;
    double value = 0;
    const auto [rest, error] = std::from_chars(at, end, value);
    if (error != std::errc() || !(value >= lowest && value <= highest)) break;
    parsed.push_back(value);
    at = rest;
    whole = at == end;
    if (!whole && *at++ != ',') break;
  }
  if (!whole || parsed.size() != values->size())
    return refuse(
        name, *text,
        fmt::format("{} numbers from {} to {} with commas between", values->size(), lowest, highest));
  *values = std::move(parsed);
}

Status DataOptions::finish() const {
  if (!status_) return status_;
  for (const auto& [name, text] : options_) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("unknown option data.{} of {}{} (its options: {})", name, data_set_,
                            did_you_mean(name, known_), fmt::join(known_, ", ")));
  }
  return {};
}

}  // namespace seng
