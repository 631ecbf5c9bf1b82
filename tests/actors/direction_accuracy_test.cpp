// The program that measures how far approximate directions are from the exact one, on a small network with
// every kind of block.
#include <gtest/gtest.h>

#include "tests/support/process.h"

namespace seng::testing::direction_accuracy_test {
namespace {

constexpr const char* kJob = R"(name: accuracy
model:
  layers:
    - {name: conv, type: conv2d, channels: 6, kernel: 3, padding: 1, bias: false}
    - {name: bn, type: batch_norm}
    - {name: relu, type: relu}
    - {name: flatten, type: flatten}
    - {name: fc, type: linear, features: 5}
data: {name: synthetic, train: 64, test: 8, channels: 2, height: 6, width: 6, classes: 5}
batch: {global: 32, micro: 32}
steps: 1
optimizer: {name: seng, lr: 0.1, damping: 0.2, curvature: {samples: 32}}
evaluate: {every_epochs: 0}
)";

// variant,parameter,seed -> the whole step's |d - d*| / |d*|.
std::map<std::string, double> errors_of_steps(const std::string& csv) {
  std::map<std::string, double> errors;
  std::istringstream lines(csv);
  for (std::string line; std::getline(lines, line);) {
    const std::string separator = ",all,";
    if (const auto at = line.find(separator); at != std::string::npos)
      errors[line.substr(0, at)] = std::stod(line.substr(at + separator.size()));
  }
  return errors;
}

TEST(DirectionAccuracy, TellsApproximationsFromTheExactDirection) {
  const TempDir dir;
  const std::string job = dir.path() + "/job.yaml";
  std::ofstream(job) << kJob;
  const RunResult result = run({SENG_BIN_DIR "/direction_accuracy_bench", job});
  ASSERT_EQ(result.exit_code, 0) << "signal " << result.signal << ": " << result.err;
  const std::map<std::string, double> errors = errors_of_steps(result.out);
  EXPECT_EQ(errors.at("\"exact\",0,0"), 0);
  EXPECT_LT(errors.at("\"rank svd\",32,0"), 1e-4);  // the whole rank
  EXPECT_GT(errors.at("\"rank svd\",1,0"), 1e-2);
  EXPECT_LT(errors.at("\"rank svd\",1,0"), errors.at("\"no curvature\",0,0"));
  // More rows than there are leave nothing out, so the rank alone is what is missing.
  const double rank = errors.at("\"rank subspace\",3,0");
  EXPECT_GT(rank, 1e-3);
  EXPECT_NEAR(errors.at("\"ours: exact product, rows 4096, rank\",3,0"), rank, 1e-3 * rank);
  EXPECT_GT(errors.at("\"authors' product, rows 4096, rank\",3,0"), rank);
  for (const char* block : {"conv", "bn", "fc"})
    EXPECT_NE(result.out.find(std::string("\"kfac\",0,0,") + block + ","), std::string::npos) << block;
}

}  // namespace
}  // namespace seng::testing::direction_accuracy_test
