// Members as processes, each on a device of its own with NCCL on it, or with one that is none.
#pragma once

#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "actors/exchange/nccl_module.h"
#include "tests/actors/exchange/exchange_world.h"
#include "tests/support/member_processes.h"

namespace seng::testing {

inline const std::string kEmulated = SENG_BIN_DIR "/emulated/libseng_nccl.so";
inline const std::string kReal = SENG_BIN_DIR "/libseng_nccl.so";

// The backend of such a device.
inline std::string cuda_beside(const std::string& nccl) {
  return nccl.substr(0, nccl.rfind('/')) + "/libseng_cuda.so";
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

// The member's device, and NCCL on it; with its vectors, where it keeps them there.
inline void take_place(World& world, ActorId self, const std::string& path, bool keeps_vectors = false) {
  // The emulated one has a GPU for each; on the real one all share the first.
  if (path == kEmulated) setenv("CUDA_VISIBLE_DEVICES", fmt::format("GPU-{}", self).c_str(), 1);
  setenv("NCCL_HOSTID", fmt::format("member {}", path == kReal ? self : 0).c_str(), 1);
  const auto module = link::open_module(path);
  ASSERT_TRUE(module) << module.error().message;
  world.nccl = *module;
  if (keeps_vectors) world.device = make_device_vectors(cuda_beside(path));
}

// All members of `world` over the NCCL of `path`, four steps: they come to the same directions, bit for bit.
inline void steps_come_to_one_sum(World& world, const std::string& path,
                                  const std::set<ActorId>& on_device = {}) {
  const std::size_t members = world.members.size();
  Meeting meeting(1);
  Pipe said;  // what each has got
  const auto body = [&](ActorId self) {
    take_place(world, self, path, on_device.contains(self));
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 2);
    for (std::uint64_t step = 1; step <= 4; ++step) ASSERT_EQ(driver.step(step), "");
    EXPECT_EQ(exchange->counters().refused, 0u);
    const Digest digest = driver.received();
    EXPECT_EQ(write(said.in.get(), digest.data(), digest.size()), static_cast<ssize_t>(digest.size()));
    meeting.wait(0);
  };
  std::set<Digest> received;
  const auto parent = [&] {
    meeting.open({static_cast<int>(members)});
    said.in.reset();
    Digest digest;
    while (read(said.out.get(), digest.data(), digest.size()) == static_cast<ssize_t>(digest.size()))
      received.insert(digest);
  };
  EXPECT_EQ(in_processes(members, body, parent), all_well(members));
  EXPECT_EQ(received.size(), 1u) << "all members come to the same bits";
}

// Three members over the NCCL of `path`: actor 2 is gone in the middle of step 3. The daemon tells the others
// so, and they do it again without it, as `after` says.
inline void lose_one_in_a_step(World& world, World& after, const std::string& path,
                               const std::set<ActorId>& on_device = {}) {
  world.linger_ms = 50;  // for the one that is gone
  enum : std::size_t { kStepTwoIsEverybodys, kOneIsGone, kAllIsDone };
  Meeting meeting(3);
  const auto body = [&](ActorId self) {
    take_place(world, self, path, on_device.contains(self));
    after.nccl = world.nccl;
    after.device = world.device;
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
