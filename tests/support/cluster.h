// A sengd of one's own in a temporary state directory, with the real binaries: started, asked through
// sengctl, stopped, and checked to have left nothing behind.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/process.h"

namespace seng::testing {

inline std::string binary(const std::string& name) {
  return std::string(SENG_BIN_DIR) + "/" + name;
}

class Cluster {
 public:
  explicit Cluster(int slots, std::vector<std::string> daemon_arguments = {});
  ~Cluster();

  RunResult ctl(std::vector<std::string> arguments, const RunOptions& options = {}) const;
  // Submits and waits; the object that `submit --wait -o json` prints, null (with `error()` set) if it
  // printed none.
  nlohmann::json train(const std::string& yaml, const std::vector<std::string>& sets = {},
                       int timeout_seconds = 300);
  const RunResult& last() const { return last_; }

  // The daemon alone, by SIGKILL; its actors live on. start() brings the next one on the same state
  // directory.
  void kill_daemon();
  // False: start_error() says why.
  bool start();

  // The job as `status JOB -o json` prints it, null if it cannot be had.
  nlohmann::json status(const std::string& job) const;
  // Its actors that have not exited, as `describe` prints them.
  std::vector<nlohmann::json> actors(const std::string& job) const;
  // Asks again and again until the job is as wanted, or has ended, or two minutes are over; false then.
  bool wait_until(const std::string& job, const std::function<bool(const nlohmann::json&)>& wanted) const;

  // Stops the daemon; what is still running of it or its actors is returned (empty: clean) and killed.
  std::vector<pid_t> stop();

  pid_t daemon_pid() const { return pid_; }
  const std::string& state_dir() const { return dir_.path(); }
  bool started() const { return pid_ > 0; }
  const std::string& start_error() const { return start_error_; }

 private:
  TempDir dir_;
  std::vector<std::string> command_;
  pid_t pid_ = 0;
  std::string start_error_;
  RunResult last_;
};

// A job file with the most used settings; the tests change the rest with --set.
struct JobText {
  std::string model = "{name: lenet}";
  std::string data =
      "{name: synthetic, train: 512, test: 100, channels: 1, height: 28, width: 28, classes: 10}";
  int global = 64, micro = 8;
  int steps = 3;
  std::string optimizer = "{name: sgd, lr: 0.05, momentum: 0.9}";
  int actors = 1, lanes = 1;
  std::string extra;  // more lines
};
std::string to_text(const JobText& job);

}  // namespace seng::testing
