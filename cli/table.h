// A table of texts for people. Programs read the JSON.
#pragma once

#include <string>
#include <vector>

#include "cli/console.h"

namespace seng {

struct Column {
  std::string title;
  bool right = false;     // numbers
  bool flexible = false;  // cut where the terminal is too narrow
  int spare = 0;          // left out where it still is: the highest first; 0: never
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. Control characters are taken out.
  void add(std::vector<std::string> cells);
  std::size_t rows() const { return rows_.size(); }
  // Titles and rows, each line ended. `most_columns` 0: as wide as it needs.
  std::string text(std::size_t most_columns = 0) const;
  // To the console: cut to its width where it is a terminal, the first line bold, a cell that is a job's
  // state in its colour.
  void print(Console& console) const;

 private:
  // Of the columns; SIZE_MAX for those that are left out.
  std::vector<std::size_t> widths(std::size_t most_columns) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// The colour of a job's, actor's or event's state; kNone for other words.
Color state_color(std::string_view word);

}  // namespace seng
