// A network as a graph of layers (Network: immutable, shared) and its planned executable form for one lane
// and one micro-batch size (Replica).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/engine/block.h"
#include "protocol/base/error.h"
#include "protocol/spec/job_spec.h"

namespace seng {

struct ImageShape {
  int channels = 0, height = 0, width = 0;
  std::size_t count() const { return std::size_t(channels) * height * width; }
};

struct Graph;  // graph.h: the layers and their connections

class Network {
 public:
  // `name` is a zoo entry (zoo.h: mlp, lenet, resnet18 ...); `options` are that entry's own. An unknown name
  // or option is an error with "did you mean".
  static Result<Network> create(const std::string& name, const std::map<std::string, std::string>& options,
                                ImageShape input, int classes);
  // A network that is written in a job.
  static Result<Network> create(const std::vector<LayerSpec>& layers, ImageShape input, int classes);
  static Result<Network> from_graph(Graph graph);

  const std::vector<Block>& blocks() const;
  std::size_t parameter_count() const;
  std::size_t statistics_count() const;
  ImageShape input() const;
  int classes() const;
  const Graph& graph() const;

  // PyTorch's default initialisation of each layer (kaiming uniform with a = sqrt(5); resnet and vgg:
  // torchvision's, zoo.h), from counter-based random numbers. parameters: parameter_count floats; statistics:
  // mean 0, variance 1.
  void initialise(std::uint64_t seed, std::span<float> parameters, std::span<float> statistics) const;

 private:
  std::shared_ptr<const Graph> graph_;
};

// Sums over the samples of one micro-batch.
struct LossSum {
  double loss = 0;
  std::uint64_t hits = 0;
};

struct MicroBatch {
  int samples = 0;                       // training: exactly the replica's size; evaluation: at most
  const float* images = nullptr;         // [samples, C, H, W]
  const std::int32_t* labels = nullptr;  // [samples]; logits() needs none
  std::uint64_t seed = 0;                // for dropout and cuts, with step and first_sample
  std::uint64_t step = 0;
  std::uint32_t first_sample = 0;  // place of sample 0 in the global batch
  // Training on mixtures, else null, [samples] each: a sample is weights[i] of its label and the rest of
  // partners[i]. Its loss, gradient and factors are those of this target.
  const std::int32_t* partners = nullptr;
  const float* weights = nullptr;
  // Training: what the loss is multiplied by on the way back, so that small gradients are not lost in 16
  // bits; all that is handed out is divided by it. A power of two changes no bits of floats but the smallest.
  float loss_scale = 1;

  bool operator==(const MicroBatch&) const = default;
};

struct BlockGradient {
  std::size_t block = 0;
  std::span<const float> gradient, statistics;  // as of BackwardSink::on_gradient
};

struct BlockFactors {
  std::size_t block = 0;
  SampleFactors whole;         // as of BackwardSink::on_factors
  std::span<const float> cut;  // in its place, where not empty: as of on_cut_factors
};

// Receives a micro-batch's results during Replica::train, on the lane's thread, block by block as backward
// goes on (last layers first), each block once.
class BackwardSink {
 public:
  virtual ~BackwardSink() = default;
  // Called before on_gradient of the same block, only when factors were asked for.
  virtual void on_factors(std::size_t block, const SampleFactors& factors) = 0;
  // In its place, of a block whose factors have been cut where they were made (ReplicaOptions::cuts): words
  // as LowRankPlan has them. Valid until it returns.
  virtual void on_cut_factors(std::size_t /*block*/, std::span<const float> /*words*/) {
    SENG_CHECK(false, "who asks for cuts takes them");
  }
  // Of several blocks at once, in the place of as many calls: where they are there together, behind the pass.
  // A sink may share them out among threads of its own.
  virtual void on_all_factors(std::span<const BlockFactors> blocks) {
    for (const BlockFactors& each : blocks)
      each.cut.empty() ? on_factors(each.block, each.whole) : on_cut_factors(each.block, each.cut);
  }
  // gradient: block.count floats, of the loss SUM over the micro-batch (not the mean). statistics: the
  // micro-batch's own mean and unbiased variance for batch norm, else empty. Valid until it returns. Of a
  // micro-batch that completes a sum (Replica::begin_sum): both summed over all of its micro-batches; of
  // those before it there is no call.
  virtual void on_gradient(std::size_t block, std::span<const float> gradient,
                           std::span<const float> statistics) = 0;
  // Of all blocks at once, in the place of as many calls of on_gradient: where they are there together. A
  // sink may share them out among threads of its own.
  virtual void on_gradients(std::span<const BlockGradient> blocks) {
    for (const BlockGradient& each : blocks) on_gradient(each.block, each.gradient, each.statistics);
  }
};

// How the vectors of several micro-batches are added up with a stack: entry i is how often, once that of
// micro-batch i is on it, the two on its top become one, the lower plus the upper. At the end one is left.
using SumOrder = std::vector<std::uint8_t>;

struct ReplicaOptions {
  Device device = Device::kCpu;  // one that make_backend() offers; else the constructor throws
  Arithmetic precision = Arithmetic::kF32;
  int micro_batch = 32;
  double label_smoothing = 0;
  bool direct_convolution = false;  // else the backend may choose Winograd
  // Activations between checkpoints are dropped and made again in the backward pass: the same bits with less
  // memory, for up to another forward pass.
  bool checkpoint_activations = false;
  bool training = true;  // false: only evaluate() and logits(); holds no gradients
  // Sums of gradients that may be on the stack at a time, in the backend's memory: 0: it adds none.
  int sums_held = 0;
  // Asked while the constructor plans convolutions; null: the device goes by its library's expectation.
  ConvolutionChooser* chooser = nullptr;
  // Per block, or empty: how its factors are cut, where the device does that itself (plan_low_rank_cuts);
  // elsewhere they are handed out whole. Convolutions only. Sample i's random numbers are those of its place
  // among the factors' samples of all micro-batches: of each the first factor_samples.
  std::vector<FactorCut> cuts = {};
  bool graphs = true;    // a GPU repeats passes by itself (recording.h); the same bits without
  bool profile = false;  // keep layer_times(); costs two clock readings a layer and pass, and no graphs
};

// Seconds spent in one layer since the replica was made, over all passes. A relu that its predecessor does
// along has no entry of its own; a change of memory layout is charged to "reorder:" and the layer that needs
// it.
struct LayerTime {
  std::string name;
  double forward = 0, backward = 0;
};

// One lane's executable network. Not thread-safe; different replicas are independent. All kernels are
// single-threaded; nothing is allocated after the first call of each method.
class Replica {
 public:
  Replica(const Network& network, const ReplicaOptions& options);
  ~Replica();
  Replica(Replica&&) noexcept;

  // Takes the step's weights (canonical layout, block.h) into the kernels' own layouts. `copy` copies from
  // one place of the host to another, and returns when it has: where the device takes them by way of such a
  // place, by more than one thread if the caller likes.
  using Copy = std::function<void(std::span<const float> from, float* to)>;
  void load(std::span<const float> parameters, std::span<const float> statistics, const Copy& copy = {});
  // The same of state that lies on this replica's device.
  void load(const ResidentState& state);
  // Room for such state; null where there is none, as on the CPU, or no sums_held.
  std::unique_ptr<ResidentState> plan_resident_state();
  void make_room_for_sums(int held);                   // on the stack, where there are sums_held
  std::shared_ptr<VectorMemory> make_vector_memory();  // of its device

  // Forward and backward of the softmax cross-entropy over one micro-batch. factor_samples > 0 hands the
  // first that many samples' factors to the sink.
  // `meanwhile`, if any, is called when all of the pass is queued and nothing of it was waited for; not where
  // it hands things out on its way. The memory that `batch` points to may be written by then.
  LossSum train(const MicroBatch& batch, int factor_samples, BackwardSink& sink,
                const std::function<void()>& meanwhile = {});
  // Called by `meanwhile`: sends the next train()'s micro-batch on its way while the device is at this one.
  // Should another pass come first, nothing is lost but the time.
  void send_ahead(const MicroBatch& next);

  // The calls of train() that follow, one per entry, form one sum: gradients and statistics stay in the
  // device's memory and are added there, and the last call hands out the sum. What was begun and is not
  // complete is dropped. Else each micro-batch is a sum of its own. Needs sums_held.
  // kStays: the sum is not handed out but waits, as held_sum() has it, for who goes on there.
  enum class SumGoes { kOut, kStays };
  void begin_sum(SumOrder order, SumGoes sum_goes = SumGoes::kOut);
  bool adds_up() const;  // it may be called
  // What the last sum that stays came to: a vector as ResidentPlan has them, the device's, whole once wait()
  // has returned. It may be written to. Valid until the next train().
  float* held_sum();
  void wait();  // until the device has done all that it was asked for

  // The loss that train() would give, without its backward pass.
  LossSum training_loss(const MicroBatch& batch);

  // Forward with running statistics and no dropout. The loss has no label smoothing.
  LossSum evaluate(const MicroBatch& batch);
  void logits(const MicroBatch& batch, std::span<float> out);  // [samples, classes]

  // Why passes are not repeated by the GPU itself as they could be; empty: they are, or there is no GPU.
  std::string graph_shortfall() const;

  // Curvature factors of so many samples will be asked for: makes room for them.
  void plan_factors(int samples);
  std::size_t bytes() const;             // buffers held, and scratch space that the first pass will take
  std::size_t held_bytes() const;        // what the backend has allocated by now
  std::size_t activation_bytes() const;  // of these, the activations and their gradients
  std::vector<LayerTime> layer_times() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seng
