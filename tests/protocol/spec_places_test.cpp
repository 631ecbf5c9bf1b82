#include "protocol/spec/spec_places.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

const std::string kText =
    "name: x\n"
    "model:\n"
    "  name: resnet18\n"
    "  width: 0\n"
    "data: {name: cifar10,\n"
    "       root: /nowhere}\n"
    "optimizer: sgd\n";

std::string place(std::string_view path, const std::vector<std::string>& overrides = {}) {
  return place_of(path, kText, "job.yaml", overrides);
}

TEST(SpecPlaces, AreThoseOfTheKey) {
  EXPECT_EQ(place("name"), "job.yaml:1:1");
  EXPECT_EQ(place("model.width"), "job.yaml:4:3");
  EXPECT_EQ(place("data.root"), "job.yaml:6:8");
}

TEST(SpecPlaces, AreTheGroupsWhereTheTextLacksTheKey) {
  EXPECT_EQ(place("model.stem"), "job.yaml:2:1");
  EXPECT_EQ(place("optimizer.curvature.rank"), "job.yaml:7:1");
  EXPECT_EQ(place("engine.choices"), "job.yaml");
  EXPECT_EQ(place(""), "job.yaml");
}

TEST(SpecPlaces, AreTheOverridesWhereTheySetIt) {
  EXPECT_EQ(place("model.width", {"model.width=7", "seed=3"}), "--set model.width=7");
  EXPECT_EQ(place("data.root", {"model.width=7"}), "job.yaml:6:8");
  EXPECT_EQ(place("engine.precision", {"engine.precision=f32"}), "--set engine.precision=f32");
}

TEST(SpecPlaces, StandBeforeMessagesThatBeginWithAKey) {
  const auto placed = [](const std::string& message) { return with_place(message, kText, "job.yaml", {}); };
  EXPECT_EQ(placed("model.width: too small"), "job.yaml:4:3: model.width: too small");
  EXPECT_EQ(placed("data: no such folder: /nowhere"), "job.yaml:5:1: data: no such folder: /nowhere");
  EXPECT_EQ(placed("data: unknown option data.root of x"),
            "job.yaml:6:8: data: unknown option data.root of x");
  EXPECT_EQ(placed("data: see data."), "job.yaml:5:1: data: see data.");
  EXPECT_EQ(placed("It cannot be: it is too large"), "job.yaml: It cannot be: it is too large");
  EXPECT_EQ(placed("no colon"), "job.yaml: no colon");
  EXPECT_EQ(placed(": nothing"), "job.yaml: : nothing");
  EXPECT_EQ(with_place("model: wrong", "{not: [yaml", "job.yaml", {"=", "a..b=1"}), "job.yaml: model: wrong");
}

TEST(SpecPlaces, OfAGroupAsAWholeAreWhereItsChoiceWasSet) {
  const auto placed = [](const std::string& message, const std::vector<std::string>& overrides) {
    return with_place(message, kText, "job.yaml", overrides);
  };
  const std::string lost = "data: not found; looked in:\n    /x\n  name its directory as data.root";
  EXPECT_EQ(placed(lost, {"data.root=/x", "data.workers=2"}), "--set data.root=/x: " + lost);
  EXPECT_EQ(placed(lost, {"data.name=mnist"}), "--set data.name=mnist: " + lost);
  EXPECT_EQ(placed(lost, {"data.name=mnist", "data.root=/x"}), "--set data.root=/x: " + lost);
  EXPECT_EQ(placed(lost, {"data=mnist"}), "--set data=mnist: " + lost);
  EXPECT_EQ(placed(lost, {"data.workers=2"}), "job.yaml:5:1: " + lost) << "its last line is a hint";
  EXPECT_EQ(placed("data: data.workers is 2", {"data.root=/x"}), "job.yaml:5:1: data: data.workers is 2");
  EXPECT_EQ(placed("model: too deep", {"model.name=vgg"}), "--set model.name=vgg: model: too deep");
  EXPECT_EQ(placed("model.width: too small", {"model.name=vgg"}), "job.yaml:4:3: model.width: too small");
}

TEST(SpecPlaces, StandOnce) {
  const auto placed = [](const std::string& message) { return with_place(message, kText, "job.yaml", {}); };
  EXPECT_EQ(placed("job.yaml:9:9: model.width: 0 is small"), "job.yaml:4:3: model.width: 0 is small");
  EXPECT_EQ(placed("job.yaml: empty"), "job.yaml: empty");
  EXPECT_EQ(placed("job.yaml:9:9 is odd"), "job.yaml: job.yaml:9:9 is odd");
  EXPECT_EQ(placed("job.yaml"), "job.yaml: job.yaml");
}

}  // namespace
}  // namespace seng
