#include "actors/data/dataset.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Options = std::map<std::string, std::string>;

std::string refusal(const std::string& name, const std::string& root, const Options& options) {
  const auto splits = open_dataset(name, root, options);
  if (splits) return "accepted";
  EXPECT_EQ(splits.error().code, ErrorCode::kInvalidArgument);
  return splits.error().message;
}

TEST(RegistryTest, AnUnknownNameIsAnErrorWithTheNearestOne) {
  EXPECT_THAT(
      refusal("fashion_mnst", "auto", {}),
      AllOf(HasSubstr("unknown data set \"fashion_mnst\""), HasSubstr("did you mean \"fashion-mnist\""),
            HasSubstr("cifar10, cifar100, fashion-mnist, imagefolder, mnist, synthetic")));
  EXPECT_THAT(refusal("imagenet", "auto", {}), ::testing::Not(HasSubstr("did you mean")));
}

TEST(RegistryTest, AnUnknownOptionIsAnErrorWithTheNearestOne) {
  EXPECT_THAT(refusal("fashion-mnist", "auto", {{"train_limt", "5"}}),
              AllOf(HasSubstr("data.train_limt"), HasSubstr("did you mean \"train_limit\"")));
  EXPECT_THAT(
      refusal("synthetic", "auto", {{"train_limit", "5"}}),
      AllOf(HasSubstr("unknown option data.train_limit of synthetic"), HasSubstr("channels, height")));
}

TEST(RegistryTest, OptionsMustBeNumbersInTheirRange) {
  for (const char* text : {"", "-1", "1.5", "0x10", "12 ", " 12", "1e3", "99999999999999999999", "many"}) {
    EXPECT_THAT(refusal("synthetic", "auto", {{"train", text}}),
                AllOf(HasSubstr("data.train of synthetic"), HasSubstr("a whole number from 1 to 4294967295"),
                      HasSubstr(std::string("found \"") + text + "\"")));
  }
  EXPECT_THAT(refusal("synthetic", "auto", {{"classes", "1"}}), HasSubstr("from 2"));
  for (const char* text : {"nan", "inf", "-0.5", "1e9", "1,5", ""}) {
    EXPECT_THAT(refusal("synthetic", "auto", {{"noise", text}}),
                HasSubstr("data.noise of synthetic: expected a number"));
  }
  EXPECT_EQ(refusal("synthetic", "auto", {{"noise", "0.5"}, {"train", "12"}}), "accepted");
}

TEST(RegistryTest, AnImageFolderSaysWhatItNeeds) {
  EXPECT_THAT(refusal("imagefolder", "auto", {}), HasSubstr("expected data.root"));
  for (const char* text : {"", "0.5", "0.5,0.5", "0.5, 0.5, 2", "0.5;0.5;0.5", "0.5,0.5,0.5,", "a, b, c"}) {
    EXPECT_THAT(
        refusal("imagefolder", "/x", {{"mean", text}}),
        AllOf(HasSubstr("data.mean of imagefolder: expected 3 numbers from 0 to 1"), HasSubstr(text)));
  }
  EXPECT_THAT(refusal("imagefolder", "/x", {{"channels", "2"}}), HasSubstr("expected 1 or 3"));
  EXPECT_THAT(refusal("imagefolder", "/x", {{"broken", "ignore"}}), HasSubstr("expected one of fail, skip"));
  EXPECT_THAT(refusal("imagefolder", "/x", {{"cache", "here"}}), HasSubstr("absolute directory"));
  EXPECT_THAT(refusal("imagefolder", "/x", {{"resize", "100"}}), HasSubstr("data.resize is 100, less than"));
  EXPECT_THAT(refusal("imagefolder", "/x", {{"deviation", "0, 1, 1"}}), HasSubstr("data.deviation"));
}

TEST(RegistryTest, ASyntheticSetTakesNoRootAndBoundsItsTemplates) {
  EXPECT_THAT(refusal("synthetic", "/somewhere", {}), HasSubstr("data.root"));
  EXPECT_THAT(refusal("synthetic", "auto",
                      {{"classes", "100000"}, {"height", "4096"}, {"width", "4096"}, {"channels", "1024"}}),
              HasSubstr("bytes of templates"));
}

}  // namespace
}  // namespace seng
