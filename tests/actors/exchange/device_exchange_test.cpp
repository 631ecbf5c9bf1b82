// Members as processes over NCCL of which some keep their vectors on their device, and some on the host: what
// they send each other is the same. On a device that is none, whose memory the host cannot touch and on which
// nothing is done before somebody waits for it; and on the real one where there is a GPU.
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/member_processes.h"

namespace seng::device_exchange_test {
namespace {

using namespace seng::testing;

enum class Kept { kByNobody, kByTheLeader, kByAllButTheLeader, kByAll };  // on the device

std::set<ActorId> keepers(Kept kept, std::uint32_t actors) {
  std::set<ActorId> all;
  for (ActorId actor = 0; actor < actors; ++actor) {
    if (kept == Kept::kByAll || (kept == Kept::kByTheLeader && actor == 0) ||
        (kept == Kept::kByAllButTheLeader && actor > 0))
      all.insert(actor);
  }
  return all;
}

using Way = std::tuple<std::string, Reduction, Kept>;

// With so many rounds that each has little in it.
struct DeviceWorld : World {
  DeviceWorld(Random& random, std::uint32_t actors, std::uint32_t micro_batches, const Way& way)
      : World(random, actors, micro_batches, 1500, 300) {
    round_bytes = random.chance(0.5) ? 500 : 6000;
    reduction = std::get<Reduction>(way);
    knows_order = std::get<std::string>(way) == kEmulated || reduction == Reduction::kOrdered;
  }
  // The first members of another, with its blocks and numbers.
  DeviceWorld(Random& random, const World& of, std::uint32_t actors, const Way& way)
      : DeviceWorld(random, actors, of.members.back().last_micro, way) {
    blocks = of.blocks;
    numbers = of.numbers;
    for (std::uint32_t i = 0; i < actors; ++i) members[i].endpoint = of.members[i].endpoint;
  }
};

std::string name_of(const ::testing::TestParamInfo<Way>& info) {
  const auto& [nccl, reduction, kept] = info.param;
  const char* names[] = {"ByNobody", "ByTheLeader", "ByAllButTheLeader", "ByAll"};
  return std::string(nccl == kReal ? "Real" : "Emulated") +
         (reduction == Reduction::kFast ? "Fast" : "Ordered") + names[static_cast<int>(kept)];
}

class DeviceExchange : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (path() == kEmulated) return;
    if (const std::string why = what_is_missing(kReal); !why.empty()) GTEST_SKIP() << why;
    if (!std::filesystem::exists(cuda_beside(kReal))) GTEST_SKIP() << "built without the CUDA backend";
  }
  static std::string path() { return std::get<0>(GetParam()); }
  static Kept kept() { return std::get<2>(GetParam()); }

  void steps_come_to_their_sums(std::uint32_t actors, std::uint32_t micro_batches, bool adds_up = false) {
    Random random;
    SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
    DeviceWorld world(random, actors, micro_batches, GetParam());
    world.adds_up = adds_up;
    steps_come_to_one_sum(world, path(), keepers(kept(), actors));
  }

  // One is gone in the middle of a step; the others are told so, and go on without it.
  static void loses_one() {
    Random random;
    SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
    DeviceWorld world(random, 3, 6, GetParam()), without(random, world, 2, GetParam());
    lose_one_in_a_step(world, without, path(), keepers(kept(), 3));
  }
};

TEST_P(DeviceExchange, TwoMembers) {
  steps_come_to_their_sums(2, 8);
}
TEST_P(DeviceExchange, ThreeMembersThatHandInSumsOfPieces) {
  steps_come_to_their_sums(3, 16, true);
}
TEST_P(DeviceExchange, FourMembersWithRangesThatAreNoSubtrees) {
  steps_come_to_their_sums(4, 7);
}
TEST_P(DeviceExchange, AMemberWithoutMicroBatches) {
  steps_come_to_their_sums(4, 3);
}

// The others of the next membership keep theirs elsewhere than before.
TEST_P(DeviceExchange, ANewMembershipInWhichTheyChangeSides) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  DeviceWorld world(random, 3, 6, GetParam()), next_world(random, world, 2, GetParam());
  Meeting meeting(2);
  const auto body = [&](ActorId self) {
    take_place(world, self, path(), true);
    next_world.nccl = world.nccl;
    if (keepers(kept(), 3).contains(self))
      next_world.device = nullptr;
    else
      next_world.device = std::exchange(world.device, nullptr);
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    for (std::uint64_t step = 1; step <= 2; ++step) ASSERT_EQ(driver.step(step), "");
    meeting.wait(0);  // as the daemon's Assign comes when all have parked
    if (self == 2) return;
    ASSERT_TRUE(exchange->join(next_world.group(self, {1, 2})));
    TestDriver next(next_world, self, *exchange, 1);
    for (std::uint64_t step = 3; step <= 5; ++step) ASSERT_EQ(next.step(step), "");
    meeting.wait(1);
  };
  EXPECT_EQ(in_processes(3, body, [&] { meeting.open({3, 2}); }), all_well(3));
}

TEST_P(DeviceExchange, TheOthersDoTheStepAgainWhenOneDies) {
  loses_one();
}
// What they have under way on the device just never ends.
TEST_P(DeviceExchange, TheOthersDoTheStepAgainWhenOneDiesAndNobodyNotices) {
  if (path() == kReal) GTEST_SKIP() << "only the emulated NCCL can be told to look away";
  setenv("SENG_EMULATED_NCCL_SILENT", "1", 1);
  loses_one();
  unsetenv("SENG_EMULATED_NCCL_SILENT");
}

INSTANTIATE_TEST_SUITE_P(, DeviceExchange,
                         ::testing::Combine(::testing::Values(kEmulated, kReal),
                                            ::testing::Values(Reduction::kOrdered, Reduction::kFast),
                                            ::testing::Values(Kept::kByNobody, Kept::kByTheLeader,
                                                              Kept::kByAllButTheLeader, Kept::kByAll)),
                         name_of);

}  // namespace
}  // namespace seng::device_exchange_test
