#include <fmt/format.h>

#include "actors/checkpoint/checkpoint.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kDigest(64, 'a');

Manifest sample() {
  Manifest manifest;
  manifest.spec_yaml = "name: \"x\"\nseed: 1\n";
  manifest.step = 200;
  manifest.sample_position = 51200;
  manifest.weights_sha256 = std::string(64, '1');
  manifest.state_sha256 = std::string(64, '2');
  manifest.files = {{"model.safetensors", 123, std::string(64, '3')}, {"optimizer.safetensors", 0, kDigest}};
  return manifest;
}

// `from` in the sample's JSON becomes `to`; the parser must refuse it and say `what`.
void expect_refused(const std::string& from, const std::string& to, const std::string& what,
                    ErrorCode code = ErrorCode::kCorrupt) {
  SCOPED_TRACE(from + " -> " + to);
  std::string json = to_json(sample());
  const std::size_t at = json.find(from);
  ASSERT_NE(at, json.npos);
  json.replace(at, from.size(), to);
  const auto manifest = parse_manifest(json, "dir/manifest.json");
  ASSERT_FALSE(manifest) << "accepted: " << json;
  EXPECT_EQ(manifest.error().code, code);
  EXPECT_THAT(manifest.error().message, AllOf(HasSubstr("dir/manifest.json"), HasSubstr(what)));
}

TEST(ManifestTest, IsTheJsonThatItsPageSpecifies) {
  Manifest manifest = sample();
  manifest.files.resize(1);
  EXPECT_EQ(to_json(manifest), R"({
  "format": 1,
  "step": 200,
  "sample_position": 51200,
  "weights_sha256": ")" + std::string(64, '1') +
                                   R"(",
  "state_sha256": ")" + std::string(64, '2') +
                                   R"(",
  "spec": "name: \"x\"\nseed: 1\n",
  "files": [
    {
      "name": "model.safetensors",
      "bytes": 123,
      "sha256": ")" + std::string(64, '3') +
                                   R"("
    }
  ]
}
)");
}

TEST(ManifestTest, TheLossScaleMayBeMissing) {
  EXPECT_FALSE(parse_manifest(to_json(sample()), "m")->loss_scale);
  Manifest manifest = sample();
  manifest.loss_scale = {512, 17};
  const std::string json = to_json(manifest);
  const auto read = parse_manifest(json, "m");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_TRUE(read->loss_scale);
  EXPECT_EQ(read->loss_scale->scale, 512);
  EXPECT_EQ(read->loss_scale->good_steps, 17u);
  for (const char* scale : {"\"scale\": 511.0", "\"scale\": 0.5", "\"scale\": -2.0"}) {
    std::string wrong = json;
    const auto at = wrong.find("\"scale\": 512.0");
    ASSERT_NE(at, std::string::npos) << json;
    wrong.replace(at, 14, scale);
    const auto refused = parse_manifest(wrong, "m");
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("loss_scale: expected a scale that is a power of two"));
  }
}

TEST(ManifestTest, WhatTheDampingAdaptsByMayBeMissing) {
  EXPECT_FALSE(parse_manifest(to_json(sample()), "m")->damping);
  Manifest manifest = sample();
  manifest.damping = {0.1 + 0.2, -1e-7 / 3, 2};
  const std::string json = to_json(manifest);
  const auto read = parse_manifest(json, "m");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_TRUE(read->damping);
  EXPECT_EQ(read->damping->lambda, 0.1 + 0.2) << "to the last bit";
  EXPECT_EQ(read->damping->predicted, -1e-7 / 3);
  EXPECT_EQ(read->damping->loss, 2);
  for (const auto& [from, to, what] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"\"lambda\": 0.3", "\"lambda\": \"\", \"a\": 0.3", "damping: unknown field"},
           {"\"predicted\"", "\"promised\"", "damping: unknown field"},
           {"\"loss\": 2.0", "\"loss\": null", "damping: loss"}}) {
    std::string wrong = json;
    ASSERT_NE(wrong.find(from), wrong.npos) << from << json;
    wrong.replace(wrong.find(from), from.size(), to);
    const auto refused = parse_manifest(wrong, "m");
    ASSERT_FALSE(refused) << wrong;
    EXPECT_THAT(refused.error().message, HasSubstr(what));
  }
}

TEST(ManifestTest, TheEpochSoFarMayBeMissing) {
  EXPECT_EQ(parse_manifest(to_json(sample()), "m")->epoch_so_far.steps, 0u);
  Manifest manifest = sample();
  manifest.epoch_so_far = {7, 0.1 + 0.2, 1.0 / 3};
  const std::string json = to_json(manifest);
  const auto read = parse_manifest(json, "m");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->epoch_so_far.steps, 7u);
  EXPECT_EQ(read->epoch_so_far.loss, 0.1 + 0.2) << "to the last bit";
  EXPECT_EQ(read->epoch_so_far.accuracy, 1.0 / 3);
  for (const auto& [from, to, what] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"\"steps\": 7", "\"steps\": -7", "epoch_so_far: steps"},
           {"\"loss\": ", "\"loss\": \"\", \"los\": ", "epoch_so_far: unknown field"},
           {"\"accuracy\": 0.3", "\"accuracy\": null, \"a\": 0.3", "epoch_so_far: unknown field"},
           {"\"loss\": 0.3", "\"loss\": 1e999, \"a\": 0.3", ""}}) {
    std::string wrong = json;
    ASSERT_NE(wrong.find(from), wrong.npos) << from;
    wrong.replace(wrong.find(from), from.size(), to);
    const auto refused = parse_manifest(wrong, "m");
    ASSERT_FALSE(refused) << wrong;
    EXPECT_THAT(refused.error().message, HasSubstr(what));
  }
}

TEST(ManifestTest, WhatIsWrittenIsRead) {
  const auto manifest = parse_manifest(to_json(sample()), "m");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->format, 1);
  EXPECT_EQ(manifest->spec_yaml, sample().spec_yaml);
  EXPECT_EQ(manifest->step, 200u);
  EXPECT_EQ(manifest->sample_position, 51200u);
  EXPECT_EQ(manifest->weights_sha256, std::string(64, '1'));
  EXPECT_EQ(manifest->state_sha256, std::string(64, '2'));
  ASSERT_EQ(manifest->files.size(), 2u);
  EXPECT_EQ(manifest->files[0].name, "model.safetensors");
  EXPECT_EQ(manifest->files[0].bytes, 123u);
  EXPECT_EQ(manifest->files[1].sha256, kDigest);
}

TEST(ManifestTest, RefusesWhatIsMissingUnknownOrRepeated) {
  for (const char* name : {"step", "sample_position", "weights_sha256", "state_sha256", "spec", "files",
                           "bytes", "sha256", "name"}) {
    expect_refused(fmt::format("\"{}\":", name), "\"other\":", "unknown field \"other\"");
  }
  expect_refused("\"format\": 1,", "", "format is missing");
  expect_refused("  \"step\": 200,\n", "", "step is missing");
  expect_refused("      \"bytes\": 123,\n", "", "files[0]: bytes is missing");
  expect_refused("\"step\": 200,", "\"step\": 200, \"step\": 200,", "key \"step\" appears twice");
  expect_refused("optimizer.safetensors", "model.safetensors", "found \"model.safetensors\" twice");
}

TEST(ManifestTest, RefusesValuesOfAnotherForm) {
  expect_refused("\"format\": 1", "\"format\": 2", "format 2", ErrorCode::kUnsupported);
  for (const char* value : {"-1", "1.5", "\"200\"", "null", "18446744073709551616", "true"}) {
    expect_refused("\"step\": 200", std::string("\"step\": ") + value, "step: expected a whole number");
    expect_refused("\"bytes\": 123", std::string("\"bytes\": ") + value,
                   "files[0]: bytes: expected a whole number");
  }
  for (const std::string& value :
       {std::string(63, '1'), std::string(65, '1'), std::string(64, 'A'), std::string()}) {
    expect_refused(std::string(64, '1'), value, "weights_sha256: expected 64 lower-case hexadecimal digits");
    expect_refused(std::string(64, '3'), value,
                   "files[0]: sha256: expected 64 lower-case hexadecimal digits");
  }
  expect_refused("\"name: \\\"x\\\"\\nseed: 1\\n\"", "5", "spec: expected text");
}

TEST(ManifestTest, RefusesFileNamesThatLeaveTheDirectory) {
  for (const char* name : {"", ".", "..", "../model.safetensors", "/etc/passwd", "a/b", ".hidden",
                           "manifest.json", "a b", "a\\u0000b", "\\u00e9"}) {
    expect_refused("model.safetensors", name, "files[0]: name: expected a file's name without a directory");
  }
  expect_refused("model.safetensors", std::string(256, 'a'), "files[0]: name");
}

TEST(ManifestTest, RefusesWhatIsNoObject) {
  for (const char* text : {"", "[]", "1", "{\"format\": 1", "null", "\xff"}) {
    const auto manifest = parse_manifest(text, "m");
    ASSERT_FALSE(manifest);
    EXPECT_EQ(manifest.error().code, ErrorCode::kCorrupt);
  }
  EXPECT_FALSE(parse_manifest(R"({"format":1,"step":1,"sample_position":1,"weights_sha256":")" + kDigest +
                                  R"(","state_sha256":")" + kDigest + R"(","spec":"","files":{}})",
                              "m"));
}

TEST(ManifestTest, RefusesEveryTruncation) {
  const std::string json = to_json(sample());
  for (std::size_t size = 0; size + 1 < json.size(); ++size) {  // the last byte is a newline
    EXPECT_FALSE(parse_manifest(json.substr(0, size), "m")) << size;
  }
}

}  // namespace
}  // namespace seng
