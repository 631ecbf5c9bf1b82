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
  for (const Limit& limit : plan.limits)
    out += std::to_string(limit.job) + "<=" + std::to_string(limit.actors) + " ";
  for (const Preemption& p : plan.preemptions)
    out += std::to_string(p.job) + " for " + std::to_string(p.waiting) + " ";
  for (const Wait& wait : plan.waits) out += std::to_string(wait.job) + " " + wait.why + "; ";
  return out;
}

JobDemand running(JobId job, std::uint32_t min, std::uint32_t max, std::uint32_t holds,
                  std::uint32_t wants = 0, int priority = 0) {
  return {job, min, max, 0, true, holds, wants, priority};
}

TEST(Scheduler, GivesAsManyAsAreFreeUpToMax) {
  EXPECT_EQ(told(schedule({{1, 1, 3}}, capacity({0, 0, 0, 0}))), "1:0,1,2, ");
  EXPECT_EQ(told(schedule({{1, 1, 9}}, capacity({0, 7, 0}))), "1:0,2, ");
  EXPECT_EQ(told(schedule({}, capacity({0, 0}))), "");
}

TEST(Scheduler, ServesByAgeWhateverTheOrderOfAsking) {
  EXPECT_EQ(told(schedule({{5, 1, 1}, {3, 1, 1}, {4, 1, 1}}, capacity({0, 0}))),
            "3:0, 4:1, 5 waits for 1 slot: 0 of 2 free (job 3 holds 1, job 4 holds 1); ");
}

TEST(Scheduler, AYoungJobDoesNotOvertakeABigOldOne) {
  EXPECT_EQ(told(schedule({running(1, 1, 1, 1), {3, 2, 2}, {4, 1, 1}, {5, 1, 1}}, capacity({1, 0}))),
            "3 waits for 2 slots: 1 of 2 free (job 1 holds 1); 4 waits behind job 3, which is older; "
            "5 waits behind job 3, which is older; ");
}

TEST(Scheduler, MemoryCounts) {
  // Room for three of 2 GiB beside the one that runs.
  EXPECT_EQ(told(schedule({{2, 1, 4, 2 * kGiB}}, capacity({1, 0, 0, 0, 0}, 8 * kGiB, 2 * kGiB))),
            "2:1,2,3, ");
  EXPECT_EQ(told(schedule({{1, 1, 1, 2 * kGiB, true, 1}, {2, 1, 1, 3 * kGiB}},
                          capacity({1, 0}, 4 * kGiB, 2 * kGiB))),
            "2 waits for memory: 1 actor of 3072 MiB each, 2048 MiB of 4096 MiB free (job 1 holds 1); ");
  EXPECT_EQ(told(schedule({{2, 1, 1, 3 * kGiB}}, capacity({0}, 0))), "2:0, ") << "unknown memory is no limit";
  // What runs may have been planned at more than there is (a node that was resized): nothing wraps around.
  EXPECT_EQ(schedule({{2, 1, 1, kGiB}}, capacity({1, 0}, 4 * kGiB, 9 * kGiB)).grants.size(), 0u);
}

TEST(Scheduler, RunningJobsGrowIntoWhatIsFree) {
  EXPECT_EQ(told(schedule({running(1, 1, 4, 1, 3)}, capacity({1, 0, 0}))),
            "1:1,2, 1 3 of 4 actors: this node has 3 slots; ");
  EXPECT_EQ(told(schedule({running(2, 1, 4, 1, 3), running(1, 1, 2, 1, 1)}, capacity({1, 2, 0, 0}))),
            "1:2, 2:3, 2 2 of 4 actors: waits for free slots; ")
      << "the older one first";
  EXPECT_EQ(told(schedule({running(1, 1, 4, 1, 0)}, capacity({1, 0, 0}))), "") << "it waits with its restart";
}

TEST(Scheduler, NobodyGrowsAtAnothersCost) {
  EXPECT_EQ(told(schedule({running(1, 1, 4, 1, 3), running(2, 1, 4, 3)}, capacity({1, 2, 2, 2}))),
            "1 1 of 4 actors: waits for free slots; ");
}

TEST(Scheduler, AWaitingJobTakesItsMinFromTheGrowthOfTheYoungest) {
  EXPECT_EQ(told(schedule({running(1, 1, 2, 2), running(2, 1, 2, 2), {3, 1, 2}}, capacity({1, 1, 2, 2}))),
            "2<=1 3 waits for 1 slot: 0 of 4 free (job 1 holds 2, job 2 holds 2); others make room; ");
  EXPECT_EQ(told(schedule({running(1, 1, 2, 2), running(2, 1, 2, 2), {3, 2, 2}}, capacity({1, 1, 2, 2}))),
            "1<=1 2<=1 3 waits for 2 slots: 0 of 4 free (job 1 holds 2, job 2 holds 2); others make room; ");
  EXPECT_EQ(told(schedule({running(1, 2, 2, 2), running(2, 2, 2, 2), {3, 1, 2}}, capacity({1, 1, 2, 2}))),
            "3 waits for 1 slot: 0 of 4 free (job 1 holds 2, job 2 holds 2); ")
      << "never below their min";
}

TEST(Scheduler, SlotsThatAreGivenUpAreKeptForWhoWaits) {
  // One of the two that job 3 needs is free already; job 1 would like to grow back into it.
  EXPECT_EQ(told(schedule({running(1, 1, 3, 2, 1), {3, 2, 2}}, capacity({1, 1, 0}))),
            "1<=1 3 waits for 2 slots: 1 of 3 free (job 1 holds 2); others make room; ");
}

TEST(Scheduler, PriorityGoesBeforeAge) {
  JobDemand urgent{9, 1, 1};
  urgent.priority = 1;
  EXPECT_EQ(told(schedule({{3, 1, 1}, urgent}, capacity({0}))),
            "9:0, 3 waits for 1 slot: 0 of 1 free (job 9 holds 1); ");
  EXPECT_EQ(
      told(schedule({running(1, 1, 2, 2, 0, -1), running(2, 1, 2, 2), {3, 1, 1}}, capacity({1, 1, 2, 2}))),
      "1<=1 3 waits for 1 slot: 0 of 4 free (job 1 holds 2, job 2 holds 2); others make room; ")
      << "the less urgent one shrinks, though it is older";
}

JobDemand urgent(JobId job, std::uint32_t min, int priority) {
  JobDemand out{job, min, min};
  out.priority = priority;
  return out;
}

TEST(Scheduler, AHigherPriorityPreemptsWhereShrinkingIsNotEnough) {
  const std::string waits = " free (job 1 holds 2, job 2 holds 2); others make room; ";
  EXPECT_EQ(
      told(schedule({running(1, 1, 2, 2), running(2, 1, 2, 2), urgent(3, 2, 1)}, capacity({1, 1, 2, 2}))),
      "1<=1 2<=1 3 waits for 2 slots: 0 of 4" + waits)
      << "both shrink";
  EXPECT_EQ(
      told(schedule({running(1, 1, 2, 2), running(2, 1, 2, 2), urgent(3, 3, 1)}, capacity({1, 1, 2, 2}))),
      "1<=1 2 for 3 3 waits for 3 slots: 0 of 4" + waits)
      << "the youngest goes";
  EXPECT_EQ(told(schedule({running(1, 2, 2, 2, 0, -1), running(2, 2, 2, 2), urgent(3, 2, 1)},
                          capacity({1, 1, 2, 2}))),
            "1 for 3 3 waits for 2 slots: 0 of 4" + waits)
      << "the lowest priority goes";
  EXPECT_EQ(
      told(schedule({running(1, 2, 2, 2), running(2, 2, 2, 2), urgent(3, 4, 1)}, capacity({1, 1, 2, 2}))),
      "1 for 3 2 for 3 3 waits for 4 slots: 0 of 4" + waits);
  EXPECT_EQ(
      told(schedule({running(1, 3, 3, 3), running(2, 1, 1, 1), urgent(3, 3, 1)}, capacity({1, 1, 1, 2}))),
      "1 for 3 3 waits for 3 slots: 0 of 4 free (job 1 holds 3, job 2 holds 1); others make room; ")
      << "who would not help stays";
}

TEST(Scheduler, NobodyIsPreemptedInVain) {
  EXPECT_EQ(told(schedule({running(1, 2, 2, 2), urgent(3, 2, 0)}, capacity({1, 1}))),
            "3 waits for 2 slots: 0 of 2 free (job 1 holds 2); ")
      << "of the same priority";
  EXPECT_EQ(
      told(schedule({running(1, 2, 2, 2, 0, 1), running(2, 1, 1, 1), urgent(3, 2, 1)}, capacity({1, 1, 2}))),
      "3 waits for 2 slots: 0 of 3 free (job 1 holds 2, job 2 holds 1); ")
      << "it would not be enough";
  JobDemand leaving = running(1, 2, 2, 2);
  leaving.leaves = true;
  EXPECT_EQ(told(schedule({leaving, running(2, 1, 1, 1), urgent(3, 2, 1)}, capacity({1, 1, 2}))),
            "3 waits for 2 slots: 0 of 3 free (job 1 holds 2, job 2 holds 1); others make room; ")
      << "one leaves already";
}

TEST(Scheduler, PreemptingIsForMemoryToo) {
  JobDemand low = running(1, 1, 1, 1);
  low.memory_per_actor = 3 * kGiB;
  JobDemand high = urgent(3, 1, 1);
  high.memory_per_actor = 2 * kGiB;
  EXPECT_EQ(told(schedule({low, high}, capacity({1, 0}, 4 * kGiB, 3 * kGiB))).substr(0, 8), "1 for 3 ");
}

Capacity kinds(std::initializer_list<const char*> of_slots) {
  Capacity out;
  for (const char* kind : of_slots)
    out.slots.push_back({static_cast<std::uint32_t>(out.slots.size()), 0, 0, kind});
  return out;
}

TEST(Scheduler, AJobGetsSlotsOfOneKindOfDevice) {
  const Capacity node = kinds({"H100", "A2", "A2", "A2"});
  JobDemand job{1, 1, 4};
  EXPECT_EQ(told(schedule({job}, node)), "1:1,2,3, ") << "the kind with the most";
  job.kind = "H100";
  EXPECT_EQ(told(schedule({job}, node)), "1:0, ") << "its own";
  job.mixed = true;
  EXPECT_EQ(told(schedule({job}, node)), "1:0,1,2,3, ") << "any";
  job = {1, 4, 4};
  const Schedule waits = schedule({job}, node);
  EXPECT_TRUE(waits.grants.empty());
  ASSERT_EQ(waits.waits.size(), 1u);
  EXPECT_EQ(waits.waits[0].why, "waits for 4 slots of one kind of device: 3 free");
}

TEST(Scheduler, AJobThatRunsGrowsOnItsKindAlone) {
  Capacity node = kinds({"H100", "H100", "A2"});
  node.slots[0].job = 1;
  JobDemand job = running(1, 1, 3, 1);
  job.wants = 2;
  job.kind = "H100";
  EXPECT_EQ(told(schedule({job}, node)).substr(0, 5), "1:1, ");
  job.mixed = true;
  EXPECT_EQ(told(schedule({job}, node)).substr(0, 7), "1:1,2, ");
}

}  // namespace
}  // namespace seng
