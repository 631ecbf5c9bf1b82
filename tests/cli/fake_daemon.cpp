#include "tests/cli/fake_daemon.h"

#include <stdexcept>

#include <sys/eventfd.h>
#include <unistd.h>

#include "protocol/channel/poller.h"

namespace seng::testing {

void FakeDaemon::start() {
  context_ = std::make_unique<ChannelContext>();
  auto channel = bind_server(*context_, endpoint());
  if (!channel) throw std::runtime_error(channel.error().message);
  channel_ = *std::move(channel);
  wake_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this, fd = wake_] { serve(fd); });
}

void FakeDaemon::stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_, 1);
  thread_.join();
  close(wake_);
  channel_.reset();
  context_.reset();
  unlink((dir() + "/sengd.sock").c_str());
}

void FakeDaemon::serve(int wake_fd) {
  Poller poller;
  poller.watch(*channel_, 1);
  poller.watch_fd(wake_fd, 2);
  while (true) {
    const auto ready = poller.wait(-1);
    if (!ready) return;
    for (const Poller::Token token : *ready) {
      if (token == 2) return;
    }
    while (auto incoming = channel_->try_receive()) {
      const auto kind = static_cast<MessageKind>(incoming->message.envelope.kind);
      std::function<std::optional<Message>(const Message&)> handler;
      {
        const std::lock_guard lock(mutex_);
        ++counts_[kind];
        const auto found = handlers_.find(kind);
        if (found != handlers_.end()) handler = found->second;
      }
      auto reply = handler ? handler(incoming->message)
                           : make_message({}, ErrorReply{ErrorCode::kUnsupported, "the fake has no answer"});
      if (!reply) continue;
      if (reply->envelope.sequence == 0) reply->envelope.sequence = incoming->message.envelope.sequence;
      (void)channel_->send(incoming->from, *std::move(reply));
    }
  }
}

void FakeDaemon::watch_states(std::vector<JobRecord> states, std::vector<EpochMetrics> epochs) {
  auto at = std::make_shared<std::size_t>(0);
  for (std::size_t i = 0; i < states.size(); ++i) states[i].revision = i + 1;
  on<WatchRequest, WatchReply>([=](const WatchRequest&) -> Result<WatchReply> {
    const std::size_t i = std::min((*at)++, states.size() - 1);
    WatchReply reply{states[i], {}};
    for (const EpochMetrics& epoch : epochs) {
      if (epoch.step <= states[i].step) reply.epochs.push_back(epoch);
    }
    return reply;
  });
}

int FakeDaemon::count(MessageKind kind) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(kind);
  return found == counts_.end() ? 0 : found->second;
}

CtlRun ctl(const std::vector<std::string>& words, const CtlOptions& options) {
  std::istringstream in(options.input);
  std::ostringstream out, err;
  Console console{in, out, err};
  console.out_is_terminal = console.err_is_terminal = console.color = options.terminal;
  console.width = [&] { return options.width; };
  const Surroundings surroundings{options.environment, options.working_directory, options.binary_directory};
  const ExitCode code = run_sengctl(words, console, surroundings);
  return {code, out.str(), err.str()};
}

CtlRun ctl(const FakeDaemon& daemon, std::vector<std::string> words, const CtlOptions& options) {
  words.insert(words.end(), {"--state-dir", daemon.dir()});
  return ctl(words, options);
}

JobRecord running_job() {
  JobRecord job;
  job.id = 3;
  job.name = "fashion-lenet";
  job.state = JobState::kRunning;
  job.submitted_at = 1769860800;
  job.started_at = 1769860801;
  job.actors = job.actors_max = 2;
  job.epoch = {1, 1};
  job.step = 550;
  job.steps_total = 1172;
  job.epochs = 2.35;
  job.epochs_total = 5;
  job.samples_seen = 550 * 256;
  job.train_loss = 0.34123;
  job.train_accuracy = 0.88104;
  job.images_per_second = 2410;
  job.optimizer = "seng";
  job.model = "lenet";
  job.revision = 7;
  return job;
}

JobRecord ended_job(JobState state) {
  JobRecord job = running_job();
  job.state = state;
  job.step = job.steps_total;
  job.epochs = job.epochs_total;
  job.samples_seen = job.step * 256;
  job.ended_at = job.started_at + 92;
  job.test_loss = 0.25;
  job.test_accuracy = 0.9184;
  job.weights_sha256 = std::string(64, 'a');
  job.state_sha256 = std::string(64, 'b');
  job.checkpoint = "/state/jobs/3/checkpoints/step-00001172";
  if (state != JobState::kSucceeded) job.reason = state == JobState::kFailed ? "actor 1 died" : "by request";
  return job;
}

}  // namespace seng::testing
