// protocol/base: hashes, words, files, bytes, errors, the log.
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/error.h"
#include "protocol/base/file.h"
#include "protocol/base/ids.h"
#include "protocol/base/log.h"
#include "protocol/base/sha256.h"
#include "protocol/base/text.h"
#include "protocol/base/unique_fd.h"
#include "protocol/base/version.h"
#include "tests/protocol/temp_dir.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// FIPS 180-4's examples.
TEST(Sha256, GivesTheStandardsAnswers) {
  const struct {
    std::string text;
    const char* digest;
  } known[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& one : known) {
    EXPECT_EQ(to_hex(sha256(one.text.data(), one.text.size())), one.digest);
    Sha256 in_pieces;
    for (std::size_t i = 0; i < one.text.size(); i += 77) {
      in_pieces.update(one.text.data() + i, std::min<std::size_t>(77, one.text.size() - i));
    }
    EXPECT_EQ(to_hex(in_pieces.finish()), one.digest);
  }
}

TEST(Sha256, OfAFile) {
  const TempDir dir;
  std::ofstream(dir.file("million")) << std::string(3'000'000, 'a');
  const std::string text(3'000'000, 'a');
  const auto digest = sha256_of_file(dir.file("million"));
  ASSERT_TRUE(digest) << digest.error().message;
  EXPECT_EQ(*digest, sha256(text.data(), text.size()));
  const auto none = sha256_of_file(dir.file("none"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message, HasSubstr(dir.file("none")));
}

TEST(NearestWord, FindsSlipsAndNothingElse) {
  const std::vector<std::string> words = {"submit", "list", "status",       "describe",
                                          "stop",   "logs", "weight_decay", "lr"};
  const struct {
    const char* word;
    const char* nearest;  // "": none
  } cases[] = {{"submti", "submit"},
               {"submt", "submit"},
               {"sumbit", "submit"},
               {"Submit", "submit"},
               {"lst", "list"},
               {"lists", "list"},
               {"statsu", "status"},
               {"stats", "status"},
               {"stpo", "stop"},
               {"desc", "describe"},
               {"log", "logs"},
               {"weight-decay", "weight_decay"},
               {"weightdecay", "weight_decay"},
               {"weight_decya", "weight_decay"},
               {"lr", "lr"},
               {"l", "lr"},
               {"rl", "lr"},
               {"banana", ""},
               {"x", ""},
               {"", ""},
               {"describing", "describe"},
               {"st", ""},
               {"logs.actor.3", ""},
               {"quit", ""}};
  for (const auto& one : cases) {
    const auto found = nearest_word(one.word, words);
    EXPECT_EQ(found.value_or(""), one.nearest) << one.word;
  }
  EXPECT_EQ(did_you_mean("lenot", {"lenet", "resnet18"}), "; did you mean \"lenet\"?");
  EXPECT_EQ(did_you_mean("vgg", {"lenet", "resnet18"}), "");
  EXPECT_EQ(did_you_mean("resnet", {"lenet", "resnet18"}), "; did you mean \"resnet18\"?");
  EXPECT_EQ(did_you_mean("epoch", {"epochs_total", "epochs"}), "; did you mean \"epochs\"?");
  EXPECT_EQ(nearest_word(std::string(100'000, 'x'), words), std::nullopt);
}

TEST(Text, CountsInWords) {
  EXPECT_EQ(counted(0, "actor"), "0 actors");
  EXPECT_EQ(counted(1, "actor"), "1 actor");
  EXPECT_EQ(counted(2, "actor"), "2 actors");
  EXPECT_EQ(counted(1, "micro-batch"), "1 micro-batch");
  EXPECT_EQ(counted(3, "micro-batch"), "3 micro-batches");
  EXPECT_EQ(counted(5, "process"), "5 processes");
}

TEST(Text, ErrorsAreSplitWhereALineIsNotIndented) {
  using Errors = std::vector<std::string>;
  EXPECT_EQ(split_errors(""), Errors{});
  EXPECT_EQ(split_errors("one"), Errors{"one"});
  EXPECT_EQ(split_errors("one\n  and more\n    yet\n\ntwo\n"), (Errors{"one\n  and more\n    yet", "two"}));
  EXPECT_EQ(split_errors(" indented\n too"), Errors{" indented\n too"});
}

TEST(EditDistance, CountsEachKindOfSlip) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
  EXPECT_EQ(edit_distance("abc", "acb"), 1u);
  EXPECT_EQ(edit_distance("abc", "abcd"), 1u);
  EXPECT_EQ(edit_distance("abc", "axc"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Frame, SharesItsBytes) {
  Frame part;
  {
    const Frame whole = Frame::from_string("hello, world");
    part = whole.part(7, 5);
    EXPECT_EQ(whole.part(12, 0).size(), 0u);
    EXPECT_THROW(whole.part(8, 5), InvariantError);
    EXPECT_THROW(whole.part(13, 0), InvariantError);
  }
  EXPECT_EQ(part.text(), "world");
  const Frame copy = Frame::copy_of("abc", 2);
  EXPECT_EQ(copy.text(), "ab");
  EXPECT_TRUE(Frame::copy_of(nullptr, 0).empty());
  EXPECT_EQ(to_hex(copy.bytes()), "6162");
}

TEST(Ids, AreShownAsInDocuments) {
  EXPECT_EQ(to_string(GroupEpoch{2, 17}), "2.17");
  EXPECT_EQ(actor_name(3, 0), "3/0");
  EXPECT_EQ(actor_name(3, kNoActor), "3/-");
  EXPECT_LT((GroupEpoch{1, 9}), (GroupEpoch{2, 0}));
}

TEST(Errors, KeepTheirCodeAndGainContext) {
  errno = ENOENT;
  const Error error = errno_error("cannot open x").with_context("job 3");
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_EQ(error.message, "job 3: cannot open x: No such file or directory");
  for (int code = 0; code < 20; ++code) {
    EXPECT_EQ(error_code_name(static_cast<ErrorCode>(code)) != "unknown error",
              is_known(static_cast<ErrorCode>(code)));
  }
  const auto tried = [](bool good) -> Status {
    SENG_TRY(good ? Status{} : fail(ErrorCode::kTimeout, "late"));
    return {};
  };
  EXPECT_TRUE(tried(true));
  EXPECT_EQ(tried(false).error().message, "late");
  EXPECT_THROW(SENG_CHECK(1 == 2, "why"), InvariantError);
}

TEST(Files, AreReadWithinABound) {
  const TempDir dir;
  ASSERT_TRUE(write_file_atomically(dir.file("f"), std::string(20'000, 'x')));
  EXPECT_EQ(read_file(dir.file("f"), 20'000).value().size(), 20'000u);
  const auto longer = read_file(dir.file("f"), 19'999);
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(read_file(dir.file("none"), 10).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(read_file("/dev/zero", 1000));
  EXPECT_FALSE(read_file(dir.path(), 1000));
}

TEST(Files, AreReplacedWholeAndPrivately) {
  const TempDir dir;
  ASSERT_TRUE(write_file_atomically(dir.file("f"), "old"));
  ASSERT_TRUE(write_file_atomically(dir.file("f"), "new"));
  EXPECT_EQ(*read_file(dir.file("f"), 10), "new");
  struct stat info {};
  ASSERT_EQ(stat(dir.file("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  // A failure leaves nothing beside it.
  std::filesystem::create_directory(dir.file("taken"));
  const auto status = write_file_atomically(dir.file("taken"), "x");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(dir.file("taken")));
  EXPECT_FALSE(write_file_atomically(dir.file("none/f"), "x"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);
}

TEST(PrivateDir, IsMadeWithItsParentsOrRefusedWhenOpen) {
  const TempDir dir;
  const auto mode_of = [](const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777;
  };
  ASSERT_TRUE(make_private_dir(dir.file("a/b/c")));
  EXPECT_EQ(mode_of(dir.file("a")), 0700u);
  EXPECT_EQ(mode_of(dir.file("a/b/c")), 0700u);
  ASSERT_TRUE(make_private_dir(dir.file("a/b/c")));
  ASSERT_TRUE(make_private_dir(dir.file("a/b/slash/")));

  std::filesystem::create_directory(dir.file("open"));
  ASSERT_EQ(chmod(dir.file("open").c_str(), 0755), 0);
  ASSERT_TRUE(make_private_dir(dir.file("open"))) << "empty: closed";
  EXPECT_EQ(mode_of(dir.file("open")), 0700u);
  std::ofstream(dir.file("open/something")) << "x";
  ASSERT_EQ(chmod(dir.file("open").c_str(), 0755), 0);
  const auto refused = make_private_dir(dir.file("open"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("chmod 700"));
  EXPECT_EQ(mode_of(dir.file("open")), 0755u);

  EXPECT_FALSE(make_private_dir(dir.file("open/something")));
  EXPECT_FALSE(make_private_dir(dir.file("open/something/below")));
  EXPECT_FALSE(make_private_dir(""));
}

TEST(UniqueFd, ClosesOnce) {
  UniqueFd fd(open("/dev/null", O_RDONLY));
  const int number = fd.get();
  ASSERT_GE(number, 0);
  UniqueFd other = std::move(fd);
  EXPECT_FALSE(fd);  // NOLINT(bugprone-use-after-move): what a moved-from one is, is the point
  EXPECT_EQ(other.get(), number);
  other.reset();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST(Log, WritesUtcLinesAndReopensItsFile) {
  const TempDir dir;
  LogOptions options;
  options.name = "tester";
  options.file = dir.file("log");
  ASSERT_TRUE(init_log(options));
  log_info("one {}", 1);
  log_debug("hidden");
  std::filesystem::rename(dir.file("log"), dir.file("log.1"));
  log_warning("two");
  ASSERT_TRUE(reopen_log());
  log_error("three");
  const auto first = read_file(dir.file("log.1"), 10'000), second = read_file(dir.file("log"), 10'000);
  ASSERT_TRUE(init_log({}));
  ASSERT_TRUE(first && second);
  const std::string time = "[0-9]+-[0-9]+-[0-9]+ [0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z ";
  EXPECT_THAT(*first, MatchesRegex(time + "info    tester: one 1\n" + time + "warning tester: two\n"));
  EXPECT_THAT(*second, MatchesRegex(time + "error   tester: three\n"));

  options.file = dir.file("none/log");
  const auto status = init_log(options);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("none/log"));
}

TEST(LogThrottle, LetsOneThroughPerInterval) {
  LogThrottle throttle(10);
  EXPECT_EQ(throttle.admit(100), 1u);
  EXPECT_EQ(throttle.admit(101), 0u);
  EXPECT_EQ(throttle.admit(109.9), 0u);
  EXPECT_EQ(throttle.admit(110), 3u);
  EXPECT_EQ(throttle.admit(119), 0u);
  EXPECT_EQ(throttle.admit(1000), 2u);
}

TEST(Clock, GoesForward) {
  const SystemClock clock;
  const double before = clock.now();
  EXPECT_GE(clock.now(), before);
  EXPECT_GT(clock.wall(), 1.7e9);
}

TEST(Version, IsThatOfTheBuild) {
  EXPECT_THAT(std::string(seng_version()), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
}

}  // namespace
}  // namespace seng
