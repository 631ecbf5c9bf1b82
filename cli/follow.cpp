#include "cli/follow.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr double kPollSeconds = 10;      // one question waits so long for news
constexpr double kReplySeconds = 5;      // beyond that
constexpr int kBetweenQuestionsMs = 50;  // a busy job changes with every step
constexpr int kRetryMs = 500;

class Follower {
 public:
  Follower(Session& session, const std::string& job, const FollowOptions& options)
      : session_(session),
        options_(options),
        display_(session.console(), clock_, options.display),
        job_name_(job),
        deadline_(options.timeout_seconds ? clock_.now() + *options.timeout_seconds : 1e300) {
    session_.client().set_interrupt(&interrupt_);
  }
  ~Follower() { session_.client().set_interrupt(nullptr); }

  tl::expected<FollowedJob, ExitCode> run() {
    while (true) {
      auto reply = ask();
      if (!reply) {
        if (const auto code = handle(reply.error())) return tl::unexpected(*code);
        continue;
      }
      if (auto done = take(*std::move(reply))) return *std::move(done);
      if (clock_.now() >= deadline_) return tl::unexpected(time_is_over());
      if (!session_.console().out) return tl::unexpected(ExitCode::kOk);  // nobody reads any more
      if (interrupt_.wait(kBetweenQuestionsMs)) return tl::unexpected(detach());
    }
  }

 private:
  Answer<WatchReply> ask() {
    WatchRequest request;
    request.job = job_name_;
    request.after_revision = revision_;
    if (!epochs_.empty()) request.epochs_after = epochs_.rbegin()->first;
    const double wait = std::clamp(deadline_ - clock_.now(), 0.0, kPollSeconds);
    request.timeout_ms = static_cast<std::uint32_t>(wait * 1000);
    return session_.client().ask<WatchReply>(request, static_cast<int>((wait + kReplySeconds) * 1000));
  }

  std::optional<FollowedJob> take(WatchReply reply) {
    if (away_) display_.say("sengd is back");
    away_ = false;
    seen_ = true;
    const bool changed = reply.job.revision != revision_ || revision_ == 0;
    revision_ = reply.job.revision;
    job_ = reply.job;
    job_name_ = std::to_string(job_.id);  // the name may come to mean a newer job
    for (const EpochMetrics& epoch : reply.epochs) epochs_[epoch.step] = epoch;
    display_.update(job_, all_epochs());
    if (changed && options_.on_change) options_.on_change(job_);
    const bool far_enough = options_.until_step && job_.step >= *options_.until_step;
    if (!is_terminal(job_.state) && !far_enough) return std::nullopt;
    display_.erase();
    return FollowedJob{job_, all_epochs()};
  }

  std::vector<EpochMetrics> all_epochs() const {
    std::vector<EpochMetrics> out;
    for (const auto& [step, epoch] : epochs_) out.push_back(epoch);
    return out;
  }

  // The exit code, or nothing: try again.
  std::optional<ExitCode> handle(const Failure& failure) {
    if (failure.kind == Failure::Kind::kInterrupted) return detach();
    const bool retry = failure.gone() && (seen_ || options_.daemon_was_there);
    if (!retry) {
      display_.erase();
      return session_.fail(failure);
    }
    if (clock_.now() >= deadline_) return time_is_over();
    if (!away_)
      display_.say(
          fmt::format("sengctl: {}; the job's actors may go on without it, trying again",
                      failure.kind == Failure::Kind::kSilent ? "sengd does not answer" : "sengd is away"));
    away_ = true;
    revision_ = 0;  // whoever comes back is asked for everything
    if (interrupt_.wait(kRetryMs)) return detach();
    return std::nullopt;
  }

  std::string job_words() const {
    return seen_ ? fmt::format("job {} ({})", job_.id, job_.name) : "job " + job_name_;
  }

  ExitCode detach() {
    display_.say(fmt::format(
        "detached; {} goes on. Come back with\n  {}", job_words(),
        options_.come_back.empty() ? session_.command_line("watch " + job_name_) : options_.come_back));
    return ExitCode::kInterrupted;
  }
  ExitCode time_is_over() {
    display_.erase();
    const std::string state =
        seen_ ? fmt::format(" ({}, step {})", job_state_name(job_.state), job_.step) : "";
    return session_.fail(ExitCode::kTimeout,
                         fmt::format("{} has not ended after {} s{}; it goes on", job_words(),
                                     format_count(*options_.timeout_seconds), state));
  }

  Session& session_;
  const FollowOptions& options_;
  const SystemClock clock_;
  const Interrupt interrupt_;
  ProgressDisplay display_;
  std::string job_name_;
  const double deadline_;
  std::uint64_t revision_ = 0;
  bool seen_ = false, away_ = false;
  JobRecord job_;
  std::map<std::uint64_t, EpochMetrics> epochs_;  // by step
};

}  // namespace

tl::expected<FollowedJob, ExitCode> follow(Session& session, const std::string& job,
                                           const FollowOptions& options) {
  return Follower(session, job, options).run();
}

ExitCode exit_code_of(JobState state) {
  if (state == JobState::kFailed) return ExitCode::kJobFailed;
  return state == JobState::kStopped ? ExitCode::kJobStopped : ExitCode::kOk;
}

void print_result(Session& session, const JobRecord& job, OutputFormat format) {
  Console& console = session.console();
  if (job.state == JobState::kFailed)
    console.err << fmt::format("sengctl: job {} ({}) failed: {}\n", job.id, job.name, job.reason);
  if (format != OutputFormat::kTable) return print_value(console, format, job_value(job));
  const std::string state(job_state_name(job.state));
  const double seconds = job.ended_at > 0 && job.started_at > 0 ? job.ended_at - job.started_at : -1;
  console.out << fmt::format("job {} ({}) {}: {} epoch{}, {}{}\n", job.id, job.name,
                             colored(console, Color::kBold, state), format_count(job.epochs),
                             format_count(job.epochs) == "1" ? "" : "s", counted(job.step, "step"),
                             seconds >= 0 ? " in " + format_duration(seconds) : "");
  const auto line = [&](const char* what, const std::string& value) {
    if (!value.empty()) console.out << fmt::format("  {:<16}{}\n", what, value);
  };
  if (job.state == JobState::kStopped) line("reason", one_line(job.reason));
  if (knows_training(job)) line("train loss", format_loss(job.train_loss));
  if (job.test_accuracy >= 0) line("test accuracy", format_percent(job.test_accuracy));
  if (job.images_per_second > 0) line("images/s", format_rate(job.images_per_second));
  if (has_diverged(job) && job.state != JobState::kFailed)
    line("diverged", session.command_line(fmt::format("events {}", job.id)) + " says since which step");
  line("weights SHA-256", job.weights_sha256);
  line("state SHA-256", job.state_sha256);
  line("checkpoint", job.checkpoint);
}

}  // namespace seng
