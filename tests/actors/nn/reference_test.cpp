// The judge is judged: the reference's gradients against central differences of its own loss.
#include <functional>

#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

struct Case {
  std::string name;
  ImageShape input;
  std::function<void(ReferenceNetwork&)> build;
};

std::vector<Case> cases() {
  return {
      {"linear",
       {1, 2, 3},
       [](auto& n) {
         n.flatten();
         n.linear("fc1", 5);
         n.linear("fc2", 4, false);
       }},
      {"conv",
       {2, 6, 5},
       [](auto& n) {
         n.conv("a", {3, 3, 2, 2, 1, true});
         n.conv("b", {2, 2, 2, 1, 0, false});
         n.flatten();
         n.linear("fc", 4);
       }},
      {"batch_norm",
       {2, 4, 3},
       [](auto& n) {
         n.conv("a", {3, 1, 1, 1, 0, false});
         n.batch_norm("bn");
         n.relu();
         n.flatten();
         n.linear("fc", 4);
       }},
      {"max_pool",
       {2, 6, 6},
       [](auto& n) {
         n.conv("a", {2, 3, 3, 1, 1, true});
         n.max_pool(3, 2, 1);
         n.flatten();
         n.linear("fc", 4);
       }},
      {"average_pool",
       {2, 6, 6},
       [](auto& n) {
         n.conv("a", {2, 3, 3, 1, 1, true});
         n.average_pool(3, 2, 1);
         n.flatten();
         n.linear("fc", 4);
       }},
      {"residual",
       {2, 4, 4},
       [](auto& n) {
         const int a = n.conv("a", {3, 3, 3, 1, 1, true});
         n.relu();
         const int b = n.conv("b", {3, 3, 3, 1, 1, true});
         n.add(b, a);
         n.global_average_pool();
         n.flatten();
         n.dropout(0.4);
         n.linear("fc", 4);
       }},
  };
}

class ReferenceGradient : public ::testing::TestWithParam<int> {};

TEST_P(ReferenceGradient, EqualsCentralDifferences) {
  const Case test = cases()[GetParam()];
  SCOPED_TRACE(test.name);
  ReferenceNetwork reference(test.input, 4);
  test.build(reference);
  const Network network = reference.network();
  const Weights weights = random_weights(network, 11);
  const Batch batch = random_batch(3, 3, test.input, 4);
  auto parameters = weights.parameters64();
  const auto gradient = reference.train(parameters, batch, 0.1).gradient;
  std::vector<double> differences;
  constexpr double kStep = 1e-6;
  for (double& parameter : parameters) {
    const double at = parameter;
    parameter = at + kStep;
    const double above = reference.train(parameters, batch, 0.1).loss;
    parameter = at - kStep;
    const double below = reference.train(parameters, batch, 0.1).loss;
    parameter = at;
    differences.push_back((above - below) / (2 * kStep));
  }
  EXPECT_LT(relative_error(gradient, differences), 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Layers, ReferenceGradient, ::testing::Range(0, 6),
                         [](const auto& info) { return cases()[info.param].name; });

}  // namespace
}  // namespace seng::reference
