// What is found of a machine's GPUs, through a management library of the tests.
#include "daemon/gpus.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/process.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

std::string module(const std::string& name) {
  return std::string(SENG_BIN_DIR) + "/modules/" + name + ".so";
}

class GpusTest : public ::testing::Test {
 protected:
  ~GpusTest() override {
    unsetenv("SENG_FAKE_GPUS");
    unsetenv("SENG_FAKE_NVML_FAILS");
  }
};

TEST_F(GpusTest, AreReadWithModelMemoryAndUse) {
  setenv("SENG_FAKE_GPUS", "GPU-aa|NVIDIA H100|81559|1024|35;GPU-bb|NVIDIA A2|15356|0|-", 1);
  const auto gpus = Gpus::open(module("fake_nvml"));
  ASSERT_TRUE(gpus) << gpus.error().message;
  const auto read = gpus->read();
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].uuid, "GPU-aa");
  EXPECT_EQ((*read)[0].model, "NVIDIA H100");
  EXPECT_EQ((*read)[0].memory_bytes, 81559ull << 20);
  EXPECT_EQ((*read)[0].memory_used_bytes, 1024ull << 20);
  EXPECT_DOUBLE_EQ((*read)[0].utilisation, 0.35);
  EXPECT_EQ((*read)[1].model, "NVIDIA A2");
  EXPECT_EQ((*read)[1].utilisation, -1) << "not given";
}

TEST_F(GpusTest, OneThatDoesNotAnswerKeepsItsPlace) {
  setenv("SENG_FAKE_GPUS", "GPU-aa|-|1|0|-;GPU-bb|NVIDIA A2|15356|0|-", 1);
  const auto gpus = Gpus::open(module("fake_nvml"));
  ASSERT_TRUE(gpus) << gpus.error().message;
  const auto read = gpus->read();
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].uuid, "");
  EXPECT_THAT((*read)[0].model, HasSubstr("nvmlDeviceGetHandleByIndex of GPU 0: Another Error"));
  EXPECT_EQ((*read)[1].uuid, "GPU-bb");
  EXPECT_EQ((*read)[1].model, "NVIDIA A2");
}

TEST_F(GpusTest, WithoutTheLibraryThatIsSaid) {
  const auto gpus = Gpus::open("libnvidia-ml-of-nobody.so.1");
  ASSERT_FALSE(gpus);
  EXPECT_THAT(gpus.error().message, HasSubstr("libnvidia-ml-of-nobody.so.1: cannot open shared object file"));
  EXPECT_THAT(gpus.error().message, HasSubstr("comes with the NVIDIA driver"));
}

TEST_F(GpusTest, AnotherLibraryIsRefused) {
  const auto gpus = Gpus::open("libm.so.6");
  ASSERT_FALSE(gpus);
  EXPECT_THAT(gpus.error().message, HasSubstr("libm.so.6 has no function nvmlInit_v2"));
}

TEST_F(GpusTest, TheDriversWordsAreToldOn) {
  setenv("SENG_FAKE_NVML_FAILS", "1", 1);
  const auto gpus = Gpus::open(module("fake_nvml"));
  ASSERT_FALSE(gpus);
  EXPECT_THAT(gpus.error().message, HasSubstr("nvmlInit: Driver Not Loaded"));
}

}  // namespace
}  // namespace seng::testing
