#include "actors/engine/convolution_tuner.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace seng {
namespace {

// Another candidate than the first must need less than this share of its time.
constexpr double kClearlyFaster = 0.98;

}  // namespace

double median(std::vector<double> runs) {
  SENG_CHECK(!runs.empty(), "a median of no runs");
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end());
  if (runs.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(runs.begin(), middle)) / 2;
}

std::size_t fastest(const std::vector<std::vector<double>>& runs) {
  std::optional<std::size_t> first, best;
  double of_first = 0, of_best = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].empty()) continue;
    const double time = median(runs[i]);
    if (!first) first = i, of_first = time;
    if (!best || time < of_best) best = i, of_best = time;
  }
  if (!best) return 0;
  return of_best < kClearlyFaster * of_first ? *best : *first;
}

int ConvolutionTuner::choose(const ConvolutionKey& key, const std::string&, const std::vector<int>& allowed,
                             const TimeAlgorithm& time) {
  const auto [entry, is_new] = measured_.try_emplace(key_text(key));
  if (is_new) {
    std::vector<std::vector<double>> runs;
    std::optional<double> expected;
    for (const int algorithm : allowed) {
      runs.push_back(time(algorithm));
      if (runs.back().empty()) continue;
      ++candidates_;
      if (!expected) expected = median(runs.back());
    }
    const std::size_t chosen = fastest(runs);
    choices_.set(key, allowed[chosen]);
    if (expected) entry->second = {*expected, median(runs[chosen])};
  }
  expected_ms_ += entry->second.expected_ms;
  chosen_ms_ += entry->second.chosen_ms;
  return *choices_.find(key);
}

int TunedConvolutions::choose(const ConvolutionKey& key, const std::string& device,
                              const std::vector<int>& allowed, const TimeAlgorithm&) {
  if (!choices_.is_of(device)) {
    other_device_ = device;
    return allowed.front();
  }
  const auto chosen = choices_.find(key);
  const bool there = chosen && std::ranges::find(allowed, *chosen) != allowed.end();
  (there ? taken_ : missing_).insert(key_text(key));
  return there ? *chosen : allowed.front();
}

std::string TunedConvolutions::shortfall() const {
  if (!other_device_.empty())
    return fmt::format(
        "the choices were measured on {}, this is {}: convolutions go by the library's own expectation",
        choices_.device(), other_device_);
  if (missing_.empty()) return "";
  return fmt::format(
      "{} of {} convolutions have no choice that can be taken here, as {}: they go by the library's own "
      "expectation",
      missing_.size(), missing_.size() + taken_.size(), *missing_.begin());
}

}  // namespace seng
