// The files in the hands of somebody who has only Python and the format's description.
#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "tests/actors/checkpoint/small_network.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output output;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return output;
  char buffer[4096];
  for (std::size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.text.append(buffer, got);
  output.status = pclose(pipe);
  return output;
}

TEST(PythonTest, ReadsTheModelWithItsStandardLibrary) {
  if (run("python3 -c 'import json, struct, array'").status != 0) GTEST_SKIP() << "there is no python3";
  const ScratchDirectory scratch;
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 200, std::random_device{}());
  const auto path = write_state(scratch.path(), blocks, state, 1);
  ASSERT_TRUE(path) << path.error().message;

  const std::string script = std::string(SENG_SOURCE_DIR) + "/scripts/load_checkpoint.py";
  const Output output = run("python3 '" + script + "' --json '" + *path + "'");
  ASSERT_EQ(output.status, 0) << output.text;
  const auto tensors = nlohmann::json::parse(output.text)["tensors"];
  EXPECT_EQ(tensors.size(), 9u);
  for (const Block& block : blocks) {
    for (const BlockTensor& tensor : block.parameters) {
      const auto& got = tensors[tensor.name];
      EXPECT_EQ(got["dtype"], "F32");
      EXPECT_EQ(got["shape"], tensor.shape);
      const std::vector<float> expected(
          state.parameters.begin() + static_cast<std::ptrdiff_t>(tensor.offset),
          state.parameters.begin() + static_cast<std::ptrdiff_t>(tensor.offset + tensor.count));
      EXPECT_EQ(got["values"].get<std::vector<float>>(), expected) << tensor.name;
    }
  }
  const std::vector<float> mean(state.statistics.begin(), state.statistics.begin() + 2);
  EXPECT_EQ(tensors["bn1.running_mean"]["values"].get<std::vector<float>>(), mean);
  EXPECT_EQ(tensors["bn1.num_batches_tracked"]["dtype"], "I64");
  EXPECT_EQ(tensors["bn1.num_batches_tracked"]["shape"], nlohmann::json::array());
  EXPECT_EQ(tensors["bn1.num_batches_tracked"]["values"], nlohmann::json::array({200}));

  const Output list = run("python3 '" + script + "' '" + *path + "/optimizer.safetensors'");
  EXPECT_EQ(list.status, 0);
  EXPECT_THAT(list.text, HasSubstr("fc.weight"));
  const Output other = run("python3 '" + script + "' '" + *path + "/manifest.json'");
  EXPECT_NE(other.status, 0);
  const Output text = run("python3 '" + script + "' '" + script + "'");
  EXPECT_NE(text.status, 0);
  EXPECT_THAT(text.text, AllOf(HasSubstr("not a safetensors file"), Not(HasSubstr("Traceback"))));
  EXPECT_EQ(run("(python3 '" + script + "' --json '" + *path + "' | true)").text, "");  // nobody reads
  // Cut off more and more: in the data, in the header, in the length of the header.
  const auto whole = std::filesystem::file_size(*path + "/model.safetensors");
  for (const std::uintmax_t bytes :
       {whole - 3, whole / 2, std::uintmax_t{100}, std::uintmax_t{5}, std::uintmax_t{0}}) {
    std::filesystem::resize_file(*path + "/model.safetensors", bytes);
    const Output cut = run("python3 '" + script + "' '" + *path + "'");
    EXPECT_NE(cut.status, 0) << bytes;
    EXPECT_THAT(cut.text,
                AllOf(HasSubstr("model.safetensors: "), HasSubstr("cut off"), Not(HasSubstr("Traceback"))));
  }
}

}  // namespace
}  // namespace seng
