// How far each approximation's direction is from the exact one, on a network's own blocks, weights and data:
// scripts/experiments/accuracy_of_direction.py runs it on a network that has been trained a little.
//
//   direction_accuracy_bench JOB.yaml [WEIGHTS.safetensors [NAME]]
//
// Without weights the network is as its seed makes it. With a name only variants that hold it in theirs are
// measured. The job gives network, data, seed, micro-batch (optimizer.curvature.samples / 32 samples of each
// of 32) and damping. The curvature is of the first samples of the data's order, the gradient of the batch
// that follows. CSV on stdout, a line per variant and block, the whole step as block "all":
//   error    |d - d*| / |d*|, d* the exact direction
//   sine     of the angle between d and d*: what is left when the length does not matter
//   seconds  of an ordinary step's preconditioning on one lane, the lesser of two
//   bytes    of curvature in force
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

#include "actors/data/loader.h"
#include "actors/data/sample_stream.h"
#include "actors/optim/curvature.h"
#include "actors/restore.h"
#include "actors/workload.h"

namespace {

using namespace seng;

constexpr int kMicros = 32;

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// What a pass leaves of every block: the sum of its gradient, and its samples' factors.
struct Pass : BackwardSink {
  explicit Pass(const Network& network)
      : blocks(network.blocks()),
        gradient(network.parameter_count()),
        inputs(blocks.size()),
        outputs(blocks.size()) {}
  void on_factors(std::size_t b, const SampleFactors& f) override {
    const FactorSizes sizes = factor_sizes(blocks[b]);
    const std::size_t n = std::size_t(f.samples);
    inputs[b].insert(inputs[b].end(), f.activations, f.activations + n * sizes.activations);
    outputs[b].insert(outputs[b].end(), f.gradients, f.gradients + n * sizes.gradients);
  }
  void on_gradient(std::size_t b, std::span<const float> g, std::span<const float>) override {
    for (std::size_t i = 0; i < g.size(); ++i) gradient[blocks[b].offset + i] += g[i];
  }
  const std::vector<Block>& blocks;
  std::vector<float> gradient;
  std::vector<std::vector<float>> inputs, outputs;
};

void run(const Workload& w, Replica& replica, std::size_t first, std::size_t count, bool factors,
         Pass& pass) {
  const std::size_t micro = w.spec.batch_micro;
  SampleStream stream(w.spec.seed + 1, std::uint32_t(w.data.train->size()));
  for (std::size_t at = first; at < first + count; at += micro) {
    std::vector<SampleUse> uses;
    for (std::size_t i = 0; i < micro; ++i)
      uses.push_back({stream.epoch_at(at + i), stream.sample_at(at + i)});
    LabelledImages images;
    if (auto read = Loader(*w.augmenter, {}).take(at, uses, images); !read)
      throw std::runtime_error(read.error().message);
    MicroBatch batch;
    batch.samples = int(micro);
    batch.images = images.images.data();
    batch.labels = images.labels.data();
    replica.train(batch, factors ? int(micro) : 0, pass);
  }
}

struct Variant {
  std::string name;
  double parameter = 0;
  CurvatureOptions options;
  int rank = -1;  // of convolutions; -1: the options' form
};

struct Measured {
  std::vector<float> d;
  double seconds = 0;
  std::size_t bytes = 0;
};

Measured direction(const Workload& w, const Pass& samples, std::span<const float> g, std::uint32_t b,
                   Variant variant) {
  const Block& block = samples.blocks[b];
  CurvatureOptions& options = variant.options;
  const int n = int(w.spec.optimizer.curvature.samples);
  options.micro_batches = kMicros;
  options.samples_per_micro = n / kMicros;
  options.index = b;
  if (block.kind == BlockKind::kBatchNorm) options.form = Representation::kExplicit;
  if (block.kind == BlockKind::kConvolution && variant.rank >= 0)
    options.form = CurvatureForm(Representation::kLowRank, std::min(variant.rank, full_rank(block)),
                                 options.form.rank_method);
  if (block.kind == BlockKind::kLinear && options.form.representation == Representation::kLowRank)
    options.form = Representation::kImplicit;
  Curvature curvature(block, options);
  const FragmentShape shape = fragment_shape(block, options.form, options.samples_per_micro);
  curvature.begin_refresh(1, w.spec.optimizer.damping_initial);
  const std::size_t in = samples.inputs[b].size() / std::size_t(n),
                    out = samples.outputs[b].size() / std::size_t(n);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro) {
    const std::size_t first = micro * std::size_t(options.samples_per_micro);
    const SampleFactors factors{options.samples_per_micro, samples.inputs[b].data() + first * in,
                                samples.outputs[b].data() + first * out};
    const FragmentKey key{options.seed, 1, b, std::uint32_t(first)};
    if (auto added = curvature.add_fragment(micro, make_fragment(block, shape, factors, key)); !added)
      throw std::runtime_error(added.error().message);
  }
  Lanes lanes(1);
  if (auto accepted = curvature.accept(lanes); !accepted) throw std::runtime_error(accepted.error().message);
  Measured made{std::vector<float>(block.count), 1e9, curvature.bytes()};
  for (int round = 0; round < 2; ++round) {
    const auto start = std::chrono::steady_clock::now();
    curvature.precondition(g, made.d, 1, lanes);
    made.seconds = std::min(made.seconds,
                            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return made;
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  CurvatureOptions exact;
  exact.form = Representation::kImplicit;
  all.push_back({"exact", 0, exact});
  const auto with = [&](const std::string& name, double parameter, const CurvatureOptions& options,
                        int rank = -1) {
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      all.push_back({name, parameter, options, rank});
      all.back().options.seed = seed;
    }
  };
  for (const int p : {1, 2, 3, 4, 8, 16, 32})
    for (const RankMethod method : {RankMethod::kSvd, RankMethod::kSubspace}) {
      CurvatureOptions options = exact;
      options.form.rank_method = method;
      with(method == RankMethod::kSvd ? "rank svd" : "rank subspace", p, options, p);
    }
  for (const SketchKind kind : {SketchKind::kRows, SketchKind::kCountSketch})
    for (const std::size_t q : {256, 1024, 4096}) {
      CurvatureOptions options = exact;
      options.sketch = {kind, q};
      with(kind == SketchKind::kRows ? "sketch rows" : "sketch countsketch", double(q), options);
    }
  for (const std::size_t r : {64, 1024}) {
    CurvatureOptions options = exact;
    options.product = {ProductKind::kCountSketch, r};
    with("product countsketch", double(r), options);
  }
  for (const int p : {1, 2, 3, 4, 8, 16}) {
    CurvatureOptions options = exact;
    options.sketch = {SketchKind::kRows, 16384};
    with("ours: exact product, rows 16384, rank", p, options, p);
    options.stored = Precision::kBf16;
    with("ours: exact product, rows 16384, bf16, rank", p, options, p);
    options.stored = Precision::kF32;
    options.sketch = {SketchKind::kRows, 4096};
    with("ours: exact product, rows 4096, rank", p, options, p);
    options.product = {ProductKind::kAuthors, 1};
    with("authors' product, rows 4096, rank", p, options, p);
    options.sketch = {};
    with("authors' product, rank", p, options, p);
  }
  for (const int workers : {2, 4, 8, 16, 32}) {
    CurvatureOptions options = exact;
    options.workers = workers;
    all.push_back({"local", double(workers), options});
  }
  CurvatureOptions factors;
  factors.form = Representation::kKronecker;
  all.push_back({"kfac", 0, factors});
  return all;
}

struct Sums {
  double error = 0, exact = 0, made = 0, product = 0, seconds = 0, bytes = 0;
  void add(std::span<const float> d, std::span<const float> best) {
    for (std::size_t i = 0; i < d.size(); ++i) {
      error += (double(d[i]) - best[i]) * (double(d[i]) - best[i]);
      exact += double(best[i]) * best[i];
      made += double(d[i]) * d[i];
      product += double(d[i]) * best[i];
    }
  }
  void add(const Sums& other) {
    error += other.error, exact += other.exact, made += other.made, product += other.product;
    seconds += other.seconds, bytes += other.bytes;
  }
  void print(const Variant& v, const std::string& block) const {
    const double cosine = product / std::sqrt(exact * made);
    std::printf("\"%s\",%g,%llu,%s,%.6g,%.6g,%.6g,%.0f\n", v.name.c_str(), v.parameter,
                static_cast<unsigned long long>(v.options.seed), block.c_str(), std::sqrt(error / exact),
                std::sqrt(std::max(0.0, 1 - cosine * cosine)), seconds, bytes);
  }
};

void compare(const Workload& w, const Pass& samples, const std::vector<float>& gradient,
             std::string_view name) {
  std::printf("variant,parameter,seed,block,error,sine,seconds,bytes\n");
  const auto of = [&](const Block& b) { return std::span(gradient).subspan(b.offset, b.count); };
  std::vector<std::vector<float>> exact;
  Sums whole;
  const Variant none{"no curvature", 0, {}};
  for (std::uint32_t b = 0; b < samples.blocks.size(); ++b) {
    const Block& block = samples.blocks[b];
    exact.push_back(direction(w, samples, of(block), b, variants().front()).d);
    std::vector<float> scaled(of(block).begin(), of(block).end());
    for (float& value : scaled) value /= float(w.spec.optimizer.damping_initial);
    Sums sums;
    sums.add(scaled, exact.back());
    sums.print(none, block.name);
    whole.add(sums);
  }
  whole.print(none, "all");
  for (const Variant& variant : variants()) {
    if (variant.name.find(name) == std::string::npos) continue;
    Sums all;
    for (std::uint32_t b = 0; b < samples.blocks.size(); ++b) {
      const Measured made = direction(w, samples, of(samples.blocks[b]), b, variant);
      Sums sums;
      sums.add(made.d, exact[b]);
      sums.seconds = made.seconds, sums.bytes = double(made.bytes);
      sums.print(variant, samples.blocks[b].name);
      all.add(sums);
    }
    all.print(variant, "all");
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 4)
    return std::fprintf(stderr, "direction_accuracy_bench JOB.yaml [WEIGHTS.safetensors [NAME]]\n"), 2;
  std::ifstream in(argv[1]);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  Workload w = value_of(load_workload(value_of(parse_job_spec(text, argv[1]))));
  for (Dataset* split : {w.data.train.get(), w.data.test.get()})
    if (auto prepared = split->prepare(); !prepared) throw std::runtime_error(prepared.error().message);
  std::vector<float> parameters(w.network.parameter_count()), statistics(w.network.statistics_count());
  w.network.initialise(w.spec.seed, parameters, statistics);
  if (argc >= 3)
    if (auto loaded = load_initial_weights(w, argv[2], parameters, statistics); !loaded)
      throw std::runtime_error(loaded.error().message);
  Replica replica(w.network, replica_options(w.spec));
  replica.load(parameters, statistics);

  const std::size_t n = w.spec.optimizer.curvature.samples;
  if (n == 0 || n % kMicros != 0) throw std::runtime_error("curvature.samples has to be a multiple of 32");
  Pass samples(w.network), fresh(w.network);
  run(w, replica, 0, n, true, samples);
  run(w, replica, n, w.spec.batch_global, false, fresh);
  for (float& value : fresh.gradient) value /= float(w.spec.batch_global);
  compare(w, samples, fresh.gradient, argc == 4 ? argv[3] : "");
  return 0;
} catch (const std::exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
