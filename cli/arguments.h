// A command's arguments, read by Boost.Program_options: `--option=value`, `--option value`, `-o value`, and
// the rest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>

#include "cli/value_output.h"
#include "protocol/base/error.h"

namespace seng {

using OptionTable = boost::program_options::options_description;

class Arguments {
 public:
  // kInvalidArgument with what is wrong, "did you mean" for unknown options.
  static Result<Arguments> read(const OptionTable& options, const std::vector<std::string>& words);

  bool has(const char* option) const { return values_.count(option) > 0; }
  std::string text(const char* option, const std::string& otherwise = "") const;
  std::vector<std::string> texts(const char* option) const;
  std::optional<std::uint64_t> number(const char* option) const;
  std::optional<double> seconds(const char* option) const;
  // What is no option, in order.
  const std::vector<std::string>& operands() const { return operands_; }
  std::string operand(std::size_t i, const std::string& otherwise = "") const;
  OutputFormat format() const;

 private:
  boost::program_options::variables_map values_;
  std::vector<std::string> operands_;
};

// Options that several commands have.
void add_global_options(OptionTable& options);  // --address --state-dir --help
void add_format_option(OptionTable& options);   // -o
// "--wait" and, where it has one, "-o" of each option, in order; `takes_value` as it says. Those without a
// description are taken, and not shown.
struct OptionName {
  std::string long_name, short_name;
  bool takes_value = false;
};
std::vector<OptionName> option_names(const OptionTable& options);

}  // namespace seng
