#include "cli/value_output.h"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/record_values.h"
#include "tests/cli/fake_daemon.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

TEST(ValueOutput, JsonKeepsOrderAndSurvivesAnyBytes) {
  EXPECT_EQ(json_text({{"b", 1}, {"a", Json::array()}}), "{\n  \"b\": 1,\n  \"a\": []\n}\n");
  const auto parsed =
      Json::parse(json_text({{"text", "\xff\xfe\033"}, {"number", std::nan("")}}), nullptr, false);
  ASSERT_TRUE(parsed.is_object());
  EXPECT_TRUE(parsed["number"].is_null());
}

TEST(ValueOutput, YamlNests) {
  const Json value = {
      {"name", "lenet"},         {"path", "/a/b"},
      {"empty", Json::object()}, {"none", nullptr},
      {"list", {1, 2.5, "x y"}}, {"jobs", {{{"id", 1}, {"tags", {"aa", "bb"}}}, {{"id", 2}}}}};
  EXPECT_EQ(yaml_text(value),
            "name: lenet\npath: /a/b\nempty: {}\nnone: null\nlist:\n  - 1\n  - 2.5\n  - \"x y\"\njobs:\n"
            "  - id: 1\n    tags:\n      - aa\n      - bb\n  - id: 2\n");
}

TEST(ValueOutput, YamlQuotesWhatWouldReadAsSomethingElse) {
  for (const char* text :
       {"", "true", "No", "null", "1", "1.5", "1e3", "0x1", "~", "a: b", "- a", "a #b", "\n", "nan", "*a"}) {
    const std::string yaml = yaml_text({{"key", text}});
    EXPECT_EQ(yaml.substr(0, 6), "key: \"") << yaml;
    EXPECT_EQ(spec_value(yaml)["key"], text);
  }
}

TEST(ValueOutput, TheSameTreeComesBackFromYamlAndJson) {
  const Json job = job_value(testing::ended_job(JobState::kSucceeded));
  EXPECT_EQ(Json::parse(json_text(job)), job);
  const Json from_yaml = spec_value(yaml_text(job));
  for (const auto& [key, value] : job.items()) {
    if (key == "group_epoch" || key == "train_loss") continue;
    EXPECT_EQ(from_yaml[key], value) << key;
  }
}

TEST(RecordValues, WhatIsNotKnownIsNull) {
  JobRecord job;
  job.id = 1;
  const Json value = job_value(job);
  for (const char* field :
       {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "started_at", "ended_at"}) {
    EXPECT_TRUE(value[field].is_null()) << field;
  }
  EXPECT_EQ(value["state"], "queued");
  EXPECT_EQ(value["checkpoint"], "");
}

TEST(RecordValues, ALossThatIsNotFiniteIsToldFromOneThatIsNotKnown) {
  JobRecord job = testing::running_job();
  EXPECT_EQ(job_value(job)["diverged"], false);
  job.train_loss = NAN;
  EXPECT_EQ(job_value(job)["diverged"], true);
  EXPECT_EQ(Json::parse(json_text(job_value(job)))["train_loss"], nullptr);
  job.train_accuracy = -1;  // resumed: no step is known yet
  EXPECT_EQ(job_value(job)["diverged"], false);
  EXPECT_TRUE(job_value(job)["train_loss"].is_null());
  EXPECT_TRUE(job_value(job)["train_accuracy"].is_null());
}

TEST(RecordValues, SpecificationsBecomeTrees) {
  const Json spec = spec_value("a: {b: 0.5, c: [1, x], d: true, e: \"7\"}\n");
  EXPECT_EQ(spec, (Json{{"a", {{"b", 0.5}, {"c", {1, "x"}}, {"d", true}, {"e", "7"}}}}));
  EXPECT_EQ(spec_value("not: [yaml"), "not: [yaml");
  EXPECT_TRUE(parsed_value("{").is_null());
}

}  // namespace
}  // namespace seng
