#include "cli/text_format.h"

#include <cmath>

#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(TextFormat, Durations) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(41.4), "0:41");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(86400 * 2 + 3 * 3600 + 4 * 60), "2d 03:04");
  EXPECT_EQ(format_duration(-1), "-");
  EXPECT_EQ(format_duration(std::nan("")), "-");
}

TEST(TextFormat, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1048575), "1.0 MiB");
  EXPECT_EQ(format_bytes(66479718), "63.4 MiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "16.0 EiB");
}

TEST(TextFormat, Numbers) {
  EXPECT_EQ(format_percent(0.91841), "91.84 %");
  EXPECT_EQ(format_percent(-1), "-");
  EXPECT_EQ(format_rate(0), "-");
  EXPECT_EQ(format_rate(2410.4), "2410");
  EXPECT_EQ(format_rate(85.31), "85.3");
  EXPECT_EQ(format_loss(0.34123), "0.3412");
  EXPECT_EQ(format_loss(12.345), "12.35");
  EXPECT_EQ(format_loss(std::nan("")), "nan");
  EXPECT_EQ(format_loss(-std::nan("")), "nan");
  EXPECT_EQ(format_loss(1e30), "1e+30");
  EXPECT_EQ(format_count(5), "5");
  EXPECT_EQ(format_count(2.35), "2.35");
  EXPECT_EQ(format_count(100), "100");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_time(0), "-");
}

TEST(TextFormat, KeepsControlCharactersFromTheTerminal) {
  EXPECT_EQ(one_line("a\033[2Jb\nc\x7f"), "a [2Jb c ");
  EXPECT_EQ(one_line("\xc2\x9b"
                     "2J\xc3\xbc"),
            "  2J\xc3\xbc");
}

TEST(TextFormat, CutsByCharacters) {
  EXPECT_EQ(cut_to("abc", 3), "abc");
  EXPECT_EQ(cut_to("abcd", 3), "ab…");
  EXPECT_EQ(cut_to("üüüü", 3), "üü…");
  EXPECT_EQ(cut_to("abcd", 1), "…");
  EXPECT_EQ(cut_to("abcd", 0), "");
  EXPECT_EQ(display_width("üx…"), 3u);
}

}  // namespace
}  // namespace seng
