#include "actors/nn/factor_drain.h"

namespace seng {
namespace {

// Of a block's whole factors: beyond, a wait for them costs little beside their copy, and the host's pinned
// memory is better spent.
constexpr std::size_t kSmallFloats = std::size_t{1} << 18;

std::size_t whole_floats(const Block& block, int samples) {
  const FactorSizes sizes = factor_sizes(block);
  return (sizes.activations + sizes.gradients) * static_cast<std::size_t>(samples);
}

}  // namespace

std::unique_ptr<FactorDrain> FactorDrain::create(Backend& backend, const std::vector<Block>& blocks,
                                                 const std::vector<std::size_t>& cut_words, int samples) {
  std::unique_ptr<FactorDrain> made(new FactorDrain(backend, blocks));
  std::size_t floats = 0, pieces = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const bool cut = cut_words[b] > 0;
    const std::size_t most = cut ? cut_words[b] : whole_floats(blocks[b], samples);
    made->takes_.push_back(cut || most <= kSmallFloats);
    if (!made->takes_.back()) continue;
    floats += most;
    pieces += 2;
  }
  made->drain_ = backend.plan_drain(floats, pieces);
  return made->drain_ ? std::move(made) : nullptr;
}

void FactorDrain::begin() {
  drain_->begin();
  taken_.clear();
  scaled_.clear();
}

void FactorDrain::take_cut(std::size_t block, const float* words, std::size_t count) {
  taken_.push_back({.block = block, .whole = {}, .cut = {drain_->take(words, count), count}});
}

void FactorDrain::take_whole(std::size_t block, const SampleFactors& factors, float factor) {
  const FactorSizes sizes = factor_sizes(blocks_[block]);
  const auto samples = static_cast<std::size_t>(factors.samples);
  SampleFactors there = factors;
  if (sizes.activations > 0)
    there.activations = drain_->take(factors.activations, samples * sizes.activations);
  float* gradients = drain_->take(factors.gradients, samples * sizes.gradients);
  there.gradients = gradients;
  if (factor != 1) scaled_.push_back({gradients, samples * sizes.gradients, factor});
  taken_.push_back({.block = block, .whole = there, .cut = {}});
}

void FactorDrain::hand_out(BackwardSink& sink) {
  backend_.wait();
  for (const Scaled& each : scaled_)
    for (std::size_t i = 0; i < each.count; ++i) each.gradients[i] *= each.factor;
  sink.on_all_factors(taken_);
}

}  // namespace seng
