#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "actors/nn/execution_plan.h"
#include "actors/nn/factor_drain.h"
#include "actors/nn/gradient_sums.h"
#include "actors/nn/network.h"
#include "actors/nn/pass_inputs.h"

namespace seng {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the time of a scope to a sum; does nothing with null.
class Stopwatch {
 public:
  explicit Stopwatch(double* sum) : sum_(sum) {
    if (sum_ != nullptr) begin_ = Clock::now();
  }
  ~Stopwatch() {
    if (sum_ != nullptr) *sum_ += std::chrono::duration<double>(Clock::now() - begin_).count();
  }

 private:
  double* sum_;
  Clock::time_point begin_;
};

std::unique_ptr<Backend> require_backend(const ReplicaOptions& options) {
  auto backend = make_backend(options.device, options.precision, options.chooser);
  if (!backend) throw VendorError(backend.error().message);
  return std::move(*backend);
}

}  // namespace

struct Replica::State {
  // What is repeated with every micro-batch. kForward ends with the loss's gradient; kTraining, where
  // gradients are added up and no factors wanted, with the gradients of all blocks.
  enum Part { kForward, kTraining, kTrainingLoss, kEvaluation, kParts };

  // Of a backward pass, on the host; nothing where gradients are added up and no factors wanted.
  struct Wanted {
    const MicroBatch* batch = nullptr;
    int factor_samples = 0;
    BackwardSink* sink = nullptr;
  };

  State(const Network& source, const ReplicaOptions& replica_options)
      : network(source),
        options(replica_options),
        backend(require_backend(options)),
        plan(network.graph(), *backend, options),
        inputs(*backend, plan.image(), network.input().count(), options.micro_batch, network.classes()),
        loss(backend->plan_cross_entropy(options.micro_batch, network.classes())) {
    for (auto& step : plan.steps()) {
      times.push_back({step.name, 0, 0});
      step.forward.dropout = step.pass.dropout = inputs.dropout();
    }
    for (const Part part : {kForward, kTraining, kTrainingLoss, kEvaluation})
      recordings[part] = backend->record([this, part] { make_calls(part); });
    if (!options.training) return;
    if (options.sums_held > 0) {
      sums = std::make_unique<GradientSums>(*backend, network.blocks(), options.sums_held);
      return;
    }
    std::size_t parameters = 0, statistic_values = 0;
    for (const Block& block : network.blocks()) {
      parameters = std::max(parameters, block.count);
      statistic_values = std::max(statistic_values, block.statistics_count);
    }
    gradient = static_cast<float*>(backend->allocate(parameters * sizeof(float)));
    if (statistic_values > 0)
      statistics = static_cast<float*>(backend->allocate(statistic_values * sizeof(float)));
  }

  void load(const float* parameters, const float* statistics, Memory of_both);
  void run(Part part, const MicroBatch& batch);
  void make_calls(Part part);
  void backward(const Wanted& wanted);
  void prepare_factors(int samples);
  void forward_again(const ExecutionPlan::Segment& segment);
  void hand_out(std::size_t block, const float* of_gradient, const float* of_statistics, float factor,
                BackwardSink& sink);
  void hand_out_sum(BackwardSink& sink);
  void hand_out_factors(ExecutionPlan::Step& step, const MicroBatch& batch, BackwardSink& sink);
  void backward_step(std::size_t index, const Wanted& wanted);
  LossSum loss_of(const MicroBatch& batch) {
    const LossResult sum = loss->result(batch.samples);
    return {sum.loss, sum.hits};
  }
  double* forward_time(std::size_t step) { return options.profile ? &times[step].forward : nullptr; }
  double* backward_time(std::size_t step) { return options.profile ? &times[step].backward : nullptr; }

  Network network;
  ReplicaOptions options;
  std::unique_ptr<Backend> backend;
  ExecutionPlan plan;
  PassInputs inputs;
  std::unique_ptr<CrossEntropy> loss;
  std::array<std::unique_ptr<Recording>, kParts> recordings;
  std::unique_ptr<Recording> loading;  // from `loaded_from`
  const ResidentState* loaded_from = nullptr;
  std::unique_ptr<GradientSums> sums;  // null: it adds none
  bool sum_stays = false;
  std::vector<BlockGradient> handed_out;
  float* gradient = nullptr;    // of the block at hand, where nothing is added
  float* statistics = nullptr;  // likewise; null where no block has any
  float* factor_memory = nullptr;
  std::size_t factor_floats = 0;
  int planned_factor_samples = 0;
  std::vector<std::unique_ptr<LowRankCuts>> cuts;  // per block; null: its factors are handed out whole
  std::vector<std::size_t> cut_words;              // per block; 0: likewise
  std::unique_ptr<FactorDrain> drain;              // null: they are waited for block by block
  bool loaded = false;
  std::optional<MicroBatch> ahead;  // it is on its way
  std::vector<LayerTime> times;     // per step
};

void Replica::State::load(const float* parameters, const float* statistics, Memory of_both) {
  for (auto& step : plan.steps()) {
    if (step.block < 0) continue;
    const Block& block = network.blocks()[step.block];
    step.plan->load(parameters + block.offset, statistics + block.statistics_offset, of_both);
  }
  loaded = true;
}

// What an earlier pass left in the places of missing samples only gives logits that nobody reads.
void Replica::State::run(Part part, const MicroBatch& batch) {
  SENG_CHECK(loaded, "load() comes before the first pass");
  SENG_CHECK(batch.samples >= 1 && batch.samples <= options.micro_batch, "samples of a micro-batch");
  SENG_CHECK(part == kEvaluation || (options.training && batch.samples == options.micro_batch),
             "a training pass takes whole micro-batches");
  backend->enter();
  if (ahead != batch) inputs.put(batch);
  ahead.reset();
  inputs.take();
  if (options.profile || !options.graphs) return make_calls(part);
  recordings[part]->run();
}

void Replica::State::make_calls(Part part) {
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const Stopwatch watch(forward_time(i));
    const auto& step = plan.steps()[i];
    part == kEvaluation ? step.plan->infer(step.forward) : step.plan->forward(step.forward);
  }
  const bool learns = part == kForward || part == kTraining;
  loss->run(plan.logits(), inputs.targets(), part == kEvaluation ? 0 : options.label_smoothing,
            inputs.loss_scale(), learns ? plan.logits_gradient() : nullptr);
  if (part == kTraining) backward({});
}

void Replica::State::backward(const Wanted& wanted) {
  const auto& segments = plan.segments();
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->again) forward_again(*segment);
    for (int i = segment->last; i-- > segment->first;) backward_step(i, wanted);
  }
}

void Replica::State::prepare_factors(int samples) {
  SENG_CHECK(samples <= options.micro_batch, "no more curvature samples than the micro-batch has");
  if (samples == planned_factor_samples) return;
  std::size_t floats = 0;
  for (auto& step : plan.steps()) floats = std::max(floats, step.plan->plan_factors(samples));
  if (floats > factor_floats) {
    factor_memory = static_cast<float*>(backend->allocate(floats * sizeof(float)));
    factor_floats = floats;
  }
  planned_factor_samples = samples;
  cuts.clear();
  cuts.resize(network.blocks().size());
  cut_words.assign(network.blocks().size(), 0);
  for (std::size_t b = 0; b < options.cuts.size(); ++b) {
    if (options.cuts[b].rank == 0) continue;
    const LowRankPlan cut = LowRankPlan::of(network.blocks()[b], options.cuts[b], std::size_t(samples));
    cuts[b] = backend->plan_low_rank_cuts(cut);
    if (cuts[b]) cut_words[b] = cut.words();
  }
  // Where each block's gradient leaves by itself, its factors have to be out before.
  if (sums) drain = FactorDrain::create(*backend, network.blocks(), cut_words, samples);
}

void Replica::State::forward_again(const ExecutionPlan::Segment& segment) {
  for (int i = segment.first; i < segment.last; ++i) {
    auto& step = plan.steps()[i];
    if (!step.again) continue;
    const Stopwatch watch(backward_time(i));
    step.plan->forward(step.pass);
  }
}

// The sink reads them on the host.
void Replica::State::hand_out_factors(ExecutionPlan::Step& step, const MicroBatch& batch,
                                      BackwardSink& sink) {
  SampleFactors factors = step.plan->factors(step.pass, factor_memory);
  const auto index = static_cast<std::size_t>(step.block);
  if (LowRankCuts* cut = cuts[index].get()) {
    const SubspaceKey key{batch.seed, batch.step, static_cast<std::uint32_t>(index),
                          batch.first_sample / static_cast<std::uint32_t>(options.micro_batch) *
                              static_cast<std::uint32_t>(factors.samples)};
    const float* words = cut->cut(factors.activations, factors.gradients, 1 / batch.loss_scale, key);
    const std::size_t count = cut_words[index];
    if (drain) return drain->take_cut(index, words, count);
    return sink.on_cut_factors(index, {backend->host_view(words, count, 0), count});
  }
  if (drain && drain->takes(index)) return drain->take_whole(index, factors, 1 / batch.loss_scale);
  const FactorSizes sizes = factor_sizes(network.blocks()[index]);
  if (sizes.activations > 0)
    factors.activations = backend->host_view(factors.activations, factors.samples * sizes.activations, 0);
  factors.gradients =
      backend->host_view(factors.gradients, factors.samples * sizes.gradients, 1, 1 / batch.loss_scale);
  sink.on_factors(index, factors);
}

void Replica::State::backward_step(std::size_t index, const Wanted& wanted) {
  auto& step = plan.steps()[index];
  if (!step.backward) return;
  if (step.block >= 0) {
    if (wanted.factor_samples > 0) hand_out_factors(step, *wanted.batch, *wanted.sink);
    {
      const Stopwatch watch(backward_time(index));
      step.plan->parameter_gradient(step.pass, sums ? sums->gradient(step.block) : gradient,
                                    sums ? sums->statistics(step.block) : statistics);
    }
    if (!sums) hand_out(step.block, gradient, statistics, 1 / wanted.batch->loss_scale, *wanted.sink);
  }
  const Stopwatch watch(backward_time(index));
  step.plan->input_gradient(step.pass);
  for (const auto& sum : step.accumulations) sum.add->run(sum.a, sum.b, sum.sum);
}

void Replica::State::hand_out(std::size_t index, const float* of_gradient, const float* of_statistics,
                              float factor, BackwardSink& sink) {
  const Block& block = network.blocks()[index];
  std::span<const float> values;
  if (block.statistics_count > 0)
    values = {backend->host_view(of_statistics, block.statistics_count, 1), block.statistics_count};
  sink.on_gradient(index, {backend->host_view(of_gradient, block.count, 0, factor), block.count}, values);
}

// One copy of them all, handed out in the order of a backward pass.
void Replica::State::hand_out_sum(BackwardSink& sink) {
  const float* all = backend->host_view(sums->sum(), sums->floats(), 0);
  handed_out.clear();
  for (auto step = plan.steps().rbegin(); step != plan.steps().rend(); ++step) {
    if (!step->backward || step->block < 0) continue;
    const Block& block = network.blocks()[step->block];
    const auto index = static_cast<std::size_t>(step->block);
    handed_out.push_back({index,
                          {all + sums->gradient_at(index), block.count},
                          {all + sums->statistics_at(index), block.statistics_count}});
  }
  sink.on_gradients(handed_out);
}

Replica::Replica(const Network& network, const ReplicaOptions& options)
    : state_(std::make_unique<State>(network, options)) {}
Replica::~Replica() = default;
Replica::Replica(Replica&&) noexcept = default;

void Replica::load(std::span<const float> parameters, std::span<const float> statistics, const Copy& copy) {
  State& s = *state_;
  SENG_CHECK(
      parameters.size() == s.network.parameter_count() && statistics.size() == s.network.statistics_count(),
      "the flat arrays' sizes");
  s.backend->enter();
  const std::size_t bytes = parameters.size_bytes();
  if (auto* area = copy ? reinterpret_cast<float*>(s.backend->upload_area(bytes)) : nullptr) {
    copy(parameters, area);
    parameters = {area, parameters.size()};
  }
  s.load(parameters.data(), statistics.data(), Memory::kHost);
}

void Replica::load(const ResidentState& state) {
  State& s = *state_;
  s.backend->enter();
  const auto calls = [&s, &state] { s.load(state.parameters(), state.statistics(), Memory::kDevice); };
  if (!s.options.graphs) return calls();
  if (std::exchange(s.loaded_from, &state) != &state) s.loading = s.backend->record(calls);
  s.loading->run();
}

void Replica::make_room_for_sums(int held) {
  SENG_CHECK(adds_up(), "a replica that was made without room for sums");
  state_->backend->enter();
  state_->sums->make_room(held);
}

std::shared_ptr<VectorMemory> Replica::make_vector_memory() {
  return state_->backend->make_vector_memory();
}

std::unique_ptr<ResidentState> Replica::plan_resident_state() {
  State& s = *state_;
  if (!s.sums || s.backend->device() == Device::kCpu) return nullptr;
  s.backend->enter();
  ResidentPlan plan{.gradients = s.sums->gradients(), .floats = s.sums->floats()};
  for (std::size_t b = 0; b < s.network.blocks().size(); ++b) {
    const Block& block = s.network.blocks()[b];
    plan.blocks.push_back({block.count, block.statistics_count, s.sums->gradient_at(b),
                           s.sums->statistics_at(b), block.offset, block.statistics_offset});
  }
  return s.backend->plan_resident_state(plan);
}

LossSum Replica::train(const MicroBatch& batch, int factor_samples, BackwardSink& sink,
                       const std::function<void()>& meanwhile) {
  State& s = *state_;
  if (factor_samples > 0) s.prepare_factors(factor_samples);
  const bool whole = s.sums && factor_samples == 0;
  s.run(whole ? State::kTraining : State::kForward, batch);
  FactorDrain* drain = factor_samples > 0 ? s.drain.get() : nullptr;
  if (drain != nullptr) drain->begin();
  if (!whole) s.backward({&batch, factor_samples, &sink});
  const bool complete = s.sums && s.sums->add(1 / batch.loss_scale);
  if (drain != nullptr) drain->hand_out(sink);
  if (whole && meanwhile) meanwhile();
  if (complete && !s.sum_stays) s.hand_out_sum(sink);
  return s.loss_of(batch);
}

void Replica::send_ahead(const MicroBatch& next) {
  state_->inputs.put(next);
  state_->ahead = next;
}

void Replica::begin_sum(SumOrder order, SumGoes sum_goes) {
  SENG_CHECK(adds_up(), "a replica that was made without room for sums");
  state_->sums->begin(std::move(order));
  state_->sum_stays = sum_goes == SumGoes::kStays;
}

float* Replica::held_sum() {
  SENG_CHECK(state_->sum_stays, "no sum stays");
  return state_->sums->sum();
}

void Replica::wait() {
  state_->backend->wait();
}

bool Replica::adds_up() const {
  return state_->sums != nullptr;
}

LossSum Replica::training_loss(const MicroBatch& batch) {
  state_->run(State::kTrainingLoss, batch);
  return state_->loss_of(batch);
}

LossSum Replica::evaluate(const MicroBatch& batch) {
  state_->run(State::kEvaluation, batch);
  return state_->loss_of(batch);
}

void Replica::logits(const MicroBatch& batch, std::span<float> out) {
  State& s = *state_;
  const std::size_t count = std::size_t(batch.samples) * s.network.classes();
  SENG_CHECK(out.size() == count, "room for the logits of each sample");
  s.run(State::kEvaluation, batch);
  std::memcpy(out.data(), s.backend->host_view(s.plan.logits(), count, 0), count * sizeof(float));
}

std::string Replica::graph_shortfall() const {
  for (const auto& recording : state_->recordings)
    if (!recording->shortfall().empty()) return recording->shortfall();
  return state_->loading ? state_->loading->shortfall() : "";
}

void Replica::plan_factors(int samples) {
  state_->prepare_factors(samples);
}

std::size_t Replica::bytes() const {
  return state_->backend->planned_bytes();
}

std::size_t Replica::held_bytes() const {
  return state_->backend->allocated_bytes();
}

std::size_t Replica::activation_bytes() const {
  return state_->plan.arena_bytes();
}

std::vector<LayerTime> Replica::layer_times() const {
  return state_->times;
}

}  // namespace seng
