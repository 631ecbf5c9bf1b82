#include "tests/actors/checkpoint/small_network.h"

namespace seng {
namespace {

void append(std::string& bytes, const void* data, std::size_t size) {
  bytes.append(static_cast<const char*>(data), size);
}

TEST(DigestsTest, AreOverTheDocumentedBytes) {
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, std::random_device{}());
  // The flat arrays are in block and tensor order, so here the bytes are simply theirs.
  std::string bytes;
  append(bytes, state.parameters.data(), state.parameters.size() * 4);
  append(bytes, state.statistics.data(), state.statistics.size() * 4);
  const Digest weights = weights_digest(blocks, state.parameters, state.statistics);
  EXPECT_EQ(weights, sha256(bytes.data(), bytes.size()));

  const std::vector<Digest> curvature = {sha256("a", 1), Digest{}, sha256("b", 1)};
  bytes.clear();
  append(bytes, weights.data(), 32);
  append(bytes, state.momentum.data(), state.momentum.size() * 4);
  for (const Digest& digest : curvature) append(bytes, digest.data(), 32);
  bytes += std::string("\x05\0\0\0\0\0\0\0\x00\x01\0\0\0\0\0\x80", 16);
  EXPECT_EQ(state_digest(weights, state.momentum, curvature, 5, 0x8000000000000100),
            sha256(bytes.data(), bytes.size()));
  const double damping[] = {0.5, -0.25, 2};
  append(bytes, damping, sizeof damping);
  EXPECT_EQ(
      state_digest(weights, state.momentum, curvature, 5, 0x8000000000000100, SavedDamping{0.5, -0.25, 2}),
      sha256(bytes.data(), bytes.size()));
  const double scale = 512;
  append(bytes, &scale, sizeof scale);
  bytes += std::string("\x11\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(state_digest(weights, state.momentum, curvature, 5, 0x8000000000000100,
                         SavedDamping{0.5, -0.25, 2}, SavedLossScale{512, 17}),
            sha256(bytes.data(), bytes.size()));
}

TEST(DigestsTest, GoTensorByTensorThroughTheFlatArray) {
  auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, 1);
  const Digest before = weights_digest(blocks, state.parameters, state.statistics);
  std::swap(blocks[0].parameters[0], blocks[0].parameters[1]);
  EXPECT_NE(weights_digest(blocks, state.parameters, state.statistics), before);
}

TEST(DigestsTest, EveryPartCounts) {
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, 2);
  const Digest weights = weights_digest(blocks, state.parameters, state.statistics);
  for (std::size_t i = 0; i < state.parameters.size(); ++i) {
    auto changed = state.parameters;
    changed[i] = -changed[i];
    EXPECT_NE(weights_digest(blocks, changed, state.statistics), weights);
  }
  for (std::size_t i = 0; i < state.statistics.size(); ++i) {
    auto changed = state.statistics;
    changed[i] = -changed[i];
    EXPECT_NE(weights_digest(blocks, state.parameters, changed), weights);
  }
  const std::vector<Digest> none(3);
  const Digest whole = state_digest(weights, state.momentum, none, 5, 320);
  EXPECT_NE(state_digest(weights, state.momentum, none, 6, 320), whole);
  EXPECT_NE(state_digest(weights, state.momentum, none, 5, 321), whole);
  EXPECT_NE(state_digest(Digest{}, state.momentum, none, 5, 320), whole);
  EXPECT_NE(state_digest(weights, state.momentum, std::vector<Digest>{Digest{}, weights, Digest{}}, 5, 320),
            whole);
  auto momentum = state.momentum;
  momentum.back() = -momentum.back();
  EXPECT_NE(state_digest(weights, momentum, none, 5, 320), whole);
}

TEST(DigestsTest, ArraysThatAreTooShortAreOurOwnMistake) {
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, 3);
  EXPECT_THROW(weights_digest(blocks, std::span(state.parameters).first(10), state.statistics),
               InvariantError);
}

}  // namespace
}  // namespace seng
