// Members as processes whose sums and directions travel over NCCL: over one that is none
// (tests/support/emulated_nccl), and over the real one where there is a GPU.
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/member_processes.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using namespace testing;

class NcclExchange : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == kEmulated) return;
    if (const std::string why = what_is_missing(kReal); !why.empty()) GTEST_SKIP() << why;
  }
  void steps_give_the_trees_bits(std::uint32_t actors, std::uint32_t micro_batches) {
    Random random;
    SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
    World world(random, actors, micro_batches, 3000, 1024);
    Meeting meeting(1);
    const auto body = [&](ActorId self) {
      take_place(world, self, GetParam());
      const auto exchange = world.open(self);
      ASSERT_TRUE(exchange->join(world.group(self)));
      TestDriver driver(world, self, *exchange, 2);
      for (std::uint64_t step = 1; step <= 4; ++step) ASSERT_EQ(driver.step(step), "");
      EXPECT_EQ(exchange->counters().refused, 0u);
      meeting.wait(0);
    };
    EXPECT_EQ(in_processes(actors, body, [&] { meeting.open({static_cast<int>(actors)}); }),
              all_well(actors));
  }
};

TEST_P(NcclExchange, TwoMembersComeToTheTreesBits) {
  steps_give_the_trees_bits(2, 8);
}
TEST_P(NcclExchange, ThreeMembersComeToTheTreesBits) {
  steps_give_the_trees_bits(3, 8);
}
TEST_P(NcclExchange, FourMembersWithRangesThatAreNoSubtreesComeToTheTreesBits) {
  steps_give_the_trees_bits(4, 7);
}

TEST_P(NcclExchange, ANewMembershipHasACommunicatorOfItsOwn) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, 3, 6, 500, 64), after(random, 2, 6, 500, 64);
  after.blocks = world.blocks;
  after.numbers = world.numbers;
  for (int i = 0; i < 2; ++i) after.members[i].endpoint = world.members[i].endpoint;
  Meeting meeting(2);
  const auto body = [&](ActorId self) {
    take_place(world, self, GetParam());
    after.nccl = world.nccl;
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    for (std::uint64_t step = 1; step <= 2; ++step) ASSERT_EQ(driver.step(step), "");
    meeting.wait(0);  // as the daemon's Assign comes when all have parked
    if (self == 2) return;
    ASSERT_TRUE(exchange->join(after.group(self, {1, 2})));
    TestDriver next(after, self, *exchange, 1);
    for (std::uint64_t step = 3; step <= 5; ++step) ASSERT_EQ(next.step(step), "");
    meeting.wait(1);
  };
  EXPECT_EQ(in_processes(3, body, [&] { meeting.open({3, 2}); }), all_well(3));
}

// One is gone in the middle of a step; the others are told so by the daemon, and go on without it.
void loses_one(const std::string& path) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, 3, 6, 5000, 512), after(random, 2, 6, 5000, 512);
  after.blocks = world.blocks;
  after.numbers = world.numbers;
  for (int i = 0; i < 2; ++i) after.members[i].endpoint = world.members[i].endpoint;
  lose_one_in_a_step(world, after, path);
}

TEST_P(NcclExchange, TheOthersGoOnWhenOneDies) {
  loses_one(GetParam());
}

// As between the GPUs of one machine: the others' operations just never end.
TEST(EmulatedNcclExchange, TheOthersGoOnWhenOneDiesAndNobodyNotices) {
  setenv("SENG_EMULATED_NCCL_SILENT", "1", 1);
  loses_one(kEmulated);
  unsetenv("SENG_EMULATED_NCCL_SILENT");
}

TEST(EmulatedNcclExchange, ItsOwnFailureIsSaidInWordsAndAPeersIsWaitedOut) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, 2, 4, 5000, 512);
  Meeting meeting(1);
  setenv("SENG_EMULATED_NCCL_FAILS_AFTER", "3", 1);
  setenv("SENG_EMULATED_NCCL_FAILS_RANK", "1", 1);
  const auto body = [&](ActorId self) {
    take_place(world, self, kEmulated);
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    std::thread daemon([&] {
      meeting.pass(0);
      exchange->interrupt("another membership is announced");
    });
    std::string why;
    for (std::uint64_t step = 1; why.empty(); ++step) why = driver.step(step);
    if (self == 1) {
      EXPECT_THAT(why, HasSubstr("NCCL: unhandled system error: this is a drill"));
      EXPECT_THAT(why, HasSubstr("in ncclGroupEnd, actors/exchange/nccl/nccl_link.cpp:"));
      meeting.arrive();
    } else {
      EXPECT_EQ(why, "another membership is announced");
    }
    daemon.join();
  };
  EXPECT_EQ(in_processes(2, body, [&] { meeting.open({1}); }), all_well(2));
  unsetenv("SENG_EMULATED_NCCL_FAILS_AFTER");
  unsetenv("SENG_EMULATED_NCCL_FAILS_RANK");
}

// The others do not come, and the daemon takes the membership back.
TEST(EmulatedNcclExchange, WhoWaitsForTheOthersCanBeInterrupted) {
  Random random;
  World world(random, 2, 4, 500, 512);
  world.linger_ms = 50;
  const auto body = [&](ActorId self) {
    if (self == 1) return;
    take_place(world, self, kEmulated);
    const auto exchange = world.open(self);
    std::atomic<bool> joined{false};
    std::thread daemon([&] {
      while (!joined) exchange->interrupt("another membership is announced");
    });
    EXPECT_TRUE(exchange->join(world.group(self)));
    joined = true;
    daemon.join();
  };
  EXPECT_EQ(in_processes(2, body, [] {}), all_well(2));
}

TEST(EmulatedNcclExchange, TwoOnOneGpuOfOneHostAreRefusedInWords) {
  Random random;
  World world(random, 2, 4, 500, 512);
  world.linger_ms = 50;
  const auto body = [&](ActorId self) {
    take_place(world, self, kEmulated);
    setenv("CUDA_VISIBLE_DEVICES", "GPU-0", 1);
    const auto exchange = world.open(self);
    const Status joined = exchange->join(world.group(self));
    ASSERT_FALSE(joined);
    EXPECT_THAT(joined.error().message, HasSubstr("Duplicate GPU detected"));
    EXPECT_THAT(joined.error().message, HasSubstr("actors that share a GPU need an NCCL_HOSTID each"));
  };
  EXPECT_EQ(in_processes(2, body, [] {}), all_well(2));
}

INSTANTIATE_TEST_SUITE_P(, NcclExchange, ::testing::Values(kEmulated, kReal),
                         [](const auto& info) { return info.param == kReal ? "Real" : "Emulated"; });

TEST(NcclModule, SaysWhatIsMissing) {
  TempDir directory;
  const auto module = link::open_module(directory.file("libseng_nccl.so"));
  ASSERT_FALSE(module);
  EXPECT_THAT(module.error().message, HasSubstr("no NCCL: this program was built without it"));
  EXPECT_THAT(link::ability_of(module).why, HasSubstr("no NCCL"));
  EXPECT_EQ(link::ability_of(module).version, 0u);
}

}  // namespace
}  // namespace seng
