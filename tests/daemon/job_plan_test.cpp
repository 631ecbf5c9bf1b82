#include "daemon/job_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng::job_plan_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

JobPlan plan_of(std::uint32_t actors) {
  JobPlan plan;
  plan.micro_batches = 8;
  plan.actors_min = plan.actors_max = actors;
  plan.precision = "f32";
  return plan;
}

std::string refusal(const JobPlan& plan, const NodeLimits& node) {
  const Status fits = check_fit(plan, node);
  EXPECT_TRUE(fits || fits.error().code == ErrorCode::kInvalidArgument);
  return fits ? "" : fits.error().message;
}

TEST(CheckFit, NamesTheKeyOfWhatTheNodeLacks) {
  EXPECT_EQ(refusal(plan_of(2), {.slots = 2}), "");
  EXPECT_EQ(refusal(plan_of(3), {.slots = 2}),
            "actors.min: 3, but this node has 2 slots: lower actors.min, or start sengd with --slots 3");
  EXPECT_THAT(refusal(plan_of(2), {.slots = 1}), HasSubstr("has 1 slot:"));
  EXPECT_THAT(refusal(plan_of(9), {.slots = 9}), StartsWith("actors.min: 9, but the global batch"));
  EXPECT_THAT(refusal(plan_of(3), {.slots = 4, .slots_of_one_kind = 2}), StartsWith("actors.min: 3, but of"));
}

TEST(CheckFit, RefusesWhatNeedsGpusWhereActorsHaveNone) {
  JobPlan nccl = plan_of(2), fast = plan_of(2), half = plan_of(2);
  nccl.insists_on_nccl = true;
  fast.fast_reduce = true;
  half.precision = "bf16";
  EXPECT_EQ(
      refusal(nccl, {.slots = 2}),
      "exchange.path: nccl, which is between GPUs and the CPU has not; of the 2 slots of this node none "
      "is a GPU's: set exchange.path to auto, or start sengd with --device cuda");
  EXPECT_THAT(refusal(nccl, {.slots = 2, .gpu_slots = 1}), HasSubstr("of this node only 1 is a GPU's: "));
  nccl.actors_min = 3;
  EXPECT_THAT(refusal(nccl, {.slots = 4, .gpu_slots = 2}), HasSubstr("only 2 are GPUs'"));
  EXPECT_EQ(refusal(nccl, {.slots = 4, .gpu_slots = 3}), "");
  EXPECT_THAT(refusal(fast, {.slots = 2}), StartsWith("exchange.reduce: fast, "));
  EXPECT_THAT(refusal(half, {.slots = 1, .gpu_slots = 1}), StartsWith("actors.min: 2"));
  EXPECT_THAT(refusal(half, {.slots = 2}), StartsWith("engine.precision: bf16, "));
  for (const JobPlan& plan : {nccl, fast, half}) EXPECT_EQ(refusal(plan, {.slots = 3, .gpu_slots = 3}), "");
}

TEST(CheckFit, RefusesNcclWhereActorsLackItsLibrary) {
  JobPlan job = plan_of(2);
  EXPECT_EQ(refusal(job, {.slots = 2, .gpu_slots = 2, .nccl = false}), "");
  job.precision = "f16";
  EXPECT_EQ(refusal(job, {.slots = 2, .gpu_slots = 2, .nccl = false}), "");
  job.insists_on_nccl = true;
  const std::string why = refusal(job, {.slots = 2, .gpu_slots = 2, .nccl = false});
  EXPECT_THAT(why, StartsWith("exchange.path: nccl, "));
  EXPECT_THAT(why, HasSubstr("libseng_nccl.so beside seng-actor"));
  EXPECT_THAT(why, HasSubstr("set exchange.path to auto"));
  EXPECT_THAT(why, Not(HasSubstr("--device")));
}

}  // namespace
}  // namespace seng::job_plan_test
