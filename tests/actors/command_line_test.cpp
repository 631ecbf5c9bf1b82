#include "actors/command_line.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

Result<ActorCommandLine> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "seng-actor");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(ActorCommandLine, Accepts) {
  const auto run = parse({"run", "--daemon", "ipc:///x", "--job", "3", "--actor", "2", "--peer-dir", "/p",
                          "--lanes", "4", "--host-threads", "6"});
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_EQ(run->verb, ActorCommandLine::Verb::kRun);
  EXPECT_EQ(run->job, 3u);
  EXPECT_EQ(run->actor, 2u);
  EXPECT_EQ(run->lanes, 4);
  EXPECT_EQ(run->host_threads, 6);
  EXPECT_EQ(parse({"plan"})->verb, ActorCommandLine::Verb::kPlan);
  EXPECT_EQ(parse({"--help"})->verb, ActorCommandLine::Verb::kHelp);
  EXPECT_EQ(parse({"--version"})->verb, ActorCommandLine::Verb::kVersion);
}

TEST(ActorCommandLine, Refuses) {
  for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{
           {},
           {"train"},
           {"run"},
           {"run", "--daemon", "ipc:///x", "--job", "0", "--peer-dir", "/p"},
           {"run", "--daemon", "ipc:///x", "--job", "-1", "--peer-dir", "/p"},
           {"plan", "--lanes", "0"},
           {"plan", "--lanes", "many"},
           {"plan", "--host-threads", "1025"},
           {"plan", "--host-threads", "-1"},
           {"plan", "--device", "tpu"},
           {"plan", "--lane-count", "2"},
           {"plan", "more"},
       }) {
    const auto line = parse(words);
    EXPECT_FALSE(line) << (words.empty() ? "(nothing)" : words.back());
    if (!line) {
      EXPECT_FALSE(line.error().message.empty());
    }
  }
}

}  // namespace
}  // namespace seng
