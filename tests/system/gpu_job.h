// The job that the tests on emulated GPUs train: every kind of layer that matters there, six steps.
#pragma once

#include "tests/support/cluster.h"

namespace seng::testing {

inline JobText small_gpu_job() {
  JobText job;
  job.model =
      "{layers: [{name: conv1, type: conv2d, channels: 4, kernel: 3, padding: 1}, {name: bn1, type: "
      "batch_norm}, {name: relu1, type: relu}, {name: pool, type: max_pool, kernel: 2, stride: 2}, "
      "{name: flat, type: flatten}, {name: drop, type: dropout, probability: 0.3}, {name: fc, type: "
      "linear, features: 10}]}";
  job.data = "{name: synthetic, train: 64, test: 16, channels: 2, height: 8, width: 8, classes: 10}";
  job.optimizer = "{name: seng, lr: 0.05, momentum: 0.9, damping: 0.5, curvature: {every: 2, samples: 16}}";
  job.global = 16;
  job.micro = 2;
  job.steps = 6;
  return job;
}

}  // namespace seng::testing
