// Jobs that are forgotten.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Ends it, with files.
std::string finish(World& world, JobId job) {
  const std::string directory = world.dir.path() + "/jobs/" + std::to_string(job);
  fs::create_directories(directory + "/checkpoints/step-00000008");
  fs::create_directories(directory + "/logs");
  std::ofstream(directory + "/logs/actor-0.log") << "words";
  world.say(job, 0, Finished{8, false, "w", "s"});
  world.end(job, 0, {false, 0});
  return directory;
}

TEST(Delete, OnlyWhatHasEndedAndForGood) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 1));
  const std::string name = std::to_string(job);
  EXPECT_EQ(world.head().remove("77", false).error().code, ErrorCode::kNotFound);
  world.train(job);
  world.say(job, 0, CheckpointReport{8, "/c/step-8", "w", "s", ""});
  const auto early = world.head().remove(name, true);
  EXPECT_EQ(early.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(early.error().message, HasSubstr("is running"));
  const std::string directory = finish(world, job);
  const auto deleted = world.head().remove(name, false);
  ASSERT_TRUE(deleted) << deleted.error().message;
  EXPECT_EQ(deleted->job.id, job);
  EXPECT_EQ(deleted->kept, directory + "/checkpoints");
  EXPECT_TRUE(fs::exists(directory + "/checkpoints/step-00000008"));
  EXPECT_FALSE(fs::exists(directory + "/logs"));
  EXPECT_EQ(world.head().find(name).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(world.store->checkpoints(job)->empty());
  EXPECT_TRUE(world.store->epochs(job)->empty());
  EXPECT_TRUE(world.store->actors(job)->empty());
  EXPECT_THAT(world.event_kinds(job), ::testing::IsEmpty());
  EXPECT_THAT(world.event_kinds(0), HasSubstr("Deleted"));
  world.restart();
  EXPECT_TRUE(world.head().jobs().empty());
  EXPECT_GT(world.submit(spec_text("b", 1, 1)), job) << "its number is not given again";
}

TEST(Delete, WithItsCheckpointsWhereNobodyBeginsWithThem) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  const std::string directory = finish(world, job);
  const std::string text =
      spec_text("b", 1, 1) + "initial: {checkpoint: " + directory + "/checkpoints/step-00000008}\n";
  const JobId heir = world.submit(text);
  ASSERT_NE(heir, 0u) << world.error.message;
  const auto refused = world.head().remove(std::to_string(job), true);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("job 2 begins with a checkpoint"));
  EXPECT_TRUE(fs::exists(directory + "/logs"));
  world.train(heir);
  finish(world, heir);
  // By another way, and while it is still being planned.
  fs::create_directory_symlink(directory, world.dir.path() + "/way");
  SubmitRequest late;
  late.spec_yaml = spec_text("c", 1, 1) + "initial: {checkpoint: " + world.dir.path() +
                   "/way/logs/..//checkpoints/step-00000008}\n";
  bool answered = false;
  world.head().submit(late, [&](const auto&) { answered = true; });
  ASSERT_FALSE(answered);
  EXPECT_THAT(world.head().remove(std::to_string(job), true).error().message,
              HasSubstr("a job that was just submitted begins with a checkpoint of job 1"));
  world.processes.end(world.processes.find("plan"), {false, 1});
  ASSERT_TRUE(answered);
  const auto deleted = world.head().remove(std::to_string(job), true);
  ASSERT_TRUE(deleted) << deleted.error().message;
  EXPECT_EQ(deleted->kept, "");
  EXPECT_FALSE(fs::exists(directory));
}

TEST(Delete, OfALinkOnlyTheLinkGoes) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  const std::string directory = finish(world, job), elsewhere = world.dir.path() + "/elsewhere";
  fs::rename(directory + "/checkpoints", elsewhere);
  fs::create_directory_symlink(elsewhere, directory + "/checkpoints");
  const auto deleted = world.head().remove(std::to_string(job), true);
  ASSERT_TRUE(deleted) << deleted.error().message;
  EXPECT_EQ(deleted->kept, fs::canonical(elsewhere).string()) << "and that is said";
  EXPECT_FALSE(fs::exists(directory));
  EXPECT_TRUE(fs::exists(elsewhere + "/step-00000008"));
}

TEST(Delete, NothingIsForgottenThatCannotBe) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  finish(world, job);
  world.store->full = true;
  EXPECT_EQ(world.head().remove(std::to_string(job), false).error().code, ErrorCode::kExhausted);
  EXPECT_TRUE(world.head().find(std::to_string(job)));
  world.store->full = false;
  EXPECT_TRUE(world.head().remove(std::to_string(job), false));
}

}  // namespace
}  // namespace seng::testing
