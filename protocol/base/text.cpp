#include "protocol/base/text.h"

#include <algorithm>

namespace seng {
namespace {

constexpr std::size_t kLongestWord =
    128;  // longer input is no slip of the fingers, and the distance is quadratic

std::string folded(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = '-';
  }
  return out;
}

std::size_t allowed_distance(std::size_t length) {
  return length <= 5 ? 1 : length / 3;
}

template <class Words>
std::optional<std::string> nearest(std::string_view word, const Words& candidates) {
  if (word.empty() || word.size() > kLongestWord) return std::nullopt;
  const std::string typed = folded(word);
  std::size_t best_distance = kLongestWord;
  std::optional<std::string> best, extension;
  for (const std::string_view candidate : candidates) {
    if (candidate.empty() || candidate.size() > kLongestWord) continue;
    const std::string known = folded(candidate);
    const std::size_t distance = edit_distance(typed, known);
    if (distance <= allowed_distance(std::max(typed.size(), known.size())) && distance < best_distance) {
      best_distance = distance;
      best = std::string(candidate);
    }
    const bool extends = typed.size() >= 3 && known.starts_with(typed);
    if (extends && (!extension || candidate.size() < extension->size())) extension = candidate;
  }
  // Who has typed the beginning of a word means it rather than one that is two slips away.
  return extension && best_distance > 1 ? extension : best;
}

std::string suggestion(const std::optional<std::string>& word) {
  return word ? "; did you mean \"" + *word + "\"?" : std::string();
}

}  // namespace

std::string counted(std::uint64_t number, std::string_view noun) {
  std::string out = std::to_string(number) + " " + std::string(noun);
  if (number == 1) return out;
  return out + (noun.ends_with("ch") || noun.ends_with("s") ? "es" : "s");
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string> candidates) {
  return nearest(word, candidates);
}
std::optional<std::string> nearest_word(std::string_view word, std::span<const std::string_view> candidates) {
  return nearest(word, candidates);
}
std::optional<std::string> nearest_word(std::string_view word,
                                        std::initializer_list<std::string_view> candidates) {
  return nearest(word, candidates);
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  return suggestion(nearest(word, candidates));
}
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  return suggestion(nearest(word, candidates));
}
std::string did_you_mean(std::string_view word, std::initializer_list<std::string_view> candidates) {
  return suggestion(nearest(word, candidates));
}

std::vector<std::string> split_errors(std::string_view text) {
  std::vector<std::string> errors;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    if (line[0] == ' ' && !errors.empty()) {
      errors.back().append("\n").append(line);
    } else {
      errors.emplace_back(line);
    }
  }
  return errors;
}

}  // namespace seng
