// Words for messages: numbers of things, suggestions for mistyped words, errors of several lines.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace seng {

// "1 actor", "2 actors"; "3 batches", "3 processes".
std::string counted(std::uint64_t number, std::string_view noun);

// Single-character insertions, deletions, substitutions and swaps of neighbours that turn one word into the
// other.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word` (the first of several equally near), if it is near enough for a slip of the
// fingers: at most a third of the longer word's letters differ (one, for words of one to five letters),
// letter case and the difference of '-' and '_' aside; or one of the two begins with the other, given three
// letters.
std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string> candidates);
std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string_view> candidates);
std::optional<std::string> nearest_word(std::string_view word,
                                        std::initializer_list<std::string_view> candidates);

// "; did you mean \"lenet\"?", or nothing: to be put behind an error message.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);
std::string did_you_mean(std::string_view word, std::initializer_list<std::string_view> candidates);

// Of several errors below one another each by itself, without the last line's end: a line that begins with a
// space belongs to the error before it. Empty lines are dropped.
std::vector<std::string> split_errors(std::string_view text);

}  // namespace seng
