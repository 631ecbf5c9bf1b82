// A sengd that says what a test wants, over the real protocol on a socket in a temporary directory; and
// sengctl run against it in this process.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/sengctl.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "protocol/messages/queries.h"
#include "tests/support/process.h"

namespace seng::testing {

class FakeDaemon {
 public:
  FakeDaemon() { start(); }
  ~FakeDaemon() { stop(); }

  void start();
  void stop();  // its socket is gone then

  // Answers every Request by the function, which is called on the daemon's thread. Set before sengctl runs.
  template <class Request, class Reply>
  void on(std::function<Result<Reply>(const Request&)> answer) {
    const std::lock_guard lock(mutex_);
    handlers_[Request::kKind] = [answer =
                                     std::move(answer)](const Message& message) -> std::optional<Message> {
      const auto body = parse_body<Request>(message);
      const auto reply = body ? answer(*body) : Result<Reply>(fail(body.error()));
      if (reply) return make_message({}, *reply);
      return make_message({}, ErrorReply{reply.error().code, reply.error().message});
    };
  }
  // Requests of that kind get no answer.
  void ignore(MessageKind kind) {
    const std::lock_guard lock(mutex_);
    handlers_[kind] = [](const Message&) { return std::nullopt; };
  }
  // Raw: whatever the function makes of it.
  void on_raw(MessageKind kind, std::function<std::optional<Message>(const Message&)> answer) {
    const std::lock_guard lock(mutex_);
    handlers_[kind] = std::move(answer);
  }
  // The job's states, one a question; the last again and again.
  void watch_states(std::vector<JobRecord> states, std::vector<EpochMetrics> epochs = {});

  const std::string& dir() const { return dir_.path(); }
  std::string endpoint() const { return "ipc://" + dir() + "/sengd.sock"; }
  int count(MessageKind kind) const;

 private:
  void serve(int wake_fd);

  TempDir dir_;
  mutable std::mutex mutex_;
  std::map<MessageKind, std::function<std::optional<Message>(const Message&)>> handlers_;
  std::map<MessageKind, int> counts_;
  std::unique_ptr<ChannelContext> context_;
  std::unique_ptr<ServerChannel> channel_;
  std::thread thread_;
  int wake_ = -1;
};

struct CtlRun {
  ExitCode code;
  std::string out, err;
};

struct CtlOptions {
  std::string input;
  std::map<std::string, std::string> environment;
  std::string working_directory = "/";
  std::string binary_directory = "/nonexistent";
  bool terminal = false;  // both outputs are one, with colours
  int width = 80;
};

CtlRun ctl(const std::vector<std::string>& words, const CtlOptions& options = {});
// With --state-dir of the daemon.
CtlRun ctl(const FakeDaemon& daemon, std::vector<std::string> words, const CtlOptions& options = {});

// A job in the middle of its training.
JobRecord running_job();
JobRecord ended_job(JobState state);

}  // namespace seng::testing
