#include "cli/table.h"

#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "cli/text_format.h"

namespace seng {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Table, AlignsColumns) {
  Table table({{"ID", true}, {"NAME"}, {"LOSS", true}});
  table.add({"1", "short", "0.5"});
  table.add({"12", "ünï", "10.25"});
  EXPECT_EQ(table.text(),
            "ID  NAME    LOSS\n"
            " 1  short    0.5\n"
            "12  ünï    10.25\n");
}

TEST(Table, TakesControlCharactersOut) {
  Table table({{"TEXT"}});
  table.add({"a\nb\033c"});
  EXPECT_EQ(table.text(), "TEXT\na b c\n");
}

TEST(Table, CutsFlexibleColumnsToFit) {
  Table table({{"ID", true}, {"NAME", false, true}, {"STATE"}});
  table.add({"1", "a-very-long-name-of-a-job", "running"});
  EXPECT_EQ(table.text(24),
            "ID  NAME         STATE\n"
            " 1  a-very-lon…  running\n");
  // Never below 8, whatever the terminal.
  EXPECT_EQ(lines_of(table.text(5))[1], " 1  a-very-…  running");
}

TEST(Table, LeavesSpareColumnsOutWhereCuttingIsNotEnough) {
  Table table({{.title = "ID", .spare = 1},
               {.title = "NAME", .flexible = true},
               {.title = "STATE"},
               {.title = "WHEN", .spare = 2}});
  table.add({"1", "a-very-long-name", "running", "2026-01-31"});
  EXPECT_EQ(lines_of(table.text(41))[0], "ID  NAME              STATE    WHEN");
  EXPECT_EQ(lines_of(table.text(33))[1], "1   a-very-…  running  2026-01-31");
  EXPECT_EQ(lines_of(table.text(32))[1], "1   a-very-long-name  running");
  EXPECT_EQ(lines_of(table.text(19))[1], "a-very-lo…  running");
  EXPECT_EQ(lines_of(table.text(5))[0], "NAME      STATE") << "the others always stay";
}

TEST(Table, NoLineIsWiderThanAsked) {
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 200; ++round) {
    Table table({{"A", true}, {"B", false, true}, {"C", false, true}});
    for (int row = 0; row < 5; ++row) {
      table.add(
          {std::string(random() % 6, '1'), std::string(random() % 60, 'b'), std::string(random() % 60, 'c')});
    }
    const std::size_t width = 30 + random() % 60;
    for (const std::string& line : lines_of(table.text(width))) EXPECT_LE(display_width(line), width);
  }
}

TEST(Table, ColoursStatesOnATerminalOnly) {
  Table table({{"NAME"}, {"STATE"}});
  table.add({"job", "failed"});
  std::istringstream in;
  std::ostringstream out, err;
  Console console{in, out, err};
  console.out_is_terminal = console.color = true;
  table.print(console);
  EXPECT_EQ(out.str(), "\033[1mNAME  STATE\033[0m\njob   \033[31mfailed\033[0m\n");
  out.str("");
  console.color = false;
  table.print(console);
  EXPECT_EQ(out.str(), "NAME  STATE\njob   failed\n");
}

}  // namespace
}  // namespace seng
