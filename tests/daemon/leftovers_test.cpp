#include "daemon/leftovers.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/remover.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

namespace fs = std::filesystem;

void make_socket(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0) << path;
  close(fd);
}

TEST(Leftovers, OnlySocketsOfActorsThatDoNotLiveGo) {
  const TempDir dir;
  for (const char* name :
       {"a1.0", "s1.0", "a1.1", "s12.3", "actors.sock", "a1", "a1.x", "b1.0", "a1.0.2", "a.1"})
    make_socket(dir.path() + "/" + name);
  std::ofstream(dir.path() + "/a7.7") << "no socket";
  EXPECT_EQ(remove_sockets(dir.path(), [](JobId job, ActorId actor) { return job == 1 && actor == 0; }), 2);
  for (const char* name : {"a1.0", "s1.0", "actors.sock", "a1", "a1.x", "b1.0", "a1.0.2", "a.1", "a7.7"})
    EXPECT_TRUE(fs::exists(dir.path() + "/" + name)) << name;
  EXPECT_FALSE(fs::exists(dir.path() + "/a1.1"));
  EXPECT_FALSE(fs::exists(dir.path() + "/s12.3"));
  EXPECT_EQ(remove_sockets(dir.path() + "/nowhere", [](JobId, ActorId) { return false; }), 0);
}

TEST(Leftovers, UnfinishedCheckpointsGo) {
  const TempDir dir;
  const std::string checkpoints = dir.path() + "/checkpoints";
  for (const char* name : {".step-00000004.staging", ".step-00000002.discarded", "step-00000004", ".other"}) {
    fs::create_directories(checkpoints + "/" + name);
    std::ofstream(checkpoints + "/" + name + "/model.safetensors") << "x";
  }
  EXPECT_EQ(remove_unfinished_checkpoints(dir.path()), 2);
  EXPECT_TRUE(fs::exists(checkpoints + "/step-00000004/model.safetensors"));
  EXPECT_TRUE(fs::exists(checkpoints + "/.other"));
  EXPECT_EQ(remove_unfinished_checkpoints(dir.path() + "/nowhere"), 0);
}

TEST(Leftovers, AJobsFilesGoButForItsCheckpoints) {
  const TempDir dir;
  const std::string job = dir.path() + "/7", other = dir.path() + "/8";
  const auto make = [&] {
    fs::create_directories(job + "/checkpoints/step-00000004");
    fs::create_directories(job + "/logs");
    for (const char* name : {"/logs/actor-0.log", "/ledger-0.csv"}) std::ofstream(job + name) << "x";
  };
  fs::create_directories(other);
  make();
  const auto first = set_aside_job_files(job, false);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, dir.path() + "/.deleted-7-0");
  EXPECT_TRUE(fs::exists(*first + "/logs/actor-0.log"));
  EXPECT_TRUE(fs::exists(job + "/checkpoints/step-00000004"));
  EXPECT_FALSE(fs::exists(job + "/logs"));
  EXPECT_FALSE(fs::exists(job + "/ledger-0.csv"));
  make();
  const auto second = set_aside_job_files(job, true);
  ASSERT_TRUE(second);
  EXPECT_TRUE(fs::exists(*second + "/checkpoints/step-00000004"));
  EXPECT_FALSE(fs::exists(job));
  fs::create_directories(job + "/checkpoints");
  ASSERT_TRUE(set_aside_job_files(job, false));
  EXPECT_FALSE(fs::exists(job)) << "nothing to keep";
  const auto nothing = set_aside_job_files(job, true);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(*nothing, "");
  EXPECT_TRUE(fs::exists(other));
  // What a daemon before has left is removed by this one.
  std::vector<std::string> aside = set_aside_in(dir.path());
  EXPECT_EQ(aside.size(), 3u);
  fs::create_directory_symlink(other, aside.front() + "/link");
  Remover remover;
  for (const std::string& directory : aside) remover.remove(directory);
  for (int i = 0; i < 6000 && !set_aside_in(dir.path()).empty(); ++i) usleep(10'000);
  EXPECT_TRUE(set_aside_in(dir.path()).empty());
  EXPECT_TRUE(fs::exists(other)) << "links are not followed";
}

TEST(Leftovers, OfActorsThatDiedWhileNoDaemonRanAndOfJobsThatAreOver) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  for (const char* name : {"/a1.0", "/s1.0", "/a1.1", "/s1.1", "/a9.0"}) make_socket(world.dir.path() + name);
  world.processes.running.erase(world.pid_of(job, 1));
  world.restart();
  EXPECT_TRUE(fs::exists(world.dir.path() + "/a1.0")) << "it lives";
  EXPECT_TRUE(fs::exists(world.dir.path() + "/s1.0"));
  EXPECT_FALSE(fs::exists(world.dir.path() + "/a1.1"));
  EXPECT_FALSE(fs::exists(world.dir.path() + "/s1.1"));
  EXPECT_FALSE(fs::exists(world.dir.path() + "/a9.0"));
  const std::string staging = world.dir.path() + "/jobs/1/checkpoints/.step-00000004.staging";
  fs::create_directories(staging);
  make_socket(world.dir.path() + "/a1.77");  // an actor's of whom nobody has heard
  ASSERT_TRUE(world.head().stop(std::to_string(job)));
  world.head().hurry_shutdown();
  world.settle();
  const auto actors = world.head().actors(job);
  for (const auto& a : *actors)
    if (a.state != "exited") world.end(job, a.actor, {true, SIGTERM});
  EXPECT_EQ(world.record(job).state, JobState::kStopped);
  EXPECT_FALSE(fs::exists(world.dir.path() + "/a1.77"));
  EXPECT_FALSE(fs::exists(world.dir.path() + "/a1.0"));
  EXPECT_FALSE(fs::exists(staging));
}

}  // namespace
}  // namespace seng::testing
