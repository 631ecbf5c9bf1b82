#include "daemon/scheduler.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;

Capacity capacity(std::initializer_list<JobId> holders, std::uint64_t memory = 0, std::uint64_t held = 0) {
  Capacity out{{}, memory};
  for (const JobId job : holders) {
    out.slots.push_back({static_cast<std::uint32_t>(out.slots.size()), job, job == 0 ? 0 : held});
  }
  return out;
}

std::string told(const Schedule& plan) {
  std::string out;
  for (const Grant& grant : plan.grants) {
    out += std::to_string(grant.job) + ":";
    for (const auto slot : grant.slots) out += std::to_string(slot) + ",";
    out += " ";
  }
  for (const Wait& wait : plan.waits) out += std::to_string(wait.job) + " " + wait.why + "; ";
  return out;
}

TEST(Scheduler, GivesAsManyAsAreFreeUpToMax) {
  EXPECT_EQ(told(schedule({{1, 1, 3, 0}}, capacity({0, 0, 0, 0}))), "1:0,1,2, ");
  EXPECT_EQ(told(schedule({{1, 1, 9, 0}}, capacity({0, 7, 0}))), "1:0,2, ");
  EXPECT_EQ(told(schedule({}, capacity({0, 0}))), "");
}

TEST(Scheduler, ServesByAgeWhateverTheOrderOfAsking) {
  EXPECT_EQ(told(schedule({{5, 1, 1, 0}, {3, 1, 1, 0}, {4, 1, 1, 0}}, capacity({0, 0}))),
            "3:0, 4:1, 5 waits for 1 slot: 0 of 2 free (job 3 holds 1, job 4 holds 1); ");
}

TEST(Scheduler, AYoungJobDoesNotOvertakeABigOldOne) {
  EXPECT_EQ(told(schedule({{3, 2, 2, 0}, {4, 1, 1, 0}, {5, 1, 1, 0}}, capacity({1, 0}))),
            "3 waits for 2 slots: 1 of 2 free (job 1 holds 1); 4 waits behind job 3, which is older; "
            "5 waits behind job 3, which is older; ");
}

TEST(Scheduler, MemoryCounts) {
  // Room for three of 2 GiB beside the one that runs.
  EXPECT_EQ(told(schedule({{2, 1, 4, 2 * kGiB}}, capacity({1, 0, 0, 0, 0}, 8 * kGiB, 2 * kGiB))),
            "2:1,2,3, ");
  EXPECT_EQ(told(schedule({{2, 1, 1, 3 * kGiB}}, capacity({1, 0}, 4 * kGiB, 2 * kGiB))),
            "2 waits for memory: 1 actor of 3072 MiB each, 2048 MiB of 4096 MiB free (job 1 holds 1); ");
  EXPECT_EQ(told(schedule({{2, 1, 1, 3 * kGiB}}, capacity({0}, 0))), "2:0, ") << "unknown memory is no limit";
  // What runs may have been planned at more than there is (a node that was resized): nothing wraps around.
  EXPECT_EQ(schedule({{2, 1, 1, kGiB}}, capacity({1, 0}, 4 * kGiB, 9 * kGiB)).grants.size(), 0u);
}

}  // namespace
}  // namespace seng
