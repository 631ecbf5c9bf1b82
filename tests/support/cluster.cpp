#include "tests/support/cluster.h"

#include <chrono>
#include <sstream>
#include <thread>

#include <signal.h>

namespace seng::testing {

Cluster::Cluster(int slots, std::vector<std::string> daemon_arguments)
    : command_{binary("sengd"), "--state-dir", dir_.path(), "--slots", std::to_string(slots)} {
  command_.insert(command_.end(), daemon_arguments.begin(), daemon_arguments.end());
  start();
}

bool Cluster::start() {
  const RunResult started = run(command_);  // returns when the daemon serves
  if (started.exit_code != 0) {
    start_error_ = started.err;
    return false;
  }
  const RunResult version = ctl({"version", "-o", "json"});
  const auto parsed = nlohmann::json::parse(version.out, nullptr, false);
  if (!parsed.is_discarded() && parsed.contains("daemon")) pid_ = parsed["daemon"].value("pid", 0);
  if (pid_ <= 0) start_error_ = "sengctl version said: " + version.out + version.err;
  return pid_ > 0;
}

void Cluster::kill_daemon() {
  kill(pid_, SIGKILL);
  wait_until_gone(pid_, 60);
  pid_ = 0;
}

nlohmann::json Cluster::status(const std::string& job) const {
  return nlohmann::json::parse(ctl({"status", job, "-o", "json"}).out, nullptr, false);
}

std::vector<nlohmann::json> Cluster::actors(const std::string& job) const {
  std::vector<nlohmann::json> living;
  const auto described = nlohmann::json::parse(ctl({"describe", job, "-o", "json"}).out, nullptr, false);
  if (!described.is_object()) return living;
  for (const auto& actor : described.at("actors"))
    if (actor.at("state") != "exited" && actor.at("pid").get<pid_t>() > 0) living.push_back(actor);
  return living;
}

bool Cluster::wait_until(const std::string& job,
                         const std::function<bool(const nlohmann::json&)>& wanted) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::chrono::steady_clock::now() < end) {
    const auto now = status(job);
    if (!now.is_object()) continue;
    if (wanted(now)) return true;
    const std::string state = now.value("state", "");
    if (state == "succeeded" || state == "failed" || state == "stopped") return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // not to keep the machine from the job
  }
  return false;
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
