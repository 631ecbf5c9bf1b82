// The two choosers of a job with `engine.tune`. One actor measures with ConvolutionTuner, once in the job's
// life; all then plan with TunedConvolutions by what came of it.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "actors/engine/convolution_choices.h"

namespace seng {

// Of at least one run. The median: a clock that changes meanwhile, or another process, spoils single runs.
double median(std::vector<double> runs);

// The place of the one to take: the one with the least median, but the first (the library's own expectation)
// unless another is faster by more than the noise of a measurement. Those without runs are left out; 0 where
// none has any.
std::size_t fastest(const std::vector<std::vector<double>>& runs);

// Measures the candidates of every convolution that it meets, each distinct one once. Not thread-safe.
class ConvolutionTuner final : public ConvolutionChooser {
 public:
  explicit ConvolutionTuner(std::string_view device) : choices_(device) {}

  int choose(const ConvolutionKey& key, const std::string& device, const std::vector<int>& allowed,
             const TimeAlgorithm& time) override;

  const ConvolutionChoices& choices() const { return choices_; }
  std::size_t candidates() const { return candidates_; }  // measured
  // Of all convolutions that were planned, as often as they were, forward and backward once each:
  double expected_ms() const { return expected_ms_; }  // with the library's own choices
  double chosen_ms() const { return chosen_ms_; }

 private:
  struct Medians {
    double expected_ms = 0, chosen_ms = 0;
  };
  ConvolutionChoices choices_;
  std::map<std::string, Medians> measured_;  // by key_text
  std::size_t candidates_ = 0;
  double expected_ms_ = 0, chosen_ms_ = 0;
};

// Takes what the table says. Where it says nothing, or something that this library does not allow, or is of
// another kind of device, it takes the library's own expectation, which is the same on all actors as well,
// and keeps account of it. Not thread-safe.
class TunedConvolutions final : public ConvolutionChooser {
 public:
  explicit TunedConvolutions(ConvolutionChoices choices) : choices_(std::move(choices)) {}

  int choose(const ConvolutionKey& key, const std::string& device, const std::vector<int>& allowed,
             const TimeAlgorithm& time) override;

  // For the user; empty: every convolution had its choice.
  std::string shortfall() const;

 private:
  ConvolutionChoices choices_;
  std::string other_device_;               // not empty: the device, which the table is not of
  std::set<std::string> taken_, missing_;  // by key_text
};

}  // namespace seng
