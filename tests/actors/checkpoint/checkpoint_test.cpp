#include "actors/checkpoint/checkpoint.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "actors/checkpoint/safetensors.h"
#include "tests/actors/checkpoint/small_network.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng::checkpoint_test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

int mode_of(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int>(info.st_mode & 0777) : -1;
}

class CheckpointTest : public ::testing::Test {
 protected:
  std::string write(std::uint64_t step, std::uint32_t keep = 2, unsigned seed = 1) {
    auto path = write_state(directory_, blocks_, random_state(blocks_, step, seed), keep);
    EXPECT_TRUE(path) << path.error().message;
    return path.value_or("");
  }
  // Rewrites the manifest's entry of a file that was changed, so that only the content can give it away.
  static void fix_manifest(const std::string& checkpoint, const std::string& name) {
    const std::string bytes = get_file(checkpoint + "/" + name);
    auto manifest = nlohmann::json::parse(get_file(checkpoint + "/manifest.json"));
    for (auto& file : manifest["files"]) {
      if (file["name"] != name) continue;
      file["bytes"] = bytes.size();
      file["sha256"] = to_hex(sha256(bytes.data(), bytes.size()));
    }
    put_file(checkpoint + "/manifest.json", manifest.dump());
  }
  void expect_corrupt(const std::string& checkpoint, const std::string& file, const std::string& what) {
    const auto content = read_checkpoint(checkpoint, blocks_);
    ASSERT_FALSE(content) << "accepted; expected: " << what;
    EXPECT_EQ(content.error().code, ErrorCode::kCorrupt) << content.error().message;
    EXPECT_THAT(content.error().message, AllOf(HasSubstr(checkpoint + "/" + file), HasSubstr(what)));
  }

  ScratchDirectory scratch_;
  std::string directory_ = scratch_ / "jobs/1/checkpoints";
  std::vector<Block> blocks_ = small_network();
};

TEST_F(CheckpointTest, WhatIsWrittenIsRead) {
  const SmallState state = random_state(blocks_, 200, std::random_device{}());
  const auto path = write_state(directory_, blocks_, state, 2);
  ASSERT_TRUE(path) << path.error().message;
  EXPECT_EQ(*path, directory_ + "/step-00000200");
  EXPECT_THAT(names_in(*path), ElementsAre("curvature-0.safetensors", "curvature-1.safetensors",
                                           "manifest.json", "model.safetensors", "optimizer.safetensors"));
  const auto content = read_checkpoint(*path, blocks_);
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(difference(*content, state), "");
  EXPECT_EQ(content->manifest.spec_yaml, "name: small\n");
  EXPECT_EQ(content->manifest.sample_position, 200u * 64);
}

TEST_F(CheckpointTest, IsForItsOwnerAlone) {
  const std::string path = write(1);
  EXPECT_EQ(mode_of(scratch_ / "jobs"), 0700);
  EXPECT_EQ(mode_of(directory_), 0700);
  EXPECT_EQ(mode_of(path), 0700);
  for (const std::string& name : names_in(path)) EXPECT_EQ(mode_of(path + "/" + name), 0600) << name;
}

TEST_F(CheckpointTest, TheModelHasPyTorchsNamesAndShapes) {
  const auto file = SafetensorsFile::open(write(200) + "/model.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const TensorInfo& tensor : file->tensors()) shapes[tensor.name] = tensor.shape;
  EXPECT_EQ(shapes, (std::map<std::string, std::vector<std::int64_t>>{{"conv1.weight", {2, 1, 3, 3}},
                                                                      {"conv1.bias", {2}},
                                                                      {"bn1.weight", {2}},
                                                                      {"bn1.bias", {2}},
                                                                      {"bn1.running_mean", {2}},
                                                                      {"bn1.running_var", {2}},
                                                                      {"bn1.num_batches_tracked", {}},
                                                                      {"fc.weight", {3, 4}},
                                                                      {"fc.bias", {3}}}));
  EXPECT_EQ(file->metadata(), (Metadata{{"format", "pt"}}));
  std::int64_t batches = 0;
  ASSERT_TRUE(file->read(*file->find("bn1.num_batches_tracked"), std::span(&batches, 1)));
  EXPECT_EQ(batches, 200);
}

TEST_F(CheckpointTest, WorksWithoutCurvatureAndWithoutBatchNorm) {
  blocks_.erase(blocks_.begin() + 1);
  blocks_[1].offset = 20;
  blocks_[1].parameters[0].offset = 20;
  blocks_[1].parameters[1].offset = 32;
  SmallState state = random_state(blocks_, 3, 1);
  state.curvature.clear();
  const auto path = write_state(directory_, blocks_, state, 2);
  ASSERT_TRUE(path) << path.error().message;
  const auto content = read_checkpoint(*path, blocks_);
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(difference(*content, state), "");
}

TEST_F(CheckpointTest, KeepsTheNewestAndListsThemNewestFirst) {
  for (const std::uint64_t step : {100, 200, 300, 400, 500}) write(step, 3);
  fs::create_directories(directory_ + "/notes");
  fs::create_directories(directory_ + "/step-00000900");  // no manifest
  EXPECT_THAT(*list_checkpoints(directory_),
              ElementsAre(directory_ + "/step-00000500", directory_ + "/step-00000400",
                          directory_ + "/step-00000300"));
  write(600, 1);
  EXPECT_THAT(names_in(directory_), ElementsAre("notes", "step-00000600", "step-00000900"));
  EXPECT_THAT(*list_checkpoints(scratch_ / "nowhere"), IsEmpty());
  fs::create_symlink("loop", scratch_ / "loop");
  EXPECT_EQ(list_checkpoints(scratch_ / "loop").error().code, ErrorCode::kIo);
}

TEST_F(CheckpointTest, AStepThatIsDoneAgainReplacesItsCheckpoint) {
  write(100, 2, 1);
  put_file(directory_ + "/step-00000100/model.safetensors", "damaged");
  const std::string path = write(100, 2, 7);
  const auto content = read_checkpoint(path, blocks_);
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(difference(*content, random_state(blocks_, 100, 7)), "");
  EXPECT_THAT(names_in(directory_), ElementsAre("step-00000100"));
}

TEST_F(CheckpointTest, WhatAGroupThatDiedLeftInStagingStaysOut) {
  const auto staging = open_staging(directory_, 100);
  ASSERT_TRUE(staging);
  put_file(*staging + "/curvature-9.safetensors", "left over");
  fs::create_directory(*staging + "/more");
  ASSERT_TRUE(open_staging(directory_, 50));
  ASSERT_TRUE(open_staging(directory_, 150));
  EXPECT_THAT(*list_checkpoints(directory_), IsEmpty());
  const std::string path = write(100);
  EXPECT_THAT(names_in(path), ElementsAre("curvature-0.safetensors", "curvature-1.safetensors",
                                          "manifest.json", "model.safetensors", "optimizer.safetensors"));
  EXPECT_THAT(names_in(directory_), ElementsAre(".step-00000150.staging", "step-00000100"));
  discard_staging(directory_ + "/.step-00000150.staging");
  EXPECT_THAT(names_in(directory_), ElementsAre("step-00000100"));
}

TEST_F(CheckpointTest, ACommitChecksThatTheAnnouncedFilesAreThere) {
  const auto staging = open_staging(directory_, 5);
  ASSERT_TRUE(staging);
  put_file(*staging + "/model.safetensors", "12345");
  Manifest manifest;
  manifest.step = 5;
  manifest.weights_sha256 = manifest.state_sha256 = std::string(64, '0');
  manifest.files = {{"model.safetensors", 6, std::string(64, '0')}};
  auto committed = commit_checkpoint(directory_, *staging, manifest, 1);
  ASSERT_FALSE(committed);
  EXPECT_THAT(committed.error().message, HasSubstr("model.safetensors has 5 bytes, its writer announced 6"));
  EXPECT_THAT(names_in(directory_), IsEmpty());

  ASSERT_TRUE(open_staging(directory_, 5));
  committed = commit_checkpoint(directory_, *staging, manifest, 1);
  ASSERT_FALSE(committed);
  EXPECT_THAT(committed.error().message, HasSubstr("cannot find"));
}

TEST_F(CheckpointTest, EveryTruncationIsFound) {
  const std::string path = write(100);
  for (const std::string& name : names_in(path)) {
    const std::string bytes = get_file(path + "/" + name);
    for (std::size_t size = 0; size + 1 < bytes.size(); ++size) {  // the manifest ends with a newline
      put_file(path + "/" + name, bytes.substr(0, size));
      EXPECT_FALSE(read_checkpoint(path, blocks_)) << name << " of " << size << " bytes";
    }
    put_file(path + "/" + name, bytes);
    ASSERT_TRUE(read_checkpoint(path, blocks_));
  }
}

TEST_F(CheckpointTest, EveryChangedByteOfATensorFileIsFoundByItsHash) {
  const std::string path = write(100);
  for (const std::string& name : names_in(path)) {
    if (name == "manifest.json") continue;
    const std::string bytes = get_file(path + "/" + name);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
      put_file(path + "/" + name, changed);
      expect_corrupt(path, name, "expected SHA-256");
    }
    put_file(path + "/" + name, bytes);
  }
}

TEST_F(CheckpointTest, AMissingFileIsNamed) {
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "curvature-1.safetensors"}) {
    const std::string path = write(100);
    fs::remove(path + "/" + name);
    expect_corrupt(path, name, "damaged: the manifest names this file");
  }
  const std::string path = write(100);
  fs::remove(path + "/manifest.json");
  const auto content = read_checkpoint(path, blocks_);
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(content.error().message, HasSubstr("manifest.json"));
}

TEST_F(CheckpointTest, AManifestWithoutTheModelIsRefused) {
  const std::string path = write(100);
  auto manifest = nlohmann::json::parse(get_file(path + "/manifest.json"));
  manifest["files"].erase(0);
  put_file(path + "/manifest.json", manifest.dump());
  expect_corrupt(path, "manifest.json", "files: model.safetensors is missing");
}

TEST_F(CheckpointTest, AnotherNetworksCheckpointIsRefused) {
  const std::string path = write(100);
  auto other = blocks_;
  blocks_[2].parameters[0].shape = {4, 3};
  expect_corrupt(path, "model.safetensors", "tensor \"fc.weight\": expected F32 [4, 3], found F32 [3, 4]");
  blocks_ = other;
  blocks_[2].parameters[0].name = "fc2.weight";
  expect_corrupt(path, "model.safetensors", "tensor \"fc2.weight\" is missing");
  blocks_ = other;
  blocks_.pop_back();
  expect_corrupt(path, "model.safetensors", "is not of this network");
  blocks_ = other;
  blocks_[1].kind = BlockKind::kLinear;
  expect_corrupt(path, "model.safetensors", "\"bn1.num_batches_tracked\" is not of this network");
}

TEST_F(CheckpointTest, NumbersThatContradictTheManifestAreRefused) {
  std::string path = write(100);
  std::string text = get_file(path + "/manifest.json");
  text.replace(text.find("\"step\": 100"), 11, "\"step\": 101");
  put_file(path + "/manifest.json", text);
  expect_corrupt(path, "model.safetensors", "\"bn1.num_batches_tracked\" is 100; the manifest's step is 101");

  path = write(100);
  auto manifest = nlohmann::json::parse(get_file(path + "/manifest.json"));
  manifest["weights_sha256"] = std::string(64, '0');
  put_file(path + "/manifest.json", manifest.dump());
  expect_corrupt(path, "manifest.json", "weights_sha256: expected");
}

class CurvatureFileTest : public CheckpointTest {
 protected:
  // Replaces curvature-0.safetensors (which holds block 0) by these tensors.
  std::string with_curvature(const std::vector<TensorView>& tensors, const Metadata& metadata) {
    const std::string path = write(100);
    EXPECT_TRUE(write_safetensors(posix_storage(), path + "/curvature-0.safetensors", tensors, metadata));
    fix_manifest(path, "curvature-0.safetensors");
    return path;
  }
  const std::string name_ = "curvature-0.safetensors";
  const std::vector<float> values_ = {1, 2, 3};
  const std::vector<TensorView> tensors_ = {{"conv1.curvature", TensorType::kF32, {3}, values_.data()}};
};

TEST_F(CurvatureFileTest, ItsMetadataMustBeNumbersInRange) {
  ASSERT_TRUE(
      read_checkpoint(with_curvature(tensors_, {{"conv1.step", "100"}, {"conv1.lambda", "0.5"}}), blocks_));
  expect_corrupt(with_curvature(tensors_, {{"conv1.lambda", "0.5"}}), name_, "\"conv1.step\" is missing");
  expect_corrupt(with_curvature(tensors_, {{"conv1.step", "1"}}), name_, "\"conv1.lambda\" is missing");
  for (const char* bad : {"", "x", "1x", "-1", "1.5", " 1", "18446744073709551616"}) {
    expect_corrupt(with_curvature(tensors_, {{"conv1.step", bad}, {"conv1.lambda", "1"}}), name_,
                   "\"conv1.step\": expected a number");
  }
  for (const char* bad : {"0", "-1", "nan", "inf"}) {
    expect_corrupt(with_curvature(tensors_, {{"conv1.step", "1"}, {"conv1.lambda", bad}}), name_,
                   "a damping above 0");
  }
  expect_corrupt(with_curvature(tensors_, {{"conv1.step", "101"}, {"conv1.lambda", "1"}}), name_,
                 "expected at most step 100");
}

TEST_F(CurvatureFileTest, ItsTensorsMustBeBlocksOfTheNetworkOnce) {
  const Metadata metadata = {
      {"conv1.step", "1"}, {"conv1.lambda", "1"}, {"fc.step", "1"}, {"fc.lambda", "1"}};
  const std::int64_t number = 1;
  expect_corrupt(with_curvature({{"conv9.curvature", TensorType::kF32, {3}, values_.data()}}, metadata),
                 name_, "\"conv9.curvature\" is not the curvature of a block");
  expect_corrupt(with_curvature({{"conv1.curvature", TensorType::kF32, {3, 1}, values_.data()}}, metadata),
                 name_, "is not the curvature of a block");
  expect_corrupt(with_curvature({{"conv1.curvature", TensorType::kI64, {1}, &number}}, metadata), name_,
                 "is not the curvature of a block");
  expect_corrupt(with_curvature({{"fc.curvature", TensorType::kF32, {3}, values_.data()}}, metadata),
                 "curvature-1.safetensors", "\"fc.curvature\" is in another file");
}

}  // namespace
}  // namespace seng::checkpoint_test
