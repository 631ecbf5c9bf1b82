#include "actors/driver.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "actors/divergence.h"
#include "actors/exchange/zmq_exchange.h"
#include "actors/make_group.h"
#include "actors/sample_devices.h"
#include "protocol/base/file.h"
#include "protocol/base/log.h"

namespace seng {

namespace {

// How long a holder of state may say nothing, in leases: the daemon notices that it is gone long before.
constexpr double kStallLeases = 10;

// A disk that is full for a while is no reason to give the job up before it has begun.
Result<Ledger> open_ledger(const std::string& path, std::chrono::milliseconds patience) {
  constexpr int kTries = 100;
  for (int tries = 1;; ++tries) {
    auto ledger = Ledger::create(path);
    if (ledger || tries == kTries) return ledger;
    std::this_thread::sleep_for(patience / kTries);
  }
}

Status refused(const ErrorReply& refusal) {
  return fail(refusal.code, "the daemon does not want this actor: " + refusal.message);
}

}  // namespace

Driver::Driver(DriverOptions options, Session& session) : options_(std::move(options)), session_(session) {}
Driver::~Driver() {
  session_.on_urgent({});
  session_.on_awaits({});
  session_.on_command({});
}

Status Driver::run() {
  while (!finished_) {
    if (!done_) session_.gauges().activity = kIdle;
    SENG_TRY(on_command(session_.wait()));
  }
  return {};
}

Status Driver::on_command(const Command& command) {
  const bool dismissed =
      std::holds_alternative<Retire>(command.body) || std::holds_alternative<ErrorReply>(command.body);
  if (done_ && dismissed) return flush_ledger(), finished_ = true, Status{};
  done_ = done_ && !std::holds_alternative<Reconfigure>(command.body);
  if (const auto* refusal = std::get_if<ErrorReply>(&command.body)) return refused(*refusal);
  if (const auto* welcome = std::get_if<Welcome>(&command.body)) return on_welcome(*welcome);
  if (std::holds_alternative<Tune>(command.body)) return measure(), Status{};
  if (const auto* take = std::get_if<TakeChoices>(&command.body)) return take_choices(take->choices);
  if (std::holds_alternative<Retire>(command.body)) return retire(), Status{};
  if (const auto* reconfigure = std::get_if<Reconfigure>(&command.body)) {
    if (!trainer_) return fail(ErrorCode::kInternal, "the daemon sent a membership before the job");
    return park(command.epoch, *reconfigure);
  }
  if (const auto* order = std::get_if<WarmUp>(&command.body)) return warm_up(command.epoch, *order), Status{};
  if (command.epoch != group_.epoch) return {};  // of a membership that has passed
  if (const auto* assign = std::get_if<Assign>(&command.body)) return on_assign(*assign);
  if (std::holds_alternative<Resume>(command.body)) return on_resume();
  return {};  // a stop is honoured by the first step
}

// Also of a daemon that was started anew.
Status Driver::on_welcome(const Welcome& welcome) {
  if (!workload_) SENG_TRY(load(welcome));
  if (!trainer_ && welcome.awaits_choices) return {};
  if (!trainer_) SENG_TRY(take_settled(welcome));
  if (!trainer_) SENG_TRY(prepare(welcome));
  session_.send(Prepared{});
  return {};
}

// What a network is planned by.
Status Driver::load(const Welcome& welcome) {
  session_.set_lease(welcome.lease_ms);
  patience_ = std::chrono::milliseconds(static_cast<std::int64_t>(kStallLeases * welcome.lease_ms));
  auto spec = parse_job_spec(welcome.spec_yaml, "job");
  if (!spec) return fail(spec.error());
  auto workload = load_workload(*spec);
  if (!workload) return fail(workload.error());
  for (Dataset* split : {workload->data.train.get(), workload->data.test.get()}) SENG_TRY(split->prepare());
  workload_ = std::make_unique<Workload>(std::move(*workload));
  welcome_ = welcome;
  return {};
}

// Everything else that does not depend on the membership: network, lanes, sockets.
Status Driver::prepare(const Welcome& welcome) {
  const JobSpec& spec = workload_->spec;
  lanes_ = std::make_unique<Lanes>(spec.lanes > 0 ? static_cast<int>(spec.lanes) : options_.slot_lanes);
  if (options_.device == Device::kCuda && options_.host_threads > lanes_->count())
    host_lanes_ = std::make_unique<Lanes>(options_.host_threads);
  if (host_lanes_) log_info("{} threads of the host beside the GPU's lanes", host_lanes_->count());
  SENG_TRY(plan_replicas());
  if (options_.device == Device::kCuda) SENG_TRY(make_sample_devices(*workload_, options_.device));
  state_ = TrainState::initial(*workload_);
  checkpoints_dir_ = welcome.job_dir + "/checkpoints";
  initial_sha256_ = welcome.initial_sha256;
  SENG_TRY(open_sockets(welcome));
  if (spec.ledger) {
    auto ledger =
        open_ledger(welcome.job_dir + "/ledger-" + std::to_string(options_.actor) + ".csv", patience_);
    if (!ledger) return fail(ledger.error());
    ledger_ = std::make_unique<Ledger>(std::move(*ledger));
  }
  trainer_ = std::make_unique<Trainer>(
      Trainer::Parts{.workload = workload_.get(),
                     .state = &state_,
                     .exchange = exchange_.get(),
                     .lanes = lanes_.get(),
                     .replicas = &replicas_,
                     .host = host_lanes_.get(),
                     .ledger = ledger_.get(),
                     .event = [this](const std::string& kind,
                                     const std::string& text) { event(Severity::kWarning, kind, text); },
                     .gauges = &session_.gauges(),
                     .committed = [this](const StepComplete& step) { warm_up_service_->committed(step); }});
  warm_up_service_ = std::make_unique<WarmUpService>(WarmUpService::Parts{
      .server = &transfer_->server(), .workload = workload_.get(), .state = &state_, .lanes = &host_lanes()});
  follower_ =
      std::make_unique<Follower>(Follower::Parts{.job = options_.job,
                                                 .actor = options_.actor,
                                                 .token = welcome.job_token,
                                                 .workload = workload_.get(),
                                                 .lanes = &host_lanes(),
                                                 .state = &state_,
                                                 .transfer = transfer_.get(),
                                                 .gauges = &session_.gauges(),
                                                 .followed = [this] { session_.keep_step(state_.metrics); },
                                                 .patience_ms = static_cast<int>(welcome.lease_ms / 2)});
  evaluation_ = std::make_unique<Evaluation>(*workload_, *exchange_, *lanes_, replicas_, session_.gauges());
  group_checkpoint_ = std::make_unique<GroupCheckpoint>(*workload_, *exchange_, checkpoints_dir_);
  listen();
  welcome_.reset();
  return {};
}

void Driver::listen() {
  session_.on_urgent([this](GroupEpoch epoch, std::optional<GroupEpoch> follows) {
    {
      const std::lock_guard lock(announced_mutex_);
      const bool planned =
          follows && (*follows == current_epoch_ || (follows_ && *follows == followed_epoch_));
      GroupEpoch& newest = planned ? planned_epoch_ : urgent_epoch_;
      newest = std::max(newest, epoch);
      if (planned) return;
    }
    announced_.notify_all();
    exchange_->interrupt("another membership is announced");
    transfer_->interrupt();
  });
  session_.on_awaits([this] { return exchange_->awaits(); });
  session_.on_command([this] {
    if (leaves_warm_up()) follower_->interrupt();
  });
}

Status Driver::open_sockets(const Welcome& welcome) {
  ZmqExchangeOptions options;
  options.step.block_floats = block_floats(workload_->network.blocks());
  options.endpoint = options_.peer_endpoint;
  options.token = welcome.job_token;
  options.nccl = options_.nccl;
  auto exchange = ZmqExchange::open(std::move(options));
  if (!exchange) return fail(exchange.error());
  exchange_ = std::move(*exchange);
  auto transfer = StateTransfer::open({.endpoint = options_.state_endpoint,
                                       .token = welcome.job_token,
                                       .stall_s = 1e-3 * static_cast<double>(patience_.count()),
                                       .pieces = &session_.gauges().counter},
                                      *workload_, state_);
  if (!transfer) return fail(transfer.error());
  transfer_ = std::move(*transfer);
  return {};
}

void Driver::event(Severity severity, const std::string& kind, const std::string& text) {
  session_.send(ActorEvent{severity, kind, text});
}

bool Driver::is_member() const {
  return std::ranges::any_of(group_.members,
                             [&](const Member& member) { return member.actor == options_.actor; });
}

bool Driver::must_leave() const {
  const std::lock_guard lock(announced_mutex_);
  return urgent_epoch_ > group_.epoch;
}

// A peer that has heard of the next membership before this actor did refuses what it is asked.
bool Driver::will_leave() const {
  std::unique_lock lock(announced_mutex_);
  return announced_.wait_for(lock, patience_, [&] { return urgent_epoch_ > group_.epoch; });
}

bool Driver::change_is_planned() const {
  const std::lock_guard lock(announced_mutex_);
  return planned_epoch_ > group_.epoch;
}

// Whatever was under way is dropped; the state is that of a committed step.
Status Driver::park(const GroupEpoch& epoch, const Reconfigure& reconfigure) {
  transfer_->begin(reconfigure.planned && reconfigure.follows == group_.epoch);
  leave_checkpoint();
  warm_up_service_->end();
  follower_->end();       // of a membership that is over, whatever becomes of this one
  session_.tell_steps();  // as the word of who led
  group_ = make_group(options_.job, options_.actor, epoch, *workload_, reconfigure.members);
  participants_ = reconfigure.members;
  participants_.insert(participants_.end(), reconfigure.leavers.begin(), reconfigure.leavers.end());
  planned_ = reconfigure.planned;
  assigned_ = false;
  if (reconfigure.restore) {
    // One who has not restored has not parked, so that whatever comes next restores too.
    if (!group_checkpoint_->wait_for_files([this] { return must_leave(); })) return {};
    const Status restored = restore();
    if (!restored && must_leave()) return {};
    SENG_TRY(restored);
  }
  {
    const std::lock_guard lock(announced_mutex_);
    current_epoch_ = epoch;
  }
  session_.set_epoch(epoch);
  session_.set_applied_step(state_.step);
  session_.send(Parked{state_.step, transfer_->held(), state_.lineage});
  return {};
}

Status Driver::on_resume() {
  // Others may train on in it.
  if (assigned_) state_.lineage = lineage_in(*workload_, group_.epoch);
  if (!assigned_ || must_leave()) return {};
  assigned_ = false;
  followed_ = false;
  SENG_TRY(transfer_->take_over(group_.epoch));
  trainer_->set_group(group_);
  // Some members may have done what follows from the base step, others not, and the one who reported it may
  // be gone: it is done again, and what comes twice is one and the same.
  if (state_.step > 0 && !planned_) {
    const bool last = state_.step >= workload_->steps_total;
    SENG_TRY(after_step(last));
    if (done_ || last || gives_up() || must_leave()) return {};
  } else if (state_.step >= workload_->steps_total) {
    return after_step(true);
  }
  return train();
}

// Rows of the ledger that have found no room would go with this process: it waits for some, half as long as
// the daemon waits for its end.
void Driver::flush_ledger() {
  for (int i = 0; ledger_ && i < 100 && !ledger_->publish(); ++i)
    std::this_thread::sleep_for(patience_ / 200);
}

// What the others needed of this actor they have.
void Driver::retire() {
  if (transfer_) transfer_->begin();
  flush_ledger();
  Finished finished;
  finished.step = state_.step;
  finished.retired = true;
  session_.send(finished);
  finished_ = true;
}

// Whoever comes next finds the state on the host.
Status Driver::train() {
  Status trained = take_steps();
  trainer_->bring_home();
  return trained;
}

Status Driver::take_steps() {
  while (true) {
    serve_newcomers();
    const auto result = trainer_->step({.stop = session_.stop_requested(),
                                        .park = change_is_planned(),
                                        .followed = warm_up_service_->is_followed()});
    if (!result) {
      log_info("step {} was left: {}", state_.step + 1, trainer_->interruption());
      return interrupted(trainer_->interruption());
    }
    const StepMetrics& metrics = result->metrics;
    if (ledger_) note_ledger(ledger_->commit(group_.epoch, state_.step));
    session_.set_applied_step(state_.step);
    session_.add_step(metrics, leads());
    state_.metrics = metrics;
    state_.tally.add(metrics.loss, metrics.accuracy, metrics.seconds);
    SENG_TRY(after_step(result->stop));
    if (gives_up()) return {};
    // Whoever parks of its own will may be gone in the next membership, and its part with it.
    if (result->park) return finish_checkpoint();
    if (result->stop || must_leave()) return {};
    if (const auto report = group_checkpoint_->advance()) tell(*report);
  }
}

// Training goes on without it: what could not be written waits for room.
void Driver::note_ledger(const Status& written) {
  if (!written && !ledger_failed_) event(Severity::kWarning, "LedgerFailed", written.error().message);
  ledger_failed_ = !written;
}

// Back to the daemon's commands, if one of them is the reason; else nobody would ever wake this actor again.
Status Driver::interrupted(const std::string& reason) const {
  if (will_leave()) return {};
  return fail(ErrorCode::kUnavailable, reason);
}

Status Driver::after_step(bool last) {
  tell_missing_graphs();
  const std::uint64_t step = state_.step;
  const bool saves = workload_->checkpoints(step) || last;
  if (saves || workload_->evaluates(step)) trainer_->bring_home();
  look_for_divergence(saves || workload_->evaluates(step));
  if (gives_up()) return give_up();
  session_.gauges().activity = kSaving;
  std::optional<EvaluationResult> evaluation;
  if (workload_->evaluates(step)) {
    evaluation = evaluation_->run(state_, group_);
    if (leads() && !evaluation) return interrupted("the evaluation was left");
  }
  if (workload_->evaluates(step) || workload_->ends_epoch(step)) report_epoch(evaluation);
  // One without finite weights would push out those that training can go back to.
  if (last || (saves && all_finite(state_.parameters))) return checkpoint(last);
  return {};
}

// All members hold the same step's loss and weights, so that all come to the same end.
void Driver::look_for_divergence(bool weights) {
  if (!divergence_.empty()) return;
  const bool loss = !std::isfinite(state_.tally.loss);
  if (!loss && (!weights || all_finite(state_.parameters))) return;
  divergence_ = divergence_text(*workload_, state_.step, loss ? "the loss" : "a weight");
  if (leads()) event(Severity::kWarning, "LossNotFinite", divergence_);
}

// What is still being written is of a step before, and good. The daemon retires everybody.
Status Driver::give_up() {
  SENG_TRY(finish_checkpoint());
  if (!leads() || must_leave()) return {};
  Finished finished;
  finished.step = state_.step;
  finished.failure = divergence_;
  session_.send(finished);
  done_ = true;
  return {};
}

void Driver::report_epoch(const std::optional<EvaluationResult>& evaluation) {
  EpochTally& tally = state_.tally;
  tally.closed = true;
  if (!leads() || tally.steps == 0) return;
  EpochMetrics epoch;
  epoch.epoch = workload_->epoch_after(state_.step);
  epoch.step = state_.step;
  const double steps = static_cast<double>(tally.steps);
  epoch.train_loss = tally.loss / steps;
  epoch.train_accuracy = tally.accuracy / steps;
  if (tally.timed_steps > 0) {
    const double per_step = tally.seconds / static_cast<double>(tally.timed_steps);
    epoch.seconds = steps * per_step;
    epoch.images_per_second = workload_->spec.batch_global / per_step;
  }
  if (evaluation) {
    epoch.test_loss = evaluation->loss;
    epoch.test_accuracy = evaluation->accuracy;
    if (divergence_.empty() && !std::isfinite(evaluation->loss))
      event(Severity::kWarning, "LossNotFinite",
            divergence_text(*workload_, state_.step, "the loss on the test set"));
  }
  const std::string tested = evaluation ? fmt::format(", test accuracy {:.4f}", epoch.test_accuracy) : "";
  log_info("epoch {:.2f} step {}: train loss {:.4f}{}, {:.0f} images/s", epoch.epoch, epoch.step,
           epoch.train_loss, tested, epoch.images_per_second);
  session_.send(EpochReport{epoch});
}

// Written beside training, but for the last one. One that comes due while that before is still being written
// waits for it.
Status Driver::checkpoint(bool last) {
  if (leads()) session_.report_soon();  // steps behind which the job never goes back must have been told
  SENG_TRY(finish_checkpoint());
  if (must_leave()) return {};
  if (!group_checkpoint_->begin(state_, group_, [this] { return must_leave(); })) return {};
  if (!last) return {};
  return finish_checkpoint(true);
}

// The leader's word that the last checkpoint is there ends the job. Where it cannot be written the daemon has
// the group try again, later.
Status Driver::finish_checkpoint(bool last) {
  const GroupCheckpoint::Outcome outcome = group_checkpoint_->finish([this] { return must_leave(); });
  if (outcome.interrupted) return interrupted("the checkpoint was left");
  if (!outcome.report) return {};
  tell(*outcome.report);
  if (!last || !outcome.report->error.empty()) return {};
  Finished finished;
  finished.step = state_.step;
  finished.stopped = state_.step < workload_->steps_total;
  finished.weights_sha256 = outcome.report->weights_sha256;
  finished.state_sha256 = outcome.report->state_sha256;
  session_.send(finished);
  done_ = true;
  return {};
}

void Driver::tell(const GroupCheckpoint::Report& report) {
  session_.send(report, report.epoch);
  if (!report.error.empty()) log_warning("checkpoint of step {}: {}", report.step, report.error);
}

// What the members of before have not all written never becomes whole.
void Driver::leave_checkpoint() {
  if (!group_checkpoint_) return;
  if (const auto step = group_checkpoint_->leave()) {
    log_info("the checkpoint of step {} was left", *step);
    if (leads()) event(Severity::kInfo, "CheckpointLeft", "the checkpoint of step " + std::to_string(*step));
  }
}

}  // namespace seng
