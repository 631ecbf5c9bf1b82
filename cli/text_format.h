// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/messages/records.h"

namespace seng {

// "is running", "has failed": behind a job's name.
std::string state_words(JobState state);
std::string format_duration(double seconds);         // "0:41", "1:02:03", "2d 03:04"
std::string format_bytes(std::uint64_t bytes);       // "512 B", "63.4 MiB"
std::string format_percent(double fraction);         // "91.84 %"; "-" below 0, which is "not known"
std::string format_rate(double per_second);          // "2410", "85.3"; "-" for 0
std::string format_loss(double loss);                // "0.3412", "12.31"
std::string format_count(double value);              // "5", "2.35"
std::string format_time(double seconds_since_1970);  // "2026-01-31 12:00:00", local; "-" for 0

// Without control characters: what comes from elsewhere must not steer the terminal.
std::string one_line(std::string_view text);
// Columns that a UTF-8 text takes, one a character.
std::size_t display_width(std::string_view text);
// At most `columns` wide, the end replaced by "…" where it had to be cut.
std::string cut_to(std::string_view text, std::size_t columns);

}  // namespace seng
