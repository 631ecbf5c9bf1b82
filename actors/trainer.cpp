#include "actors/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "actors/block_direction.h"
#include "actors/exchange/sum_pieces.h"
#include "actors/lane_sink.h"
#include "actors/optim/tasks.h"
#include "actors/step_update.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

constexpr std::size_t kCopied = 1 << 16;  // floats that a thread copies at a time

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Dearest first, so that lanes come to their ends together.
void run_dearest_first(Lanes& lanes, const std::vector<double>& costs,
                       const std::function<void(std::size_t job, Lanes& lanes)>& job) {
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return costs[i]; });
  lanes.run_jobs(order.size(), [&](std::size_t i, Lanes& own) { job(order[i], own); });
}

}  // namespace

// A block that this actor owns, during one step.
struct Trainer::OwnedBlock {
  bool mine = false;
  bool summed = false, published = false;
  bool ahead = false;                      // its refresh is being formed beside training
  double step_cost = 0, refresh_cost = 0;  // by the model of form_choice.h: seconds of one lane
  std::span<float> sum;
};

Trainer::Trainer(Parts parts)
    : parts_(std::move(parts)),
      stream_(parts_.workload->spec.seed, static_cast<std::uint32_t>(parts_.workload->data.train->size())),
      loader_(*parts_.workload->augmenter, {.workers = static_cast<int>(parts_.workload->spec.data_workers),
                                            .ahead = static_cast<int>(parts_.workload->spec.data_prefetch)}),
      residence_(*parts_.workload, *parts_.replicas, parts_.event) {
  images_.resize(parts_.lanes->count());
  if (parts_.workload->overlaps()) background_ = std::make_unique<Background>();
}

Trainer::~Trainer() = default;

void Trainer::set_group(const Group& group) {
  group_ = group;
  residence_.leave();
  together_ = group.vectors ? residence_.together() : nullptr;
  if (together_) log_info("sums, directions and the state of this group stay on the GPU");
  const Workload& w = *parts_.workload;
  const auto& blocks = w.network.blocks();
  for (const Member& member : group.members)
    if (member.actor == group.self) first_ = member.first_micro, last_ = member.last_micro;
  pieces_.clear();
  if (parts_.replicas->front().adds_up())
    pieces_ = sum_pieces(own_tree(group), {first_, last_}, parts_.lanes->count());
  else
    for (std::uint32_t micro = first_; micro < last_; ++micro) pieces_.push_back({micro, micro + 1});
  order_of_taking_ = seng::order_of_taking(pieces_, parts_.lanes->count());

  owned_.assign(blocks.size() + 1, {});
  for (std::uint32_t b = 0; b <= blocks.size(); ++b) owned_[b].mine = group.placement.owner[b] == group.self;
  estimate_costs();

  if (!w.second_order) return;
  for (std::uint32_t b = 0; b < blocks.size(); ++b) {
    auto& curvature = parts_.state->curvature;
    const bool keep = owned_[b].mine || group.placement.backup[b] == group.self;
    if (!keep) curvature.erase(b);
    if (keep && !curvature.contains(b)) curvature.emplace(b, empty_curvature(w, b));
    if (keep)
      SENG_CHECK(
          curvature.at(b).settle(parts_.state->curvature_steps[b], w.waiting_after(parts_.state->step)),
          "a membership began without the curvature of block " + blocks[b].name);
  }
}

void Trainer::estimate_costs() {
  const Workload& w = *parts_.workload;
  for (std::uint32_t b = 0; b < w.network.blocks().size(); ++b) {
    const Block& block = w.network.blocks()[b];
    const FormCost cost = block_cost(w, b);
    constexpr double kSecondsPerParameter = 1e-9;  // to divide, to copy, inner products
    owned_[b].step_cost = cost.step_seconds + kSecondsPerParameter * static_cast<double>(block.count);
    owned_[b].refresh_cost = cost.refresh_seconds;
  }
}

double Trainer::refresh_cost(std::uint32_t block) const {
  return owned_[block].refresh_cost;
}

std::optional<Trainer::StepResult> Trainer::step(Ask ask) {
  const auto start = std::chrono::steady_clock::now();
  const Workload& w = *parts_.workload;
  const std::uint64_t step = parts_.state->step + 1;
  const bool refresh = w.refreshes(step);
  lr_ = learning_rate_at(w, step);
  damping_ = next_damping(w, *parts_.state);
  refresh_seconds_ = 0;
  ask_ = ask;
  parts_.gauges->activity = kComputing;
  for (OwnedBlock& block : owned_) block.summed = block.published = block.ahead = false;
  const std::optional<StepComplete> complete = goes_alone() ? step_alone(refresh) : step_together(refresh);
  if (!complete) return std::nullopt;

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
  const StepTraffic traffic = alone_ ? StepTraffic{} : parts_.exchange->traffic();
  metrics.bytes_sent = traffic.sum_bytes + traffic.direction_bytes;
  metrics.fragment_bytes_sent = traffic.fragment_bytes;
  metrics.seconds = seconds_since(start);
  return result;
}

std::optional<StepComplete> Trainer::step_together(bool refresh) {
  const std::uint64_t step = parts_.state->step + 1;
  if (together_) {
    residence_.take_there(*parts_.state);
  } else {
    bring_home();
    residence_.leave();
  }
  parts_.exchange->begin_step(step, refresh);
  begin_curvature(step, refresh);
  compute(step, refresh);

  std::optional<StepComplete> complete;
  while (!complete) {
    parts_.gauges->activity = kWaiting;
    ExchangeEvent event = parts_.exchange->next();
    parts_.gauges->activity = kComputing;
    if (auto* sum = std::get_if<BlockSummed>(&event)) on_sum(*sum);
    if (auto* fragment = std::get_if<FragmentArrived>(&event)) on_fragment(*fragment);
    if (auto* done = std::get_if<StepComplete>(&event)) complete = std::move(*done);
    if (auto* interrupted = std::get_if<Interrupted>(&event)) {
      interruption_ = interrupted->reason;
      if (refresh) leave();
      return std::nullopt;
    }
    if (!complete && !parts_.exchange->has_event()) publish_ready(refresh);
  }
  return complete;
}

// What a backup has said it holds must be found here when the group goes on without the owner.
void Trainer::leave() {
  for (const FragmentArrived& fragment : parts_.exchange->take_fragments()) on_fragment(fragment);
}

void Trainer::begin_curvature(std::uint64_t step, bool refresh) {
  for (auto& [block, curvature] : parts_.state->curvature) {
    if (background_ && parts_.workload->taking_effect(step) != 0) form_ahead(block);
    if (refresh) curvature.begin_refresh(step, damping_);
  }
}

void Trainer::compute(std::uint64_t step, bool refresh) {
  const Workload& w = *parts_.workload;
  take_samples(step);
  parts_.lanes->run(parts_.replicas->size(), [&](std::size_t i, int) {
    if (together_) return residence_.load();
    (*parts_.replicas)[i].load(parts_.state->parameters, parts_.state->statistics, copy_by_host());
  });
  parts_.lanes->run(pieces_.size(), [&](std::size_t i, int lane) {
    compute_piece({pieces_[i], lane, step, refresh ? w.factor_samples : 0});
  });
}

// By the host's own threads, for one lane at a time. Empty: there are none.
Replica::Copy Trainer::copy_by_host() const {
  if (parts_.host == nullptr) return {};
  return [this](std::span<const float> from, float* to) {
    const std::lock_guard lock(by_host_);
    const Cut runs{from.size(), kCopied};
    parts_.host->run(runs.tasks(), [&](std::size_t run, int) {
      std::copy_n(from.data() + runs.begin(run), runs.size(run), to + runs.begin(run));
    });
  };
}

void Trainer::compute_piece(PieceInHand piece) {
  Replica& replica = (*parts_.replicas)[piece.lane];
  if (replica.adds_up() && !alone_)
    replica.begin_sum(additions_after(piece.micros.size()),
                      together_ ? Replica::SumGoes::kStays : Replica::SumGoes::kOut);
  for (std::uint32_t micro = piece.micros.first; micro < piece.micros.last; ++micro) {
    if (parts_.exchange->interrupted()) return;  // it would be for nothing
    const auto start = std::chrono::steady_clock::now();
    compute_micro(micro, piece);
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
    parts_.gauges->compute_ns.fetch_add(static_cast<std::uint64_t>(took.count()), std::memory_order_relaxed);
    parts_.gauges->micro_batches.fetch_add(1, std::memory_order_relaxed);
    parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
  }
  if (together_) together_->hand_out(piece.micros, *parts_.exchange);
}

void Trainer::compute_micro(std::uint32_t micro, PieceInHand& piece) {
  const auto& [micros, lane, step, factor_samples, _] = piece;
  Replica& replica = (*parts_.replicas)[lane];
  double judged = 0;
  if (!judged_.empty()) judged = replica.training_loss(take(micro, lane, step - 1, judged_)).loss;
  LaneSink sink(*this, micro, micros, step);
  const MicroBatch batch = piece.next ? *piece.next : take(micro, lane, step, order_);
  piece.next.reset();
  const auto read_next = [&] {
    if (micro + 1 == piece.micros.last || !judged_.empty()) return;
    piece.next = take(micro + 1, piece.lane, piece.step, order_);
    replica.send_ahead(*piece.next);
  };
  const LossSum loss = replica.train(batch, factor_samples, sink, read_next);

  std::array<float, kSummaryFloats> summary{};
  summary[0] = static_cast<float>(loss.loss);
  summary[1] = static_cast<float>(loss.hits);
  summary[kJudgedLoss] = static_cast<float>(judged);
  if (alone_) return alone_->add_summary(summary);
  parts_.exchange->add_leaf(static_cast<std::uint32_t>(parts_.workload->network.blocks().size()), micro,
                            summary, {});
}

Status Trainer::keep(std::uint32_t block, std::uint32_t micro, std::span<const float> fragment) const {
  const auto found = parts_.state->curvature.find(block);
  return found == parts_.state->curvature.end() ? Status() : found->second.add_fragment(micro, fragment);
}

void Trainer::on_fragment(const FragmentArrived& event) {
  const auto found = parts_.state->curvature.find(event.block);
  if (found == parts_.state->curvature.end()) return;
  if (auto added = keep(event.block, event.micro, event.values); !added)
    parts_.event("FragmentRefused", added.error().message);
  if (background_ && found->second.complete()) form_ahead(event.block);
}

// Of a block of its own, on the background thread; whoever needs it first does what is left.
void Trainer::form_ahead(std::uint32_t block) {
  OwnedBlock& owned = owned_[block];
  if (!owned.mine || owned.ahead) return;
  owned.ahead = true;
  if (auto formation = parts_.state->curvature.at(block).formation()) background_->add(std::move(formation));
}

void Trainer::on_sum(const BlockSummed& event) {
  if (event.block == parts_.workload->network.blocks().size()) return publish_summary(event.sum);
  owned_[event.block].summed = true;
  owned_[event.block].sum = event.sum;
}

// The directions of the blocks that have all that they need: all that are ready together, so that lanes share
// them.
void Trainer::publish_ready(bool refresh) {
  const Workload& w = *parts_.workload;
  std::vector<std::uint32_t> ready;
  std::vector<double> step_costs, refresh_costs;
  for (std::uint32_t b = 0; b < w.network.blocks().size(); ++b) {
    const OwnedBlock& owned = owned_[b];
    if (together_ && owned.mine && !owned.summed) return;  // all go as one piece of work
    if (!owned.mine || !owned.summed || owned.published) continue;
    const bool lacks = refresh && w.second_order && !parts_.state->curvature.at(b).complete();
    if (lacks && together_) return;
    if (lacks) continue;
    ready.push_back(b);
    step_costs.push_back(owned.step_cost);
    refresh_costs.push_back(owned.refresh_cost);
  }
  if (ready.empty()) return;
  const std::vector<Status> accepted = accept(ready, refresh_costs);
  if (together_)
    publish_there(ready, accepted);
  else
    run_dearest_first(host(), step_costs, [&](std::size_t i, Lanes& lanes) {
      publish_direction(ready[i], accepted[i].has_value(), lanes);
    });
  parts_.gauges->forms = false;
  tell_refused(accepted);
}

// All that are this actor's, where its vectors are on the GPU.
void Trainer::publish_there(const std::vector<std::uint32_t>& ready, const std::vector<Status>& accepted) {
  std::vector<ResidentGroupStep::Owned> owned;
  for (std::size_t i = 0; i < ready.size(); ++i) {
    OwnedBlock& block = owned_[ready[i]];
    block.published = true;
    owned.push_back({ready[i], block.sum, parts_.workload->second_order && !accepted[i].has_value()});
  }
  together_->publish(*parts_.state, owned, damping_, host(), *parts_.exchange,
                     [&] { parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed); });
}

// Puts what the step renews in force, of such blocks; what becomes of each. Leaves gauges->forms as the
// directions want it.
std::vector<Status> Trainer::accept(const std::vector<std::uint32_t>& blocks,
                                    const std::vector<double>& costs) {
  const Workload& w = *parts_.workload;
  std::vector<Status> accepted(blocks.size());
  const bool takes_effect = w.second_order && w.taking_effect(parts_.state->step + 1) != 0;
  parts_.gauges->forms = takes_effect || w.spec.optimizer.name == "kfac";
  if (!takes_effect) return accepted;
  const auto start = std::chrono::steady_clock::now();
  run_dearest_first(host(), costs, [&](std::size_t i, Lanes& lanes) {
    Curvature& curvature = parts_.state->curvature.at(blocks[i]);
    accepted[i] = background_ ? curvature.accept_waiting(lanes) : curvature.accept(lanes);
    parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
  });
  refresh_seconds_ += seconds_since(start);
  return accepted;
}

void Trainer::tell_refused(const std::vector<Status>& accepted) {
  for (const Status& status : accepted)
    if (!status) parts_.event("CurvatureRefused", status.error().message);
}

// From any lane.
void Trainer::publish_direction(std::uint32_t index, bool accepted, Lanes& lanes) {
  OwnedBlock& owned = owned_[index];
  const Workload& w = *parts_.workload;
  Curvature* curvature = w.second_order ? &parts_.state->curvature.at(index) : nullptr;
  const std::span<float> out = parts_.exchange->direction_buffer(index);
  PublishWord word = block_direction(w, *parts_.state, {index, owned.sum, curvature, damping_}, out, lanes);
  word.refused = w.second_order && !accepted;
  owned.published = true;
  parts_.exchange->publish(index, out, word);
  parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
}

std::uint32_t Trainer::own_flags() const {
  std::uint32_t flags = 0;
  if (ask_.stop || parts_.state->step + 1 >= parts_.workload->steps_total) flags |= kStopAfterStep;
  if (ask_.park) flags |= kParkAfterStep;
  return flags;
}

void Trainer::publish_summary(std::span<float> sum) {
  PublishWord word;
  word.flags = own_flags();
  parts_.exchange->publish(static_cast<std::uint32_t>(owned_.size() - 1), sum, word);
}

void Trainer::commit(const StepComplete& complete, StepMetrics& metrics) {
  if (together_) together_->take(complete);
  StepVectors* there = alone_ != nullptr ? static_cast<StepVectors*>(alone_) : together_;
  const AppliedStep applied = there ? apply_step(*parts_.workload, complete, *there, *parts_.state)
                                    : apply_step(*parts_.workload, complete, host(), *parts_.state);
  if (metrics.refreshed || parts_.workload->taking_effect(metrics.step) != 0) settle_curvature(complete);
  if (applied.left_out && owned_.back().mine)
    parts_.event("StepLeftOut",
                 fmt::format("step {}: gradients overflowed f16; it changes no weight, and the loss scale is "
                             "{:g} from now on",
                             metrics.step, parts_.state->loss_scale.scale));
  metrics.trust_scale = applied.trust_scale;
  metrics.cosine = applied.cosine;
  metrics.reduction_ratio = applied.reduction_ratio;
  metrics.refresh_seconds = refresh_seconds_;
  for (const auto& [block, curvature] : parts_.state->curvature) metrics.curvature_bytes += curvature.bytes();
  parts_.gauges->curvature_bytes = metrics.curvature_bytes;
  metrics.loss = applied.loss;
  metrics.accuracy = applied.accuracy;
  if (!parts_.committed || alone_) return;
  if (!together_)
    parts_.committed(complete);
  else if (ask_.followed)
    parts_.committed(together_->on_host(complete));
}

void Trainer::settle_curvature(const StepComplete& complete) {
  TrainState& state = *parts_.state;
  parts_.gauges->forms = true;  // a backup folds what came for Kronecker factors
  for (auto& [block, curvature] : state.curvature) {
    const bool takes = !background_ && !owned_[block].mine;  // a refresh of this very step, as its backup
    if (takes && complete.refused[block]) curvature.reject();
    if (takes && !complete.refused[block])
      if (auto kept = curvature.accept_unformed(host()); !kept)
        parts_.event("CurvatureRefused", kept.error().message);
    (void)curvature.settle(state.curvature_steps[block], parts_.workload->waiting_after(state.step));
    parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
  }
  parts_.gauges->forms = false;
}

}  // namespace seng
