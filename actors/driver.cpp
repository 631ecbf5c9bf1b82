#include "actors/driver.h"

#include "actors/exchange/placement.h"
#include "actors/exchange/zmq_exchange.h"
#include "protocol/base/file.h"
#include "protocol/base/log.h"

namespace seng {

namespace {

PlacementOptions placement_options(const Workload& workload) {
  if (!workload.second_order) return {};
  const CurvatureSpec& curvature = workload.spec.optimizer.curvature;
  return {.curvature_samples = curvature.samples, .refresh_every = curvature.every};
}

Status refused(const ErrorReply& refusal) {
  return fail(refusal.code, "the daemon does not want this actor: " + refusal.message);
}

}  // namespace

Driver::Driver(DriverOptions options, Session& session) : options_(std::move(options)), session_(session) {}
Driver::~Driver() {
  session_.on_urgent({});
}

Status Driver::run() {
  while (!finished_) {
    const Command command = session_.wait();
    if (const auto* refusal = std::get_if<ErrorReply>(&command.body)) return refused(*refusal);
    if (const auto* welcome = std::get_if<Welcome>(&command.body)) SENG_TRY(prepare(*welcome));
    if (std::holds_alternative<Reconfigure>(command.body)) {
      if (!workload_) return fail(ErrorCode::kInternal, "the daemon sent a membership before the job");
      SENG_TRY(enter_group(command));
    }
    // A stop that comes before training began is honoured by the first step.
  }
  return {};
}

// Everything that does not depend on the membership: data, network, lanes, sockets.
Status Driver::prepare(const Welcome& welcome) {
  session_.set_lease(welcome.lease_ms);
  auto spec = parse_job_spec(welcome.spec_yaml, "job");
  if (!spec) return fail(spec.error());
  auto workload = load_workload(*spec);
  if (!workload) return fail(workload.error());
  workload_ = std::make_unique<Workload>(std::move(*workload));
  const int lanes = spec->lanes > 0 ? static_cast<int>(spec->lanes) : options_.slot_lanes;
  lanes_ = std::make_unique<Lanes>(lanes);
  for (int i = 0; i < lanes; ++i) replicas_.emplace_back(workload_->network, replica_options(*spec));
  state_ = TrainState::initial(*workload_);

  ZmqExchangeOptions options;
  options.step.block_floats = block_floats(workload_->network.blocks());
  options.endpoint = options_.peer_endpoint;
  options.token = welcome.job_token;
  auto exchange = ZmqExchange::open(std::move(options));
  if (!exchange) return fail(exchange.error());
  exchange_ = std::move(*exchange);

  if (spec->ledger) {
    const std::string path = welcome.job_dir + "/ledger-" + std::to_string(options_.actor) + ".csv";
    auto ledger = Ledger::create(path);
    if (!ledger) return fail(ledger.error());
    ledger_ = std::make_unique<Ledger>(std::move(*ledger));
  }
  trainer_ = std::make_unique<Trainer>(
      Trainer::Parts{.workload = workload_.get(),
                     .state = &state_,
                     .exchange = exchange_.get(),
                     .lanes = lanes_.get(),
                     .replicas = &replicas_,
                     .ledger = ledger_.get(),
                     .event =
                         [this](const std::string& kind, const std::string& text) {
                           session_.send(ActorEvent{Severity::kWarning, kind, text});
                         },
                     .progress = &session_.progress()});
  evaluation_ = std::make_unique<Evaluation>(*workload_, *exchange_, *lanes_, replicas_);
  group_checkpoint_ =
      std::make_unique<GroupCheckpoint>(*workload_, *exchange_, welcome.job_dir + "/checkpoints");
  session_.on_urgent([this] {
    asked_to_leave_ = true;
    exchange_->interrupt("the daemon asks for another membership");
  });
  return {};
}

// Reconfigure -> Parked -> Assign -> Ready -> Resume, then trains. A newer Reconfigure at any point starts it
// again.
Status Driver::enter_group(const Command& first) {
  Command command = first;
  while (true) {
    const auto* reconfigure = std::get_if<Reconfigure>(&command.body);
    if (reconfigure) {
      asked_to_leave_ = false;
      group_ = Group{.job = options_.job,
                     .epoch = command.epoch,
                     .self = options_.actor,
                     .micro_batches = workload_->spec.micro_batches(),
                     .members = reconfigure->members,
                     .placement = {},
                     .fragment_floats = {}};
      for (const FragmentShape& shape : workload_->fragments) group_.fragment_floats.push_back(shape.floats);
      group_.placement =
          place_blocks(workload_->network.blocks(), group_.members, placement_options(*workload_));
      session_.set_epoch(group_.epoch);
      session_.send(Parked{state_.step});
    } else if (command.epoch == group_.epoch && std::holds_alternative<Assign>(command.body)) {
      const std::uint64_t base = std::get<Assign>(command.body).base_step;
      if (base != state_.step)
        return fail(ErrorCode::kUnavailable, "the group starts from step " + std::to_string(base) +
                                                 ", this actor has step " + std::to_string(state_.step));
      SENG_TRY(exchange_->join(group_));
      trainer_->set_group(group_);
      session_.send(Ready{});
    } else if (command.epoch == group_.epoch && std::holds_alternative<Resume>(command.body)) {
      return train();
    }
    command = session_.wait();
    if (const auto* refusal = std::get_if<ErrorReply>(&command.body)) return refused(*refusal);
  }
}

Status Driver::train() {
  while (!finished_) {
    const auto result = trainer_->step(session_.stop_requested());
    if (!result) {
      log_info("step {} was left: {}", state_.step + 1, trainer_->interruption());
      return interrupted(trainer_->interruption());
    }
    if (ledger_) SENG_TRY(ledger_->commit(group_.epoch, state_.step));
    session_.set_applied_step(state_.step);
    session_.add_step(result->metrics, leads());
    running_.loss += result->metrics.loss;
    running_.accuracy += result->metrics.accuracy;
    running_.seconds += result->metrics.seconds;
    running_.steps += 1;
    SENG_TRY(after_step(result->metrics, result->stop));
    if (asked_to_leave_) return {};
  }
  return {};
}

// Back to the daemon's commands, if one of them is the reason; else nobody would ever wake this actor again.
Status Driver::interrupted(const std::string& reason) const {
  if (asked_to_leave_) return {};
  return fail(ErrorCode::kUnavailable, reason);
}

Status Driver::after_step(const StepMetrics& metrics, bool last) {
  const std::uint64_t step = state_.step;
  const bool stopped = last && step < workload_->steps_total;
  std::optional<EvaluationResult> evaluation;
  // A job that is being stopped saves its state first and foremost: the daemon waits for that only so long.
  if (workload_->evaluates(step)) {
    evaluation = evaluation_->run(state_, group_);
    if (leads() && !evaluation) return interrupted("the evaluation was left");
  }
  if (evaluation || workload_->ends_epoch(step)) report_epoch(metrics, evaluation);
  if (workload_->checkpoints(step) || last) return checkpoint(last, stopped);
  return {};
}

void Driver::report_epoch(const StepMetrics& metrics, const std::optional<EvaluationResult>& evaluation) {
  EpochMetrics epoch;
  epoch.epoch = metrics.epoch;
  epoch.step = metrics.step;
  const double steps = static_cast<double>(running_.steps);
  epoch.train_loss = running_.loss / steps;
  epoch.train_accuracy = running_.accuracy / steps;
  epoch.seconds = running_.seconds;
  epoch.images_per_second = steps * workload_->spec.batch_global / running_.seconds;
  if (evaluation) {
    epoch.test_loss = evaluation->loss;
    epoch.test_accuracy = evaluation->accuracy;
  }
  running_ = {};
  if (!leads()) return;
  log_info("epoch {:.2f} step {}: train loss {:.4f}, test accuracy {:.4f}, {:.0f} images/s", epoch.epoch,
           epoch.step, epoch.train_loss, epoch.test_accuracy, epoch.images_per_second);
  session_.send(EpochReport{epoch});
}

Status Driver::checkpoint(bool last, bool stopped) {
  auto report = group_checkpoint_->write(state_, group_);
  if (leads()) {
    if (!report) return interrupted("the checkpoint was left");
    session_.send(*report);
    if (!report->error.empty()) log_warning("checkpoint of step {}: {}", report->step, report->error);
    if (last && !report->error.empty())
      return fail(ErrorCode::kIo, "the last checkpoint (step " + std::to_string(state_.step) +
                                      ") could not be written: " + report->error);
  }
  if (!last) return {};
  Finished finished;
  finished.step = state_.step;
  finished.stopped = stopped;
  if (report) {
    finished.weights_sha256 = report->weights_sha256;
    finished.state_sha256 = report->state_sha256;
  }
  session_.send(finished);
  finished_ = true;
  return {};
}

}  // namespace seng
