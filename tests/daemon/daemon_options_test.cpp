#include "daemon/daemon_options.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/actor_log.h"
#include "daemon/state_dir.h"
#include "tests/support/process.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

Result<DaemonOptions> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "sengd");
  return parse_daemon_options(static_cast<int>(arguments.size()), arguments.data());
}

TEST(DaemonOptions, Defaults) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->slots, 0u);
  EXPECT_EQ(options->threads_per_slot, 1u);
  EXPECT_EQ(options->timeouts.lease_s, 1.0);
  EXPECT_FALSE(options->foreground);
}

TEST(DaemonOptions, AllAreTaken) {
  const auto options = parse({"--state-dir", "/s", "--slots=3", "--threads-per-slot", "2", "--foreground",
                              "--lease", "0.5", "--log-level", "debug", "--actor-binary", "/a"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->state_dir, "/s");
  EXPECT_EQ(options->slots, 3u);
  EXPECT_EQ(options->threads_per_slot, 2u);
  EXPECT_EQ(options->timeouts.linger_s(), 5.0);
  EXPECT_EQ(options->log_level, LogLevel::kDebug);
  EXPECT_EQ(options->actor_binary, "/a");
  EXPECT_EQ(options->device, "cpu") << "GPUs only when they are asked for";
  EXPECT_EQ(parse({"--device", "auto"})->device, "auto");
  EXPECT_EQ(parse({"--device", "cuda", "--actors-per-gpu", "2"})->actors_per_gpu, 2u);
  EXPECT_TRUE(options->foreground);
  EXPECT_EQ(parse({"-h"})->verb, DaemonOptions::Verb::kHelp);
  EXPECT_EQ(parse({"--version"})->verb, DaemonOptions::Verb::kVersion);
  EXPECT_EQ(parse({"--print-config"})->verb, DaemonOptions::Verb::kPrintConfig);
}

// The unit that ships with it says nothing that sengd does not know.
TEST(DaemonOptions, ThoseOfTheServiceAreKnown) {
  std::ifstream file(SENG_SOURCE_DIR "/scripts/sengd.service");
  std::string command;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("ExecStart=")) command = line.substr(line.find(' ') + 1);
  ASSERT_FALSE(command.empty());
  std::istringstream words(command);
  std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
  std::vector<const char*> pointers;
  for (const std::string& word : arguments) pointers.push_back(word.c_str());
  const auto options = parse(pointers);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_TRUE(options->foreground);
  EXPECT_TRUE(options->keep_actors);
}

TEST(DaemonOptions, WrongOnesAreRefusedByName) {
  const std::pair<std::vector<const char*>, const char*> table[] = {
      {{"--slotz", "3"}, "did you mean \"--slots\""},
      {{"--actors-per-gpu", "0"}, "--actors-per-gpu: expected 1 to 64"},
      {{"--device", "gpu"}, "--device: gpu is none of cpu, cuda, auto; did you mean \"cuda\"?"},
      {{"--slots"}, "slots"},
      {{"--state-dir", ""}, "--state-dir: expected a directory, got nothing"},
      {{"--slots", "0"}, "--slots: expected 1 to 1024, found \"0\""},
      {{"--slots", "-1"}, "--slots: expected 1 to 1024, found \"-1\""},
      {{"--slots", "many"}, "--slots: expected 1 to 1024, found \"many\""},
      {{"--slots", "2x"}, "--slots: expected 1 to 1024, found \"2x\""},
      {{"--slots", ""}, "--slots"},
      {{"--slots", "99999999999999999999"}, "--slots: expected 1 to 1024, found \"9999"},
      {{"--threads-per-slot", "1025"}, "--threads-per-slot: expected 1 to 1024, found \"1025\""},
      {{"--lease", "0"}, "--lease: expected 0.05 to 3600 seconds, found \"0\""},
      {{"--lease", "nan"}, "--lease: expected 0.05 to 3600 seconds"},
      {{"--lease", "inf"}, "--lease: expected 0.05 to 3600 seconds"},
      {{"--log-level", "inf"}, "did you mean \"info\""},
      {{"--fore"}, "--fore"},
      {{"--slots", "3", "start", "now"}, "only options are expected, found \"start\""}};
  for (const auto& [arguments, says] : table) {
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << arguments[0];
    EXPECT_THAT(options.error().message, HasSubstr(says));
  }
}

TEST(StateDir, TooLongSocketPathsAreRefusedOrMoved) {
  TempDir dir;
  setenv("XDG_RUNTIME_DIR", dir.path().c_str(), 1);
  const std::string base = dir.path() + "/";
  // The daemon's own socket fits, those of the actors would not.
  const std::string fits = base + std::string(107 - base.size() - std::string("/sengd.sock").size(), 'x');
  const auto moved = StateDir::plan(fits);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(moved->run_dir().rfind(dir.path() + "/seng-", 0), 0u) << moved->run_dir();
  const auto refused = StateDir::plan(fits + "x");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("--state-dir"));
  unsetenv("XDG_RUNTIME_DIR");
  const auto nowhere = StateDir::plan(fits);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, HasSubstr("XDG_RUNTIME_DIR"));
  EXPECT_EQ(StateDir::plan(dir.path() + "/a/../b/")->path(), dir.path() + "/b");
}

TEST(ActorLog, ChunksAndLastLine) {
  TempDir dir;
  const std::string path = dir.path() + "/x.log";
  EXPECT_EQ(last_log_line(path), "");
  EXPECT_EQ(read_log_chunk(path, 0, 10)->size, 0u);
  std::ofstream(path) << "only";
  EXPECT_EQ(last_log_line(path), "only");
  std::ofstream(path) << "first\nsecond\x1b[0m \t\n\n  \n";
  EXPECT_EQ(last_log_line(path), "second[0m");
  EXPECT_EQ(read_log_chunk(path, 2, 3)->data, "rst");
  EXPECT_EQ(read_log_chunk(path, 1000, 3)->data, "");
  EXPECT_EQ(read_log_chunk(path, 0, 1000)->data.size(), read_log_chunk(path, 0, 0)->size);
  std::ofstream(path) << "short\n" << std::string(100000, 'z');
  EXPECT_EQ(last_log_line(path).size(), 503u);
  EXPECT_FALSE(read_log_chunk(dir.path(), 0, 10)) << "a directory is no log";
  EXPECT_EQ(shortened("a\xc3\xa9"
                      "b",
                      2),
            "a...")
      << "no half characters";
}

}  // namespace
}  // namespace seng::testing
