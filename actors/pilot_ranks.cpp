#include "actors/pilot_ranks.h"

#include <algorithm>
#include <numeric>

#include "actors/data/sample_stream.h"
#include "actors/optim/low_rank.h"

namespace seng {
namespace {

// Enough for a spectrum; few, since a network is planned for them.
constexpr std::uint32_t kPilotSamples = 8;

class SpectrumSink : public BackwardSink {
 public:
  SpectrumSink(const JobSpec& spec, const Network& network, std::vector<int>& ranks)
      : spec_(spec), network_(network), ranks_(ranks) {}

  void on_factors(std::size_t index, const SampleFactors& factors) override {
    const Block& block = network_.blocks()[index];
    if (block.kind != BlockKind::kConvolution) return;
    const std::size_t m = std::size_t(block.m), kappa = std::size_t(block.positions);
    std::vector<std::vector<double>> cumulated;
    for (int i = 0; i < factors.samples; ++i)
      cumulated.push_back(cumulated_energy(factors.gradients + std::size_t(i) * m * kappa, m, kappa));
    const CurvatureSpec& curvature = spec_.optimizer.curvature;
    ranks_[index] = rank_for_energy(cumulated, curvature.rank_energy, int(curvature.rank_max));
  }
  void on_gradient(std::size_t, std::span<const float>, std::span<const float>) override {}

 private:
  const JobSpec& spec_;
  const Network& network_;
  std::vector<int>& ranks_;
};

}  // namespace

Result<std::vector<int>> pilot_ranks(const JobSpec& spec, const Network& network, const Dataset& data) {
  std::vector<int> ranks(network.blocks().size(), 0);
  const std::uint32_t samples = std::min({kPilotSamples, spec.batch_micro, std::uint32_t(data.size())});
  ReplicaOptions options;
  options.micro_batch = int(samples);
  options.label_smoothing = spec.label_smoothing;
  options.direct_convolution = true;
  Replica replica(network, options);
  std::vector<float> parameters(network.parameter_count()), statistics(network.statistics_count());
  network.initialise(spec.seed, parameters, statistics);
  replica.load(parameters, statistics);

  std::vector<std::uint32_t> order(samples);
  SampleStream(spec.seed, std::uint32_t(data.size())).read(0, order);
  std::vector<float> images(std::size_t(samples) * data.channels() * data.height() * data.width());
  std::vector<std::int32_t> labels(samples);
  SENG_TRY(data.read(order, images.data(), labels.data()));
  MicroBatch batch;
  batch.samples = int(samples);
  batch.images = images.data();
  batch.labels = labels.data();
  batch.seed = spec.seed;
  batch.step = 1;
  SpectrumSink sink(spec, network, ranks);
  replica.train(batch, int(samples), sink);
  return ranks;
}

}  // namespace seng
