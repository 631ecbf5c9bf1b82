#include "cli/text_format.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include <fmt/format.h>

namespace seng {
namespace {
bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}
}  // namespace

std::string state_words(JobState state) {
  return (is_terminal(state) ? "has " : "is ") + std::string(job_state_name(state));
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "-";
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  const std::uint64_t days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60,
                      rest = whole % 60;
  if (days > 0) return fmt::format("{}d {:02}:{:02}", days, hours, minutes);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1023.95 && unit < 6; ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_percent(double fraction) {
  return fraction >= 0 ? fmt::format("{:.2f} %", 100 * fraction) : "-";
}

std::string format_rate(double per_second) {
  if (!(per_second > 0)) return "-";
  return per_second < 100 ? fmt::format("{:.1f}", per_second) : fmt::format("{:.0f}", per_second);
}

std::string format_loss(double loss) {
  if (std::isnan(loss)) return "nan";  // its sign means nothing
  if (std::isinf(loss)) return fmt::format("{}", loss);
  if (std::abs(loss) >= 1e6) return fmt::format("{:.3g}", loss);
  return std::abs(loss) < 10 ? fmt::format("{:.4f}", loss) : fmt::format("{:.2f}", loss);
}

std::string format_count(double value) {
  std::string text = fmt::format("{:.2f}", value);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::string format_time(double seconds_since_1970) {
  if (!(seconds_since_1970 > 0) || seconds_since_1970 > 1e11) return "-";
  const auto time = static_cast<std::time_t>(seconds_since_1970);
  std::tm parts{};
  char text[32];
  if (localtime_r(&time, &parts) == nullptr) return "-";
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts)};
}

std::string one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  // C1 controls in UTF-8: 0xc2 0x80..0x9f.
  for (std::size_t i = 0; i + 1 < out.size(); ++i) {
    const auto second = static_cast<unsigned char>(out[i + 1]);
    if (static_cast<unsigned char>(out[i]) == 0xc2 && second >= 0x80 && second <= 0x9f)
      out[i] = out[i + 1] = ' ';
  }
  return out;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

std::string cut_to(std::string_view text, std::size_t columns) {
  if (display_width(text) <= columns) return std::string(text);
  if (columns == 0) return "";
  std::size_t shown = 0, end = 0;
  for (; end < text.size(); ++end) {
    if (starts_character(text[end]) && ++shown == columns) break;
  }
  return std::string(text.substr(0, end)) + "…";
}

}  // namespace seng
