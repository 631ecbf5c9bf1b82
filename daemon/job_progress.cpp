#include "daemon/job_progress.h"

#include <algorithm>
#include <cmath>

namespace seng {
namespace {

// What a report keeps of its weight when the next one comes, a third of a second later.
constexpr double kFading = 0.9;

}  // namespace

void JobProgress::Mean::add(double new_loss, double new_accuracy, double new_steps) {
  if (new_steps <= 0) return;
  steps += new_steps;
  loss += (new_loss - loss) * new_steps / steps;
  accuracy += (new_accuracy - accuracy) * new_steps / steps;
}

void JobProgress::set_step(std::uint64_t step, JobRecord& record) const {
  record.step = std::max(record.step, std::min(step, plan_.steps_total));
  record.samples_seen = record.step * plan_.batch_global;
  if (plan_.train_samples > 0) {
    record.epochs = static_cast<double>(record.samples_seen) / static_cast<double>(plan_.train_samples);
  }
}

// The pass, from 0, in which the step's first sample lies.
double JobProgress::epoch_of(std::uint64_t step) const {
  if (plan_.train_samples == 0 || step == 0) return 0;
  const std::uint64_t passes = (step - 1) * plan_.batch_global / plan_.train_samples;
  return static_cast<double>(passes);
}

void JobProgress::go_back(std::uint64_t step, JobRecord& record) const {
  record.step = 0;
  set_step(step, record);
}

void JobProgress::add_step(const StepMetrics& step, JobRecord& record) {
  const double epoch = epoch_of(step.step);
  // Sent again, or made again; but what a daemon before this one took and had not stored comes behind what
  // this one found waiting.
  const bool late = step.step <= newest_step_;
  const bool unknown = epoch == epoch_in_hand_ && so_far_.steps > 0 && counted_.size() < kMostCounted;
  if (late && (!unknown || counted_.contains(step.step))) return;
  newest_step_ = std::max(newest_step_, step.step);
  if (epoch != epoch_in_hand_) so_far_ = {}, counted_.clear();
  epoch_in_hand_ = epoch;
  so_far_.add(step.loss, step.accuracy, 1);
  if (counted_.size() < kMostCounted) counted_.insert(step.step);
  if (step.step > record_step_) {  // else the leader has said what the whole of it came to
    record.train_loss = so_far_.loss;
    record.train_accuracy = so_far_.accuracy;
  }
  if (late || step.seconds <= 0) return;
  recent_seconds_ += step.seconds;
  recent_steps_ += 1;
}

void JobProgress::on(const Progress& report, bool leads, JobRecord& record) {
  set_step(report.applied_step, record);
  if (leads) on_late(report.steps, record);
}

void JobProgress::on_late(const std::vector<StepMetrics>& steps, JobRecord& record) {
  if (steps.empty()) return;
  recent_seconds_ *= kFading;
  recent_steps_ *= kFading;
  for (const StepMetrics& step : steps) add_step(step, record);
  if (recent_seconds_ > 0) record.images_per_second = recent_steps_ * plan_.batch_global / recent_seconds_;
}

void JobProgress::on(const EpochReport& report, JobRecord& record) {
  const EpochMetrics& m = report.metrics;
  set_step(m.step, record);
  if (m.test_accuracy >= 0) {
    record.test_loss = m.test_loss;
    record.test_accuracy = m.test_accuracy;
  }
  if (m.step <= record_step_) return;  // an evaluation without a step since, or sent again
  this_epoch_.add(m.train_loss, m.train_accuracy, static_cast<double>(m.step - record_step_));
  record_step_ = m.step;
  // A pass ends within a step in general, so a record counts as its end from one step before.
  const double reached = m.epoch + m.epoch / static_cast<double>(m.step);
  const bool whole = reached >= next_epoch_;
  // Within a pass the report says no more than its steps, unless it comes before them, which then do not
  // count.
  if (whole || newest_step_ < m.step) {
    record.train_loss = this_epoch_.loss;
    record.train_accuracy = this_epoch_.accuracy;
  }
  if (!whole) return;
  next_epoch_ = std::floor(reached) + 1;
  this_epoch_ = {};
}

void JobProgress::on(const CheckpointReport& report, JobRecord& record) {
  if (!report.error.empty()) return;
  set_step(report.step, record);  // it is committed, though the word on that may still be on its way
  record.checkpoint = report.path;
  record.weights_sha256 = report.weights_sha256;
  record.state_sha256 = report.state_sha256;
}

void JobProgress::on(const Finished& report, JobRecord& record) {
  set_step(report.step, record);
  if (report.weights_sha256.empty()) return;
  record.weights_sha256 = report.weights_sha256;
  record.state_sha256 = report.state_sha256;
}

}  // namespace seng
