// Members as processes, each on a device of its own with NCCL on it, or with one that is none.
#pragma once

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/exchange/nccl_module.h"
#include "protocol/base/unique_fd.h"
#include "tests/actors/exchange/exchange_world.h"

namespace seng::testing {

inline const std::string kEmulated = SENG_BIN_DIR "/emulated/libseng_nccl.so";
inline const std::string kReal = SENG_BIN_DIR "/libseng_nccl.so";

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  UniqueFd out, in;
};

// What the members of a test, which know nothing of each other but the exchange, agree on through their
// parent: `gates` places where all wait until all have come.
class Meeting {
 public:
  explicit Meeting(std::size_t gates) : opened_(gates) {}

  // A member's.
  void arrive() { EXPECT_EQ(write(come_.in.get(), "c", 1), 1); }
  void pass(std::size_t gate) {
    char byte;
    opened_[gate].in.reset();
    EXPECT_EQ(read(opened_[gate].out.get(), &byte, 1), 0);  // the parent has closed it
  }
  void wait(std::size_t gate) {
    arrive();
    pass(gate);
  }
  // The parent's: opens one gate after another, each when so many have arrived.
  void open(const std::vector<int>& arrivals) {
    come_.in.reset();
    for (std::size_t gate = 0; gate < opened_.size(); ++gate) {
      char byte;
      for (int i = 0; i < arrivals[gate]; ++i) {
        if (read(come_.out.get(), &byte, 1) != 1) break;  // somebody has ended before its time
      }
      opened_[gate].in.reset();
    }
  }

 private:
  Pipe come_;
  std::vector<Pipe> opened_;
};

// Runs body(actor) in a process per member, and the parent's part beside them. Their exit codes.
inline std::vector<int> in_processes(std::size_t members, const std::function<void(ActorId)>& body,
                                     const std::function<void()>& parent) {
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < members; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      body(static_cast<ActorId>(i));
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    children.push_back(child);
  }
  parent();
  std::vector<int> codes;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  return codes;
}

// A process of its own is asked, since CUDA does not survive a fork.
inline std::string what_is_missing(const std::string& path) {
  Pipe said;
  const auto ask = [&](ActorId) {
    const std::string why = link::ability_of(link::open_module(path)).why;
    EXPECT_EQ(write(said.in.get(), why.data(), why.size()), static_cast<ssize_t>(why.size()));
  };
  std::string why;
  in_processes(1, ask, [&] {
    said.in.reset();
    char buffer[4096];
    for (ssize_t got; (got = read(said.out.get(), buffer, sizeof buffer)) > 0;) why.append(buffer, got);
  });
  return why;
}

// The member's device, and NCCL on it.
inline void take_place(World& world, ActorId self, const std::string& path) {
  // The emulated one has a GPU for each; on the real one all share the first.
  if (path == kEmulated) setenv("CUDA_VISIBLE_DEVICES", fmt::format("GPU-{}", self).c_str(), 1);
  setenv("NCCL_HOSTID", fmt::format("member {}", path == kReal ? self : 0).c_str(), 1);
  const auto module = link::open_module(path);
  ASSERT_TRUE(module) << module.error().message;
  world.nccl = *module;
}

inline std::vector<int> all_well(std::size_t members) {
  return std::vector<int>(members, 0);
}

// Three members over the NCCL of `path`: actor 2 is gone in the middle of step 3. The daemon tells the others
// so, and they do it again without it, as `after` says.
inline void lose_one_in_a_step(World& world, World& after, const std::string& path) {
  world.linger_ms = 50;  // for the one that is gone
  enum : std::size_t { kStepTwoIsEverybodys, kOneIsGone, kAllIsDone };
  Meeting meeting(3);
  const auto body = [&](ActorId self) {
    take_place(world, self, path);
    after.nccl = world.nccl;
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    for (std::uint64_t step = 1; step <= 2; ++step) ASSERT_EQ(driver.step(step), "");
    meeting.wait(kStepTwoIsEverybodys);  // whoever is still in it when one goes does not come to its end
    if (self == 2) {
      meeting.arrive();
      _exit(9);
    }
    std::thread daemon([&] {
      meeting.pass(kOneIsGone);
      exchange->interrupt("another membership is announced");
    });
    ASSERT_EQ(driver.step(3), "another membership is announced");
    daemon.join();
    ASSERT_TRUE(exchange->join(after.group(self, {1, 2})));
    TestDriver next(after, self, *exchange, 1);
    for (std::uint64_t step = 3; step <= 5; ++step) ASSERT_EQ(next.step(step), "");
    meeting.wait(kAllIsDone);
  };
  EXPECT_EQ(in_processes(3, body, [&] { meeting.open({3, 1, 2}); }), (std::vector<int>{0, 0, 9}));
}

}  // namespace seng::testing
