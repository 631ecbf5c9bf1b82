// What a plan knows of its values and connections while it is made.
#pragma once

#include <vector>

#include "actors/nn/execution_plan.h"

namespace seng {

struct ExecutionPlan::Value {
  LayoutPtr layout;
  bool needs_gradient = false;
  int buffer = -1;  // in the forward pass
  int late = -1;    // in the backward pass: the same one where the value is kept
  int gradient = -1;
  bool kept = true;        // from the forward to the backward pass
  std::vector<int> users;  // steps
};

struct ExecutionPlan::Connection {
  struct Sum {
    int value, a, b, sum;
  };
  std::vector<int> inputs;  // values
  int workspace = -1, late_workspace = -1, dy = -1, dx = -1;
  std::vector<Sum> sums;
};

}  // namespace seng
