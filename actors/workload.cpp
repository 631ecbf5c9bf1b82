#include "actors/workload.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <unistd.h>

#include "actors/optim/update.h"
#include "actors/pilot_ranks.h"

namespace seng {

namespace {

// A step ends an interval when the count of whole intervals grows with it.
bool crosses(double every, double before, double after) {
  constexpr double kSlack = 1e-9;  // 1.0 epochs may be reached as 0.9999999999
  return std::floor(after / every + kSlack) > std::floor(before / every + kSlack);
}

double physical_bytes() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Weights, their gradient, and the weights in the kernels' own layout, before any activation.
double least_replica_bytes(const Network& network) {
  return 3.0 * sizeof(float) * static_cast<double>(network.parameter_count());
}

// Per block, as FormOptions has it.
Result<std::vector<int>> ranks_of(const Workload& workload) {
  const std::uint32_t rank = workload.spec.optimizer.curvature.rank;
  const std::string& decided = workload.spec.optimizer.curvature.ranks;
  if (rank == 0 || workload.spec.optimizer.name == "kfac") return std::vector<int>();
  if (rank == CurvatureSpec::kRankAuto && !decided.empty()) {
    auto ranks = parse_ranks(decided);
    if (ranks && ranks->size() != workload.network.blocks().size())
      return fail(ErrorCode::kInvalidArgument,
                  "optimizer.curvature.ranks has " + std::to_string(ranks->size()) +
                      " ranks; this network has " + std::to_string(workload.network.blocks().size()) +
                      " blocks: they were decided for another one, as that of initial.checkpoint");
    return ranks;
  }
  // A network that will be refused for its size is not made for its ranks.
  if (rank == CurvatureSpec::kRankAuto && least_replica_bytes(workload.network) < physical_bytes() / 4)
    return pilot_ranks(workload.spec, workload.network, *workload.data.train);
  const std::uint32_t all = std::min(rank, CurvatureSpec::kRankAuto - 1);
  return std::vector<int>(workload.network.blocks().size(), static_cast<int>(all));
}

// Kronecker factors are floats everywhere.
Precision precision_of(const OptimizerSpec& optimizer, const std::string& dtype) {
  return optimizer.name == "seng" && dtype == "bf16" ? Precision::kBf16 : Precision::kF32;
}

FormOptions form_options(const OptimizerSpec& optimizer, const std::vector<int>& ranks) {
  const CurvatureSpec& spec = optimizer.curvature;
  FormOptions options;
  if (optimizer.name == "kfac") options.factor_sets = spec.inverse_every > 1 ? 2 : 1;
  options.samples = spec.samples;
  options.every = spec.every;
  options.batch_norm_scale = spec.batch_norm == "scale";
  options.representation = spec.representation;
  options.ranks = ranks;
  options.rank_method = spec.rank_method == "svd" ? RankMethod::kSvd : RankMethod::kSubspace;
  options.stored = precision_of(optimizer, spec.dtype);
  options.approximations = approximations(optimizer);
  options.memory_bytes = std::size_t(spec.memory_mib) << 20;
  return options;
}

double whole_steps(double epochs, const JobSpec& spec, std::size_t samples) {
  return std::ceil(epochs * static_cast<double>(samples) / spec.batch_global - 1e-9);
}

}  // namespace

double Workload::damping_at(std::uint64_t step) const {
  return damping_value(spec.optimizer, epoch_after(step - 1));
}

bool Workload::evaluates(std::uint64_t step) const {
  if (step >= steps_total) return true;
  const double every = spec.evaluate_every_epochs;
  return every > 0 && crosses(every, epoch_after(step - 1), epoch_after(step));
}

bool Workload::checkpoints(std::uint64_t step) const {
  if (step >= steps_total) return true;
  return spec.checkpoint_every_steps > 0 && step % spec.checkpoint_every_steps == 0;
}

bool Workload::ends_epoch(std::uint64_t step) const {
  return step >= steps_total || crosses(1.0, epoch_after(step - 1), epoch_after(step));
}

ReplicaOptions replica_options(const JobSpec& spec) {
  ReplicaOptions options;
  options.micro_batch = static_cast<int>(spec.batch_micro);
  options.label_smoothing = spec.label_smoothing;
  options.direct_convolution = spec.engine_convolution == "direct";
  options.precision = arithmetic_of(spec.engine_precision).value_or(Arithmetic::kF32);
  options.graphs = spec.engine_graphs == "auto";
  options.checkpoint_activations = spec.engine_checkpoint_activations;
  return options;
}

double length_in_steps(const JobSpec& spec, std::size_t samples) {
  return spec.steps > 0 ? static_cast<double>(spec.steps) : whole_steps(spec.epochs, spec, samples);
}

bool schedule_may_end_itself(const ScheduleSpec& lr) {
  return lr.kind == "exp" || lr.kind == "poly";
}

bool schedule_ends(const ScheduleSpec& lr) {
  return lr.kind == "cosine" || schedule_may_end_itself(lr);
}

double schedule_end_in_steps(const JobSpec& spec, std::size_t samples) {
  const ScheduleSpec& lr = spec.optimizer.lr;
  return schedule_may_end_itself(lr) && lr.end_epochs > 0 ? whole_steps(lr.end_epochs, spec, samples)
                                                          : length_in_steps(spec, samples);
}

Result<Workload> load_workload(const JobSpec& spec) {
  auto data = open_dataset(spec.data_name, spec.data_root, spec.data_options);
  if (!data) return fail(data.error().with_context("data"));
  const Dataset& train = *data->train;
  const ImageShape image{train.channels(), train.height(), train.width()};
  const bool written = !spec.model_layers.empty();
  auto network = written ? Network::create(spec.model_layers, image, train.classes())
                         : Network::create(spec.model_name, spec.model_options, image, train.classes());
  if (!network && network.error().message.starts_with("model.")) return fail(network.error());
  if (!network) return fail(network.error().with_context(written ? "model.layers" : "model"));

  auto augmenter = Augmenter::create(spec.augment, spec.seed, *data->train);
  if (!augmenter) return fail(augmenter.error());
  Workload workload{spec, std::move(*network), std::move(*data),
                    std::make_unique<Augmenter>(std::move(*augmenter))};
  if (spec.batch_global > workload.data.train->size())
    return fail(ErrorCode::kInvalidArgument,
                "batch.global: " + std::to_string(spec.batch_global) + " is more than the " +
                    std::to_string(workload.data.train->size()) + " training samples of " + spec.data_name);
  const double steps = length_in_steps(spec, workload.data.train->size());
  if (!(steps >= 1) || steps > 1e12)
    return fail(ErrorCode::kInvalidArgument,
                "epochs: gives " + std::to_string(steps) + " steps; expected 1 to 1e12");
  workload.steps_total = static_cast<std::uint64_t>(steps);
  workload.epochs_total = workload.epoch_after(workload.steps_total);
  workload.schedule_end = workload.epoch_after(
      static_cast<std::uint64_t>(schedule_end_in_steps(spec, workload.data.train->size())));

  workload.second_order = has_curvature(spec.optimizer.name);
  if (workload.second_order) {
    const CurvatureSpec& curvature = spec.optimizer.curvature;
    workload.stored = precision_of(spec.optimizer, curvature.dtype);
    workload.factor_samples = static_cast<int>(curvature.samples / spec.micro_batches());
    const auto ranks = ranks_of(workload);
    if (!ranks) return fail(ranks.error().with_context("optimizer.curvature.rank"));
    // Decided once: rounding differs between machines, and with it may what a rank holds.
    if (curvature.rank == CurvatureSpec::kRankAuto)
      workload.spec.optimizer.curvature.ranks = ranks_text(*ranks);
    const auto forms = choose_forms(workload.network.blocks(), form_options(spec.optimizer, *ranks));
    if (!forms) return fail(forms.error().with_context("optimizer.curvature.memory_mib"));
    for (std::size_t i = 0; i < forms->size(); ++i)
      workload.fragments.push_back(fragment_shape(workload.network.blocks()[i], (*forms)[i],
                                                  workload.factor_samples,
                                                  precision_of(spec.optimizer, curvature.fragment_dtype)));
  }
  return workload;
}

Approximations approximations(const OptimizerSpec& optimizer) {
  const CurvatureSpec& spec = optimizer.curvature;
  Approximations out;
  if (spec.sketch != "none")
    out.sketch = {spec.sketch == "rows" ? SketchKind::kRows : SketchKind::kCountSketch, spec.sketch_rows};
  if (spec.product != "exact")
    out.product = {spec.product == "authors" ? ProductKind::kAuthors : ProductKind::kCountSketch,
                   spec.product_buckets};
  return out;
}

std::vector<FactorCut> factor_cuts(const Workload& workload) {
  std::vector<FactorCut> cuts;
  for (const FragmentShape& shape : workload.fragments) {
    const bool cut = shape.form.representation == Representation::kLowRank &&
                     shape.form.rank_method == RankMethod::kSubspace;
    cuts.push_back(cut ? FactorCut{shape.form.rank, shape.wire == Precision::kBf16} : FactorCut{});
  }
  return cuts;
}

FormCost block_cost(const Workload& workload, std::size_t block) {
  if (!workload.second_order) return {};
  return form_cost(workload.network.blocks()[block], workload.fragments[block].form,
                   workload.spec.optimizer.curvature.samples, workload.stored,
                   approximations(workload.spec.optimizer));
}

Result<ReplicaMemory> replica_memory(const Workload& workload) {
  ReplicaOptions options = replica_options(workload.spec);
  options.precision = Arithmetic::kF32;  // planned on the CPU
  const int wanted = options.micro_batch;
  const double physical = physical_bytes(), least = least_replica_bytes(workload.network);
  if (least > physical / 4) return ReplicaMemory{static_cast<std::size_t>(std::min(least, 9e18)), 0};
  const auto of = [&](int micro_batch) {
    options.micro_batch = micro_batch;
    Replica replica(workload.network, options);
    if (workload.factor_samples > 0) replica.plan_factors(std::min(workload.factor_samples, micro_batch));
    return ReplicaMemory{replica.bytes(), replica.activation_bytes()};
  };
  try {
    const ReplicaMemory one = of(1), two = of(2);
    const auto at_wanted = [&](std::size_t first, std::size_t second) {
      const double slope = static_cast<double>(second) - static_cast<double>(first);
      return static_cast<std::size_t>(std::min(static_cast<double>(first) + slope * (wanted - 1), 9e18));
    };
    const ReplicaMemory estimate{at_wanted(one.bytes, two.bytes),
                                 at_wanted(one.activations, two.activations)};
    if (static_cast<double>(estimate.bytes) > physical / 4) return estimate;
    return of(wanted);
  } catch (const VendorError& error) {
    return fail(ErrorCode::kInvalidArgument, std::string("model: the engine cannot run it: ") + error.what());
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "model: it does not fit into this machine's memory");
  }
}

}  // namespace seng
