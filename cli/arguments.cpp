#include "cli/arguments.h"

#include <charconv>

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

namespace po = boost::program_options;

std::string explain(const OptionTable& options, const po::error& error) {
  const auto* unknown = dynamic_cast<const po::unknown_option*>(&error);
  if (unknown == nullptr) return error.what();
  const std::string typed = unknown->get_option_name();
  std::vector<std::string> known;
  for (const OptionName& option : option_names(options)) known.push_back(option.long_name);
  return fmt::format("unknown option {}{}", typed, did_you_mean(typed, std::span<const std::string>(known)));
}

template <class Number>
std::errc read_number(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc() && read.ptr != end ? std::errc::invalid_argument : read.ec;
}

// Values whose form po does not check, or whose error it does not explain.
Status check_number(const std::string& option, const std::string& value) {
  std::string what;
  if (option == "actor" || option == "step" || option == "tail" || option == "limit") {
    std::uint64_t whole = 0;
    const std::errc error = read_number(value, whole);  // takes no sign: po would take -1 for the largest
    if (error == std::errc::invalid_argument) what = fmt::format("\"{}\"; expected a whole number", value);
    if (error == std::errc::result_out_of_range) what = value + " is too large";
  }
  double seconds = 0;
  if (option == "timeout" && read_number(value, seconds) != std::errc())
    what = fmt::format("\"{}\"; expected seconds, as 30 or 0.5", value);
  if (what.empty()) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("--{}: {}", option, what));
}

Status check_values(const Arguments& arguments) {
  if (arguments.has("format") && !output_format_of(arguments.text("format"))) {
    const std::string word = arguments.text("format");
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("unknown format \"{}\"{}; expected table, json or yaml", word,
                            did_you_mean(word, {"table", "json", "yaml"})));
  }
  if (const auto seconds = arguments.seconds("timeout"); seconds && !(*seconds >= 0 && *seconds <= 1e9))
    return fail(ErrorCode::kInvalidArgument, "--timeout: expected seconds from 0 to 1000000000");
  return {};
}

}  // namespace

Result<Arguments> Arguments::read(const OptionTable& options, const std::vector<std::string>& words) {
  po::options_description all;
  all.add(options);
  all.add_options()("operands", po::value<std::vector<std::string>>());
  po::positional_options_description operands;
  operands.add("operands", -1);
  const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
  Arguments out;
  try {
    const auto parsed = po::command_line_parser(words).options(all).positional(operands).style(style).run();
    for (const auto& option : parsed.options)
      if (!option.value.empty()) SENG_TRY(check_number(option.string_key, option.value[0]));
    po::store(parsed, out.values_);
    po::notify(out.values_);
  } catch (const po::error& error) {
    return fail(ErrorCode::kInvalidArgument, explain(options, error));
  }
  out.operands_ = out.texts("operands");
  SENG_TRY(check_values(out));
  return out;
}

std::string Arguments::text(const char* option, const std::string& otherwise) const {
  return has(option) ? values_[option].as<std::string>() : otherwise;
}

std::vector<std::string> Arguments::texts(const char* option) const {
  return has(option) ? values_[option].as<std::vector<std::string>>() : std::vector<std::string>();
}

std::optional<std::uint64_t> Arguments::number(const char* option) const {
  return has(option) ? std::optional(values_[option].as<std::uint64_t>()) : std::nullopt;
}

std::optional<double> Arguments::seconds(const char* option) const {
  return has(option) ? std::optional(values_[option].as<double>()) : std::nullopt;
}

std::string Arguments::operand(std::size_t i, const std::string& otherwise) const {
  return i < operands_.size() ? operands_[i] : otherwise;
}

OutputFormat Arguments::format() const {
  return output_format_of(text("format", "table")).value_or(OutputFormat::kTable);
}

void add_global_options(OptionTable& options) {
  options.add_options()("address", po::value<std::string>()->value_name("ENDPOINT"),
                        "where sengd listens (default: $SENG_ADDRESS, else ipc://STATE_DIR/sengd.sock)");
  options.add_options()("state-dir", po::value<std::string>()->value_name("DIR"),
                        "sengd's state directory (default: $SENG_STATE_DIR, else $XDG_STATE_HOME/seng, else "
                        "~/.local/state/seng)");
  options.add_options()("help,h", "say what the command does");
}

void add_format_option(OptionTable& options) {
  options.add_options()("format,o", po::value<std::string>()->value_name("FORMAT"),
                        "table (default), json or yaml");
}

std::vector<OptionName> option_names(const OptionTable& options) {
  std::vector<OptionName> names;
  for (const auto& option : options.options()) {
    if (option->description().empty()) continue;
    OptionName name;
    name.long_name = "--" + option->long_name();
    const std::string canonical =
        option->canonical_display_name(po::command_line_style::allow_dash_for_short);
    if (canonical.size() == 2 && canonical[0] == '-') name.short_name = canonical;
    name.takes_value = option->semantic()->max_tokens() > 0;
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace seng
