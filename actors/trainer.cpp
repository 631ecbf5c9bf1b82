#include "actors/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "actors/optim/update.h"

namespace seng {

namespace {

// Elementwise work is cut into runs of this many floats; the cut changes no result.
constexpr std::size_t kRun = 1 << 16;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

// A block that this actor owns, during one step.
struct Trainer::OwnedBlock {
  bool mine = false;
  bool summed = false, published = false;
  std::span<float> sum;
};

// Passes one micro-batch's results on to the exchange.
class Trainer::LaneSink : public BackwardSink {
 public:
  LaneSink(const Trainer& trainer, std::uint32_t micro) : trainer_(trainer), micro_(micro) {}

  void on_factors(std::size_t block, const SampleFactors& factors) override {
    const Workload& workload = *trainer_.parts_.workload;
    const FragmentShape& shape = workload.fragments[block];
    if (shape.floats == 0) return;
    trainer_.parts_.exchange->add_fragment(static_cast<std::uint32_t>(block), micro_,
                                           make_fragment(workload.network.blocks()[block], shape, factors));
  }
  void on_gradient(std::size_t block, std::span<const float> gradient,
                   std::span<const float> statistics) override {
    trainer_.parts_.exchange->add_leaf(static_cast<std::uint32_t>(block), micro_, gradient, statistics);
  }

 private:
  const Trainer& trainer_;
  std::uint32_t micro_;
};

Trainer::Trainer(Parts parts)
    : parts_(std::move(parts)),
      stream_(parts_.workload->spec.seed, static_cast<std::uint32_t>(parts_.workload->data.train->size())) {
  const Workload& w = *parts_.workload;
  const Dataset& data = *w.data.train;
  const std::size_t image = static_cast<std::size_t>(data.channels()) * data.height() * data.width();
  images_.assign(parts_.lanes->count(), std::vector<float>(image * w.spec.batch_micro));
  labels_.assign(parts_.lanes->count(), std::vector<std::int32_t>(w.spec.batch_micro));
}

Trainer::~Trainer() = default;

void Trainer::set_group(const Group& group) {
  group_ = group;
  const Workload& w = *parts_.workload;
  const auto& blocks = w.network.blocks();
  for (const Member& member : group.members)
    if (member.actor == group.self) first_ = member.first_micro, last_ = member.last_micro;

  owned_.assign(blocks.size() + 1, {});
  for (std::uint32_t b = 0; b <= blocks.size(); ++b) owned_[b].mine = group.placement.owner[b] == group.self;

  if (!w.second_order) return;
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    auto& curvature = parts_.state->curvature;
    const bool keep = owned_[b].mine || group.placement.backup[b] == group.self;
    if (!keep) curvature.erase(b);
    if (keep && !curvature.contains(b)) curvature.emplace(b, empty_curvature(w, b));
    if (keep)
      SENG_CHECK(curvature.at(b).settle(parts_.state->curvature_steps[b]),
                 "a membership began without the curvature of block " + blocks[b].name);
  }
}

std::optional<Trainer::StepResult> Trainer::step(Ask ask) {
  const auto start = std::chrono::steady_clock::now();
  const Workload& w = *parts_.workload;
  const std::uint64_t step = parts_.state->step + 1;
  const double epoch_before = w.epoch_after(step - 1);
  const bool refresh = w.refreshes(step);
  lr_ = schedule_value(w.spec.optimizer.lr, epoch_before, w.schedule_end);
  damping_ = w.damping_at(step);
  ask_ = ask;
  parts_.gauges->activity = kComputing;
  for (OwnedBlock& block : owned_) block.summed = block.published = false;

  parts_.exchange->begin_step(step, refresh);
  if (refresh) begin_refresh(step, damping_);
  compute(step, refresh);

  std::optional<StepComplete> complete;
  while (!complete) {
    parts_.gauges->activity = kWaiting;
    ExchangeEvent event = parts_.exchange->next();
    parts_.gauges->activity = kComputing;
    if (auto* sum = std::get_if<BlockSummed>(&event)) on_sum(*sum, refresh);
    if (auto* fragment = std::get_if<FragmentArrived>(&event)) {
      on_fragment(*fragment);
      advance(fragment->block, refresh);
    }
    if (auto* done = std::get_if<StepComplete>(&event)) complete = std::move(*done);
    if (auto* interrupted = std::get_if<Interrupted>(&event)) {
      interruption_ = interrupted->reason;
      if (refresh) leave();
      return std::nullopt;
    }
  }

  StepResult result;
  StepMetrics& metrics = result.metrics;
  metrics.step = step;
  metrics.epoch = w.epoch_after(step);
  metrics.lr = lr_;
  metrics.damping = w.second_order ? damping_ : 0;
  metrics.refreshed = refresh;
  commit(*complete, metrics);
  result.stop = (complete->flags & kStopAfterStep) != 0;
  result.park = (complete->flags & kParkAfterStep) != 0;
  const StepTraffic traffic = parts_.exchange->traffic();
  metrics.bytes_sent = traffic.sum_bytes + traffic.direction_bytes;
  metrics.fragment_bytes_sent = traffic.fragment_bytes;
  metrics.seconds = seconds_since(start);
  return result;
}

// What a backup has said it holds must be found here when the group goes on without the owner.
void Trainer::leave() {
  for (const FragmentArrived& fragment : parts_.exchange->take_fragments()) on_fragment(fragment);
}

void Trainer::begin_refresh(std::uint64_t step, double damping) {
  for (auto& [block, curvature] : parts_.state->curvature) curvature.begin_refresh(step, damping);
}

void Trainer::compute(std::uint64_t step, bool refresh) {
  const Workload& w = *parts_.workload;
  const std::uint32_t micro = w.spec.batch_micro;
  const std::uint64_t begin = (step - 1) * w.spec.batch_global + std::uint64_t(first_) * micro;
  order_.resize(std::size_t(last_ - first_) * micro);
  if (parts_.ledger) parts_.ledger->begin_step(group_.epoch, step);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    order_[i] = stream_.sample_at(begin + i);
    if (parts_.ledger) parts_.ledger->add(stream_.epoch_at(begin + i), order_[i]);
  }
  if (parts_.ledger) (void)parts_.ledger->publish();  // what could not be written waits; commit() says so

  parts_.lanes->run(parts_.replicas->size(), [&](std::size_t i, int) {
    (*parts_.replicas)[i].load(parts_.state->parameters, parts_.state->statistics);
  });
  parts_.lanes->run(last_ - first_, [&](std::size_t i, int lane) {
    if (parts_.exchange->interrupted()) return;  // it would be for nothing
    const auto start = std::chrono::steady_clock::now();
    compute_micro(first_ + static_cast<std::uint32_t>(i), lane, step, refresh ? w.factor_samples : 0);
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
    parts_.gauges->compute_ns.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
    parts_.gauges->micro_batches.fetch_add(1, std::memory_order_relaxed);
    parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
  });
}

void Trainer::compute_micro(std::uint32_t micro, int lane, std::uint64_t step, int factor_samples) {
  const Workload& w = *parts_.workload;
  const std::size_t samples = w.spec.batch_micro;
  const std::span<const std::uint32_t> indices =
      std::span<const std::uint32_t>(order_).subspan((micro - first_) * samples, samples);
  w.data.train->read(indices, images_[lane].data(), labels_[lane].data());

  MicroBatch batch;
  batch.samples = static_cast<int>(samples);
  batch.images = images_[lane].data();
  batch.labels = labels_[lane].data();
  batch.seed = w.spec.seed;
  batch.step = step;
  batch.first_sample = micro * w.spec.batch_micro;
  LaneSink sink(*this, micro);
  const LossSum loss = (*parts_.replicas)[lane].train(batch, factor_samples, sink);

  const std::array<float, kSummaryFloats> summary = {static_cast<float>(loss.loss),
                                                     static_cast<float>(loss.hits)};
  parts_.exchange->add_leaf(static_cast<std::uint32_t>(w.network.blocks().size()), micro, summary, {});
}

void Trainer::on_fragment(const FragmentArrived& event) {
  const auto found = parts_.state->curvature.find(event.block);
  if (found == parts_.state->curvature.end()) return;
  if (auto added = found->second.add_fragment(event.micro, event.values); !added)
    parts_.event("FragmentRefused", added.error().message);
}

void Trainer::on_sum(const BlockSummed& event, bool refresh) {
  if (event.block == parts_.workload->network.blocks().size()) return publish_summary(event.sum);
  owned_[event.block].summed = true;
  owned_[event.block].sum = event.sum;
  advance(event.block, refresh);
}

// Publishes the block's direction once all that it needs is here.
void Trainer::advance(std::uint32_t index, bool refresh) {
  OwnedBlock& owned = owned_[index];
  if (!owned.mine || !owned.summed || owned.published) return;
  const Workload& w = *parts_.workload;
  const Block& block = w.network.blocks()[index];
  Curvature* curvature = w.second_order ? &parts_.state->curvature.at(index) : nullptr;
  if (refresh && curvature && !curvature->complete()) return;

  const float batch = static_cast<float>(w.spec.batch_global),
              micros = static_cast<float>(w.spec.micro_batches());
  std::span<float> gradient = owned.sum.first(block.count);
  for (float& value : gradient) value /= batch;
  PublishWord word;
  const std::span<float> out = parts_.exchange->direction_buffer(index);  // [direction | statistics]
  const std::span<float> direction = out.first(block.count);
  if (curvature) {
    if (refresh)
      if (auto accepted = curvature->accept(*parts_.lanes); !accepted) {
        word.refused = true;
        parts_.event("CurvatureRefused", accepted.error().message);
      }
    word.inner_product = curvature->precondition(gradient, direction, damping_, *parts_.lanes);
  } else {
    std::copy(gradient.begin(), gradient.end(), direction.begin());
  }
  for (std::size_t i = 0; i < block.statistics_count; ++i)
    out[block.count + i] = owned.sum[block.count + i] / micros;
  owned.published = true;
  parts_.exchange->publish(index, out, word);
  parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
}

void Trainer::publish_summary(std::span<float> sum) {
  const std::uint64_t step = parts_.state->step + 1;
  PublishWord word;
  if (ask_.stop || step >= parts_.workload->steps_total) word.flags |= kStopAfterStep;
  if (ask_.park) word.flags |= kParkAfterStep;
  parts_.exchange->publish(static_cast<std::uint32_t>(owned_.size() - 1), sum, word);
}

void Trainer::commit(const StepComplete& complete, StepMetrics& metrics) {
  const Workload& w = *parts_.workload;
  const OptimizerSpec& optimizer = w.spec.optimizer;
  const std::span<const double> products =
      std::span(complete.inner_products).first(w.network.blocks().size());
  metrics.trust_scale = w.second_order ? trust_region_scale(optimizer.trust_region, lr_, products) : 1.0;
  if (metrics.refreshed) commit_curvature(complete, metrics.step);
  update_weights(complete, static_cast<float>(metrics.trust_scale));
  update_statistics(complete);
  const std::span<const float> summary = complete.directions.back();
  metrics.loss = summary[0] / static_cast<double>(w.spec.batch_global);
  metrics.accuracy = summary[1] / static_cast<double>(w.spec.batch_global);
  parts_.state->step += 1;
}

// The owners' word decides which refreshes count, so that all know what is in force where.
void Trainer::commit_curvature(const StepComplete& complete, std::uint64_t step) {
  TrainState& state = *parts_.state;
  for (std::uint32_t b = 0; b < state.curvature_steps.size(); ++b)
    if (!complete.refused[b]) state.curvature_steps[b] = step;
  for (auto& [block, curvature] : state.curvature) {
    if (!owned_[block].mine && complete.refused[block]) curvature.reject();
    if (!owned_[block].mine && !complete.refused[block])
      if (auto kept = curvature.accept_unformed(); !kept)
        parts_.event("CurvatureRefused", kept.error().message);
    (void)curvature.settle(state.curvature_steps[block]);
  }
}

void Trainer::update_weights(const StepComplete& complete, float scale) {
  const Workload& w = *parts_.workload;
  const OptimizerSpec& optimizer = w.spec.optimizer;
  const UpdateCoefficients coefficients{.lr = static_cast<float>(lr_),
                                        .momentum = static_cast<float>(optimizer.momentum),
                                        .weight_decay = static_cast<float>(optimizer.weight_decay),
                                        .scale = scale,
                                        .nesterov = optimizer.nesterov};
  struct Run {
    std::uint32_t block;
    std::size_t offset, count;
  };
  std::vector<Run> runs;
  const auto& blocks = w.network.blocks();
  for (std::uint32_t b = 0; b < blocks.size(); ++b)
    for (std::size_t at = 0; at < blocks[b].count; at += kRun)
      runs.push_back({b, at, std::min(kRun, blocks[b].count - at)});
  parts_.lanes->run(runs.size(), [&](std::size_t i, int) {
    const Run& run = runs[i];
    const std::size_t offset = blocks[run.block].offset + run.offset;
    momentum_update(coefficients, complete.directions[run.block].subspan(run.offset, run.count),
                    std::span(parts_.state->momentum).subspan(offset, run.count),
                    std::span(parts_.state->parameters).subspan(offset, run.count));
  });
}

// running <- 0.9 running + 0.1 batch (PyTorch's momentum 0.1); the batch's is the mean over micro-batches.
void Trainer::update_statistics(const StepComplete& complete) {
  const auto& blocks = parts_.workload->network.blocks();
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    const Block& block = blocks[b];
    for (std::size_t i = 0; i < block.statistics_count; ++i) {
      float& running = parts_.state->statistics[block.statistics_offset + i];
      running = 0.9f * running + 0.1f * complete.directions[b][block.count + i];
    }
  }
}

}  // namespace seng
