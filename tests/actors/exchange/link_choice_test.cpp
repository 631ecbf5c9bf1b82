#include "actors/exchange/link_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::HasSubstr;

Member member(ActorId actor, std::uint32_t nccl, const std::string& gpu) {
  return {.actor = actor, .node = "n", .endpoint = "", .state_endpoint = "", .link = {nccl, gpu}};
}

bool over_nccl(const std::string& wanted, const std::vector<Member>& members) {
  const auto choice = choose_path(wanted, "ordered", members);
  return choice && choice->path == BlockPath::kNccl;
}

TEST(LinkChoice, AutoTakesNcclWhereEveryActorHasAGpuOfItsOwn) {
  EXPECT_TRUE(over_nccl("auto", {member(0, 22809, "a"), member(1, 22809, "b")}));
  EXPECT_FALSE(over_nccl("zmq", {member(0, 22809, "a"), member(1, 22809, "b")}));
  EXPECT_FALSE(over_nccl("auto", {member(0, 22809, "a"), member(1, 22809, "a")}));  // shared
  EXPECT_FALSE(over_nccl("auto", {member(0, 22809, "a"), member(1, 0, "")}));       // one on the CPU
  EXPECT_FALSE(over_nccl("auto", {member(0, 22809, "a"), member(1, 22901, "b")}));  // versions
  EXPECT_FALSE(over_nccl("auto", {member(0, 22809, "a")}));
  EXPECT_THAT(choose_path("auto", "ordered", std::vector{member(0, 22809, "a"), member(1, 22809, "b")})->why,
              HasSubstr("NCCL 2.28.9 between the actors' GPUs"));
  EXPECT_THAT(choose_path("auto", "ordered", std::vector{member(3, 22809, "a"), member(5, 22809, "a")})->why,
              HasSubstr("actors 3 and 5 share a GPU"));
}

TEST(LinkChoice, NcclInsists) {
  EXPECT_TRUE(over_nccl("nccl", {member(0, 22809, "a"), member(1, 22809, "a")}));
  EXPECT_FALSE(over_nccl("nccl", {member(0, 0, "")}));  // nobody to exchange with
  EXPECT_TRUE(choose_path("nccl", "ordered", std::vector{member(0, 0, "")}));
  const auto without = choose_path("nccl", "ordered", std::vector{member(0, 22809, "a"), member(4, 0, "")});
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().message, HasSubstr("exchange: nccl: actor 4 on node n has no GPU or no NCCL"));
  const auto versions =
      choose_path("nccl", "ordered", std::vector{member(0, 22809, "a"), member(4, 22102, "b")});
  ASSERT_FALSE(versions);
  EXPECT_THAT(versions.error().message, HasSubstr("actor 0 has NCCL 2.28.9, actor 4 has 2.21.2"));
}

TEST(LinkChoice, FastSumsAreNcclsAndAreSaidNotToBeReproducible) {
  const std::vector<Member> apart = {member(0, 22809, "a"), member(1, 22809, "b")},
                            together = {member(0, 22809, "a"), member(1, 22809, "a")};
  const auto fast = choose_path("nccl", "fast", apart);
  EXPECT_EQ(fast->reduction, Reduction::kFast);
  EXPECT_THAT(fast->why, HasSubstr("not reproducible across group sizes"));
  EXPECT_EQ(choose_path("nccl", "ordered", apart)->reduction, Reduction::kOrdered);
  const auto messages = choose_path("auto", "fast", together);
  EXPECT_EQ(messages->reduction, Reduction::kOrdered);
  EXPECT_THAT(messages->why, HasSubstr("share a GPU; sums are ordered, not fast"));
  EXPECT_EQ(choose_path("nccl", "fast", std::vector{member(0, 22809, "a")})->reduction, Reduction::kOrdered);
}

}  // namespace
}  // namespace seng
