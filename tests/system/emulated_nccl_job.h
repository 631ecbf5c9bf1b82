// Jobs whose actors exchange over an NCCL that is none, on GPUs that are none: three, with an actor each.
#pragma once

#include <cstdlib>

#include <gtest/gtest.h>

#include "tests/support/cluster.h"
#include "tests/system/gpu_job.h"

namespace seng::testing {

inline std::vector<std::string> on_gpus(std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"--device",       "cuda",
                                        "--actor-binary", SENG_BIN_DIR "/emulated/seng-actor",
                                        "--nvml-library", SENG_BIN_DIR "/modules/fake_nvml.so"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

class OverEmulatedNccl : public ::testing::Test {
 protected:
  OverEmulatedNccl() {
    setenv("SENG_FAKE_GPUS",
           "GPU-a|Emulated GPU|16384|0|-;GPU-b|Emulated GPU|16384|0|-;GPU-c|Emulated GPU|16384|0|-", 1);
  }
  ~OverEmulatedNccl() override {
    unsetenv("SENG_FAKE_GPUS");
    unsetenv("SENG_EMULATED_NCCL_SILENT");
  }
};

inline JobText small(const std::string& exchange) {
  JobText job = small_gpu_job();
  job.extra = "exchange: " + exchange + "\n";
  return job;
}

inline bool has_event(const Cluster& cluster, const std::string& job, const std::string& text) {
  return cluster.ctl({"events", job}).out.find(text) != std::string::npos;
}

}  // namespace seng::testing
