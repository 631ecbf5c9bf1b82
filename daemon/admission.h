// Asks `seng-actor plan` whether a job can run and what it needs, in a child process, while the daemon goes
// on.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "daemon/process_runner.h"
#include "protocol/base/clock.h"
#include "protocol/base/error.h"

namespace seng {

class Admission {
 public:
  struct Options {
    std::string actor_binary;
    std::uint32_t lanes = 1;       // of a slot
    double limit_s = 60;           // for one plan, which may load a data set
    std::size_t at_once = 2;       // plans run in parallel: submits come in bursts from scripts
    std::size_t max_waiting = 64;  // above it a submit is refused
  };
  // The plan's JSON. kInvalidArgument: seng-actor refused (its JSON or its last words). kUnavailable,
  // kExhausted, kTimeout: no answer.
  using Done = std::function<void(Result<std::string>)>;

  // `processes` and `clock` outlive it.
  Admission(Options options, ProcessRunner& processes, const Clock& clock)
      : options_(std::move(options)), processes_(processes), clock_(clock) {}

  // `done` is called once, now or later.
  void plan(std::string spec_yaml, Done done);
  void on_time();
  std::optional<double> deadline() const;
  // Ends what runs; every waiting `done` gets kCancelled.
  void cancel_all();

 private:
  struct Running {
    double deadline = 0;
    bool timed_out = false;
    Done done;
  };
  struct Waiting {
    std::string spec_yaml;
    Done done;
  };
  void start_next();
  Result<std::string> judge(const ProcessEnd& end, bool timed_out) const;

  Options options_;
  ProcessRunner& processes_;
  const Clock& clock_;
  std::map<pid_t, Running> running_;
  std::deque<Waiting> waiting_;
};

}  // namespace seng
