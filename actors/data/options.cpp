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
