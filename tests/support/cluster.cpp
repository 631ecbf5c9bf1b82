#include "tests/support/cluster.h"

#include <sstream>

#include <signal.h>

namespace seng::testing {

Cluster::Cluster(int slots, std::vector<std::string> daemon_arguments) {
  std::vector<std::string> command = {binary("sengd"), "--state-dir", dir_.path(), "--slots",
                                      std::to_string(slots)};
  command.insert(command.end(), daemon_arguments.begin(), daemon_arguments.end());
  const RunResult started = run(command);  // returns when the daemon serves
  if (started.exit_code != 0) {
    start_error_ = started.err;
    return;
  }
  const RunResult version = ctl({"version", "-o", "json"});
  const auto parsed = nlohmann::json::parse(version.out, nullptr, false);
  if (!parsed.is_discarded() && parsed.contains("daemon")) pid_ = parsed["daemon"].value("pid", 0);
  if (pid_ <= 0) start_error_ = "sengctl version said: " + version.out + version.err;
}

Cluster::~Cluster() {
  stop();
}

std::vector<pid_t> Cluster::stop() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    wait_until_gone(pid_, 60);
    pid_ = 0;
  }
  const std::vector<pid_t> left = processes_with(dir_.path());
  for (const pid_t pid : left) kill(pid, SIGKILL);
  return left;
}

RunResult Cluster::ctl(std::vector<std::string> arguments, const RunOptions& options) const {
  arguments.insert(arguments.begin(), binary("sengctl"));
  arguments.insert(arguments.end(), {"--state-dir", dir_.path()});
  return run(arguments, options);
}

nlohmann::json Cluster::train(const std::string& yaml, const std::vector<std::string>& sets,
                              int timeout_seconds) {
  std::vector<std::string> arguments = {"submit", "-", "--wait", "-o", "json"};
  for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
  last_ =
      ctl(arguments,
          {.input = yaml, .environment = {}, .timeout_seconds = timeout_seconds, .working_directory = {}});
  const auto parsed = nlohmann::json::parse(last_.out, nullptr, false);
  return parsed.is_discarded() ? nlohmann::json() : parsed;
}

std::string to_text(const JobText& job) {
  std::ostringstream out;
  out << "name: test\nmodel: " << job.model << "\ndata: " << job.data << "\nbatch: {global: " << job.global
      << ", micro: " << job.micro << "}\nsteps: " << job.steps << "\noptimizer: " << job.optimizer
      << "\nactors: {min: " << job.actors << ", max: " << job.actors << ", lanes: " << job.lanes << "}\n"
      << job.extra;
  return out.str();
}

}  // namespace seng::testing
