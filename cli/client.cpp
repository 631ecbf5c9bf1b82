#include "cli/client.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "protocol/channel/endpoint.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {
namespace {

constexpr Poller::Token kSocket = 1, kInterruptFd = 2;
constexpr std::chrono::milliseconds kProbeEvery{1000};

using SteadyClock = std::chrono::steady_clock;

int milliseconds_until(SteadyClock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 3'600'000));
}

tl::unexpected<Failure> refused(const Error& error) {
  return tl::unexpected(Failure{Failure::Kind::kRefused, error.code, error.message});
}

// A directory that exists, and that this user may not enter.
bool is_of_another_user(const std::string& dir) {
  return !dir.empty() && access((dir + "/sengd.sock").c_str(), R_OK | W_OK) != 0 && errno == EACCES;
}

}  // namespace

struct Client::Impl {
  std::string endpoint, state_dir;
  const Interrupt* interrupt = nullptr;
  std::uint64_t sequence = 0;
  bool answered = false;  // the last request was
  // The channel is closed before its context.
  ChannelContext context;
  std::unique_ptr<ClientChannel> channel;

  Failure no_daemon(const std::string& cause) const {
    if (is_of_another_user(state_dir))
      return {
          Failure::Kind::kNoDaemon, ErrorCode::kUnavailable,
          fmt::format("the sengd at {} belongs to another user; start one of your own with\n"
                      "  sengd --state-dir DIR\nand name its directory with --state-dir or SENG_STATE_DIR",
                      endpoint)};
    const std::string dir = state_dir.empty() ? "DIR" : state_dir;
    return {Failure::Kind::kNoDaemon, ErrorCode::kUnavailable,
            fmt::format("no sengd: {}; start one with\n  sengd --state-dir {}\nor name another one's with "
                        "--state-dir, --address or SENG_ADDRESS",
                        cause, dir)};
  }
  Failure silent(int timeout_ms) const {
    const std::string log = state_dir.empty() ? "its log" : state_dir + "/logs/sengd.log";
    return {Failure::Kind::kSilent, ErrorCode::kTimeout,
            fmt::format("sengd at {} did not answer within {:.0f} s; it may be stopped or very busy, see {}",
                        endpoint, timeout_ms / 1000.0, log)};
  }
};

Client::Client(std::string endpoint, std::string state_dir) : impl_(std::make_unique<Impl>()) {
  impl_->endpoint = std::move(endpoint);
  impl_->state_dir = std::move(state_dir);
}

Client::~Client() = default;

const std::string& Client::endpoint() const {
  return impl_->endpoint;
}

void Client::set_interrupt(const Interrupt* interrupt) {
  impl_->interrupt = interrupt;
}

Answer<Message> Client::exchange(Message request, int timeout_ms) {
  if (auto opened = open(); !opened) return tl::unexpected(std::move(opened).error());
  request.envelope.sequence = ++impl_->sequence;
  impl_->answered = false;
  if (const auto sent = impl_->channel->send(std::move(request)); !sent) return refused(sent.error());
  return await(timeout_ms);
}

Answer<void> Client::open() {
  Impl& self = *impl_;
  if (self.endpoint.empty())
    return refused(
        {ErrorCode::kInvalidArgument, "no state directory: give --state-dir or set SENG_STATE_DIR or HOME"});
  if (const Status valid = check_endpoint(self.endpoint); !valid) return refused(valid.error());
  if (!self.answered) {
    if (const Status there = probe_endpoint(self.endpoint); !there)
      return tl::unexpected(self.no_daemon(there.error().message));
  }
  if (self.channel) return {};
  ChannelOptions options;
  options.linger_ms = 0;  // a request whose reply nobody awaits is of no use
  auto channel = connect_client(self.context, self.endpoint, options);
  if (!channel) return refused(channel.error());
  self.channel = *std::move(channel);
  return {};
}

Answer<Message> Client::await(int timeout_ms) {
  Impl& self = *impl_;
  const auto began = SteadyClock::now();
  const auto deadline = began + std::chrono::milliseconds(timeout_ms);
  auto next_probe = began + kProbeEvery;
  Poller poller;
  poller.watch(*self.channel, kSocket);
  if (self.interrupt != nullptr) poller.watch_fd(self.interrupt->fd(), kInterruptFd);
  while (true) {
    if (auto reply = take_reply()) return *std::move(reply);
    if (self.interrupt != nullptr && self.interrupt->happened())
      return tl::unexpected(Failure{Failure::Kind::kInterrupted, ErrorCode::kCancelled, "interrupted"});
    const auto now = SteadyClock::now();
    if (now >= deadline) return tl::unexpected(self.silent(timeout_ms));
    // A daemon that dies during a long wait is noticed by its socket.
    if (now >= next_probe) {
      if (const Status there = probe_endpoint(self.endpoint); !there)
        return tl::unexpected(self.no_daemon(there.error().message));
      next_probe = SteadyClock::now() + kProbeEvery;
    }
    const auto ready = poller.wait(milliseconds_until(std::min(deadline, next_probe)) + 1);
    if (!ready) return refused(ready.error());
  }
}

std::optional<Answer<Message>> Client::take_reply() {
  Impl& self = *impl_;
  while (auto message = self.channel->try_receive()) {
    if (message->envelope.sequence != self.sequence) continue;  // the late reply to a request given up
    self.answered = true;
    if (message->envelope.kind != static_cast<std::uint16_t>(MessageKind::kError)) return *std::move(message);
    const auto refusal = parse_body<ErrorReply>(*message);
    if (!refusal) return tl::unexpected(unreadable(refusal.error()));
    return tl::unexpected(Failure{Failure::Kind::kRefused, refusal->code, refusal->message});
  }
  return std::nullopt;
}

Failure Client::unreadable(const Error& error) const {
  return {
      Failure::Kind::kRefused, ErrorCode::kCorrupt,
      fmt::format("cannot read the answer of sengd at {}: {}; is it of another version? see sengctl version",
                  impl_->endpoint, error.message)};
}

ExitCode exit_code_of(const Failure& failure) {
  switch (failure.kind) {
    case Failure::Kind::kNoDaemon:
    case Failure::Kind::kSilent:
      return ExitCode::kNoDaemon;
    case Failure::Kind::kInterrupted:
      return ExitCode::kInterrupted;
    case Failure::Kind::kRefused:
      break;
  }
  if (failure.code == ErrorCode::kNotFound) return ExitCode::kNoSuchJob;
  return failure.code == ErrorCode::kInvalidArgument ? ExitCode::kUsage : ExitCode::kFailed;
}

}  // namespace seng
