#include "cli/table.h"

#include <algorithm>
#include <limits>

#include "cli/text_format.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeftOut = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kNarrowest = 8;  // a flexible column is cut to this, and no further

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string fill(width - std::min(width, display_width(text)), ' ');
  return right ? fill + text : text + fill;
}

void trim_right(std::string& text) {
  text.erase(text.find_last_not_of(' ') + 1);
}

}  // namespace

void Table::add(std::vector<std::string> cells) {
  SENG_CHECK(cells.size() == columns_.size(), "a row has a cell for every column");
  for (std::string& cell : cells) cell = one_line(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::widths(std::size_t most_columns) const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(display_width(column.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  }
  std::size_t total = kGap * (widths.empty() ? 0 : widths.size() - 1), slack = 0;
  for (const std::size_t width : widths) total += width;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    if (columns_[i].flexible && widths[i] > kNarrowest) slack += widths[i] - kNarrowest;
  // Columns go while even cutting is not enough.
  while (most_columns > 0 && total > most_columns + slack) {
    const auto least =
        std::max_element(columns_.begin(), columns_.end(), [&](const Column& a, const Column& b) {
          const auto spare = [&](const Column& c) {
            return widths[&c - columns_.data()] == kLeftOut ? 0 : c.spare;
          };
          return spare(a) < spare(b);
        });
    std::size_t& width = widths[least - columns_.begin()];
    if (least->spare == 0 || width == kLeftOut) break;
    total -= width + kGap;
    width = kLeftOut;
  }
  for (std::size_t i = 0; i < columns_.size() && most_columns > 0 && total > most_columns; ++i) {
    if (!columns_[i].flexible || widths[i] <= kNarrowest) continue;
    const std::size_t cut = std::min(total - most_columns, widths[i] - kNarrowest);
    widths[i] -= cut;
    total -= cut;
  }
  return widths;
}

std::string Table::text(std::size_t most_columns) const {
  const std::vector<std::size_t> columns = widths(most_columns);
  std::string out;
  const auto add_line = [&](auto&& cell) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] == kLeftOut) continue;
      if (!line.empty()) line += std::string(kGap, ' ');
      line += padded(cut_to(cell(i), columns[i]), columns[i], columns_[i].right);
    }
    trim_right(line);
    out += line + "\n";
  };
  add_line([&](std::size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) {
    add_line([&](std::size_t i) { return row[i]; });
  }
  return out;
}

void Table::print(Console& console) const {
  const int width = console.out_is_terminal ? console.width() : 0;
  const std::string whole = text(static_cast<std::size_t>(std::max(width, 0)));
  if (!console.color || !console.out_is_terminal) {
    console.out << whole;
    return;
  }
  std::size_t at = whole.find('\n');
  console.out << colored(console, Color::kBold, whole.substr(0, at)) << "\n";
  // Words between blanks: cells that are one word keep their padding outside the colour.
  for (++at; at < whole.size();) {
    std::size_t end = whole.find_first_of(" \n", at);
    end = end == at ? at + 1 : end;
    const std::string word = whole.substr(at, end - at);
    console.out << colored(console, state_color(word), word);
    at = end;
  }
}

Color state_color(std::string_view word) {
  if (word == "succeeded" || word == "up") return Color::kGreen;
  if (word == "failed" || word == "error") return Color::kRed;
  if (word == "stopped" || word == "warning" || word == "queued") return Color::kYellow;
  if (word == "running" || word == "training") return Color::kBold;
  return Color::kNone;
}

}  // namespace seng
