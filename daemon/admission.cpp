#include "daemon/admission.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>

#include "daemon/actor_log.h"
#include "protocol/base/limits.h"

namespace seng {

void Admission::plan(std::string spec_yaml, Done done) {
  if (waiting_.size() >= options_.max_waiting) {
    return done(
        fail(ErrorCode::kExhausted, fmt::format("{} submitted jobs are being checked already: submit again "
                                                "in a moment",
                                                waiting_.size())));
  }
  waiting_.push_back({std::move(spec_yaml), std::move(done)});
  start_next();
}

void Admission::start_next() {
  while (running_.size() < options_.at_once && !waiting_.empty()) {
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    ProcessSpec spec;
    spec.argv = {options_.actor_binary, "plan", "--lanes", std::to_string(options_.lanes)};
    spec.input = std::move(next.spec_yaml);
    spec.max_output = kMaxStringBytes;
    // The end is told with a pid that is known only after the start.
    auto pid = std::make_shared<pid_t>(0);
    auto started = processes_.start(spec, [this, pid](const ProcessEnd& end) {
      auto node = running_.extract(*pid);
      if (node.empty()) return;
      const Running& run = node.mapped();
      run.done(judge(end, run.timed_out));
      start_next();
    });
    if (!started) {
      next.done(fail(ErrorCode::kUnavailable, "the job cannot be checked: " + started.error().message));
      continue;
    }
    *pid = started->pid;
    running_[started->pid] = {clock_.now() + options_.limit_s, false, std::move(next.done)};
  }
}

Result<std::string> Admission::judge(const ProcessEnd& end, bool timed_out) const {
  if (timed_out) {
    return fail(ErrorCode::kTimeout,
                fmt::format("`seng-actor plan` did not answer within {:g} s; the machine may be overloaded",
                            options_.limit_s));
  }
  if (end.truncated) return fail(ErrorCode::kInternal, "the output of `seng-actor plan` is absurdly long");
  // Exit code 2 with JSON is a refusal that the JSON explains.
  const bool answered = !end.status.signalled && (end.status.number == 0 || end.status.number == 2);
  if (answered && !end.output.empty()) return end.output;
  const std::size_t from = end.error_output.find_last_not_of(" \n\r\t");
  const std::string said = from == std::string::npos ? "" : end.error_output.substr(0, from + 1);
  return fail(ErrorCode::kInternal, fmt::format("`seng-actor plan` {}{}{}", in_words(end.status),
                                                said.empty() ? "" : ": ", shortened(said, 2000)));
}

void Admission::on_time() {
  const double now = clock_.now();
  for (auto& [pid, run] : running_) {
    if (run.timed_out || now < run.deadline) continue;
    run.timed_out = true;
    processes_.signal(pid, SIGKILL);
  }
}

std::optional<double> Admission::deadline() const {
  std::optional<double> out;
  for (const auto& [pid, run] : running_) {
    if (!run.timed_out) out = std::min(out.value_or(run.deadline), run.deadline);
  }
  return out;
}

void Admission::cancel_all() {
  const Error stopping{ErrorCode::kCancelled, "the daemon is stopping"};
  auto running = std::exchange(running_, {});
  auto waiting = std::exchange(waiting_, {});
  for (auto& [pid, run] : running) {
    processes_.signal(pid, SIGKILL);
    run.done(fail(stopping));
  }
  for (Waiting& w : waiting) w.done(fail(stopping));
}

}  // namespace seng
