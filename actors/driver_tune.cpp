// Driver: what it says of replicas on GPUs: with which algorithms they convolve, in a job with `engine.tune`,
// and whether passes are repeated.
#include <algorithm>
#include <chrono>
#include <optional>

#include "actors/driver.h"
#include "actors/engine/convolution_tuner.h"
#include "actors/exchange/sum_pieces.h"
#include "actors/resident_home.h"
#include "protocol/base/log.h"

namespace seng {

// By planning a network as each lane will, which is then thrown away.
void Driver::measure() {
  if (!workload_ || trainer_) return;
  const auto begin = std::chrono::steady_clock::now();
  ConvolutionTuner tuner(options_.device_name);
  {
    ReplicaOptions options = replica_options(workload_->spec);
    options.device = options_.device;
    options.chooser = &tuner;
    const Replica measured(workload_->network, options);
  }
  Tuned told;
  told.tuning.choices = tuner.choices().to_text();
  told.tuning.device = options_.device_name;
  told.tuning.count = static_cast<std::uint32_t>(tuner.choices().size());
  told.tuning.candidates = static_cast<std::uint32_t>(tuner.candidates());
  told.tuning.expected_ms = tuner.expected_ms();
  told.tuning.chosen_ms = tuner.chosen_ms();
  told.tuning.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  session_.send(told);
}

// Checkpoints carry them on from here.
Status Driver::take_choices(const std::string& choices) {
  if (!workload_ || trainer_) return {};
  workload_->spec.engine_choices = choices;
  SENG_TRY(prepare(*welcome_));
  session_.send(Prepared{});
  return {};
}

// Of a daemon that was started anew since this actor began to wait: the choices stand in the job.
Status Driver::take_settled(const Welcome& welcome) {
  if (!workload_->spec.engine_tune) return {};
  auto spec = parse_job_spec(welcome.spec_yaml, "job");
  if (!spec) return fail(spec.error());
  workload_->spec.engine_choices = std::move(spec->engine_choices);
  return {};
}

Status Driver::plan_replicas() {
  const JobSpec& spec = workload_->spec;
  std::optional<TunedConvolutions> chooser;
  if (spec.engine_tune && options_.device == Device::kCuda) {
    auto choices = ConvolutionChoices::parse(spec.engine_choices);
    if (!choices) return fail(choices.error().with_context("engine.choices"));
    chooser.emplace(std::move(*choices));
  }
  ReplicaOptions options = replica_options(spec);
  options.device = options_.device;
  options.cuts = factor_cuts(*workload_);
  options.chooser = chooser ? &*chooser : nullptr;
  if (options_.device == Device::kCuda) options.sums_held = held_sums(*workload_, lanes_->count());
  if (options.sums_held > 0)
    log_info("gradients of up to {} micro-batches are added on the GPU",
             largest_piece(spec.micro_batches(), lanes_->count()));
  const auto cut = std::ranges::count_if(options.cuts, [](const FactorCut& each) { return each.rank > 0; });
  if (cut > 0 && options_.device == Device::kCuda)
    log_info("the GPU cuts the factors of {} of {} blocks to low rank", cut, options.cuts.size());
  for (int i = 0; i < lanes_->count(); ++i) replicas_.emplace_back(workload_->network, options);
  if (const std::string missing = chooser ? chooser->shortfall() : ""; !missing.empty()) {
    log_warning("{}", missing);
    event(Severity::kWarning, "ChoicesMissing", missing);
  }
  return {};
}

// Once.
void Driver::tell_missing_graphs() {
  if (graphless_) return;
  std::string missing = trainer_->graph_shortfall();
  for (const Replica& replica : replicas_)
    if (missing.empty()) missing = replica.graph_shortfall();
  if (missing.empty()) return;
  log_warning("{}", missing);
  event(Severity::kWarning, "GraphsMissing", missing);
  graphless_ = true;
}

}  // namespace seng
