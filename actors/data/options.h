// A data set's own options, as text from the job's specification, taken one by one and checked.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

class DataOptions {
 public:
  DataOptions(std::string data_set, std::map<std::string, std::string> options)
      : data_set_(std::move(data_set)), options_(std::move(options)) {}

  // Each writes *value when the option is given and leaves the default otherwise; both bounds are allowed
  // values. The first error is kept for finish().
  void whole(std::string_view name, std::uint64_t lowest, std::uint64_t highest, std::uint64_t* value);
  void text(std::string_view name, std::string* value);
  // One of the words.
  void word(std::string_view name, std::initializer_list<std::string_view> words, std::string* value);
  // As many numbers as `values` has, written "0.5, 0.25".
  void reals(std::string_view name, double lowest, double highest, std::vector<double>* values);
  void real(std::string_view name, double lowest, double highest, double* value);

  // The first error met, or one for an option that was not asked for, with "did you mean".
  Status finish() const;

 private:
  const std::string* take(std::string_view name);
  void refuse(std::string_view name, const std::string& text, const std::string& expected);

  std::string data_set_;
  std::map<std::string, std::string> options_;
  std::vector<std::string> known_;
  Status status_;
};

}  // namespace seng
