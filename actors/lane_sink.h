// What a lane's pass hands to the trainer. Of the trainer's own sources alone.
#pragma once

#include <utility>
#include <vector>

#include "actors/optim/fragment.h"
#include "actors/trainer.h"

namespace seng {

// Passes one micro-batch's results on to the exchange, and with them those of the ones before it that are
// added up with it.
class Trainer::LaneSink : public BackwardSink {
 public:
  // sum: the micro-batches that the gradient is of, when there is one.
  LaneSink(const Trainer& trainer, std::uint32_t micro, const LeafRange& sum, std::uint64_t step)
      : trainer_(trainer), micro_(micro), sum_(sum), step_(step) {}

  void on_factors(std::size_t block, const SampleFactors& factors) override {
    const Workload& w = *trainer_.parts_.workload;
    if (w.fragments[block].floats == 0) return;
    const FragmentKey key{w.spec.seed, step_, static_cast<std::uint32_t>(block),
                          micro_ * static_cast<std::uint32_t>(w.factor_samples)};
    add(block, make_fragment(w.network.blocks()[block], w.fragments[block], factors, key,
                             w.sample_device(block).get()));
  }
  // A fragment already: the replica has cut them as the block's form says.
  void on_cut_factors(std::size_t block, std::span<const float> words) override {
    SENG_CHECK(words.size() == trainer_.parts_.workload->fragments[block].words, "the words of a fragment");
    if (trainer_.alone_) return (void)trainer_.keep(static_cast<std::uint32_t>(block), micro_, words);
    add(block, {words.begin(), words.end()});
  }
  // On the host together: for its threads, of which a lane of a GPU is one.
  void on_all_factors(std::span<const BlockFactors> blocks) override {
    if (trainer_.parts_.host == nullptr) return BackwardSink::on_all_factors(blocks);
    const std::lock_guard lock(trainer_.by_host_);
    trainer_.parts_.host->run(
        blocks.size(), [&](std::size_t i, int) { BackwardSink::on_all_factors(blocks.subspan(i, 1)); });
  }
  void on_gradient(std::size_t block, std::span<const float> gradient,
                   std::span<const float> statistics) override {
    trainer_.parts_.exchange->add_node(static_cast<std::uint32_t>(block), sum_, gradient, statistics);
  }
  void on_gradients(std::span<const BlockGradient> blocks) override {
    if (trainer_.parts_.host == nullptr) return BackwardSink::on_gradients(blocks);  // lanes are busy
    const std::lock_guard lock(trainer_.by_host_);
    trainer_.parts_.host->run(blocks.size(), [&](std::size_t i, int) {
      on_gradient(blocks[i].block, blocks[i].gradient, blocks[i].statistics);
    });
  }

 private:
  void add(std::size_t block, std::vector<float> fragment) {
    // Lanes put what stays here in its place side by side; on_fragment() says what is wrong with it.
    (void)trainer_.keep(static_cast<std::uint32_t>(block), micro_, fragment);
    if (trainer_.alone_) return;
    trainer_.parts_.exchange->add_fragment(static_cast<std::uint32_t>(block), micro_, std::move(fragment));
  }

  const Trainer& trainer_;
  std::uint32_t micro_;
  LeafRange sum_;
  std::uint64_t step_;
};

}  // namespace seng
