// Stands in for seng-actor in the daemon's tests: speaks the real protocol, trains nothing. The job's name
// says how it behaves, see kBehaviours below; environment variable FAKE_ACTOR=exit makes it exit before it
// says a word.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include <signal.h>
#include <unistd.h>

#include "protocol/base/version.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"

namespace seng {
namespace {

// finish: trains 3 steps and finishes. crash: actor 1 (or the only one) exits with code 3 when it is to
// train. killed: likewise, by SIGKILL. says-why: sends ActorFailed. runs: trains until it is asked to stop.
// deaf: does not stop, also not on SIGTERM. lingers: finishes but does not exit. bad-plan, crashing-plan,
// endless-plan, sleeping-plan: what `plan` does.
std::string name_of(const std::string& spec) {
  const std::size_t at = spec.find("name: ");
  return at == std::string::npos ? "" : spec.substr(at + 6, spec.find('\n', at) - at - 6);
}

int plan() {
  const std::string spec((std::istreambuf_iterator<char>(std::cin)), {});
  const std::string name = name_of(spec);
  if (name == "bad-plan") {
    std::puts(R"({"ok":false,"errors":["model.name: no network \"x\""]})");
    return 2;
  }
  if (name == "crashing-plan") {
    std::fputs("out of luck\n", stderr);
    return 1;
  }
  while (name == "endless-plan") std::puts("tell me more");
  while (name == "sleeping-plan") pause();
  std::printf(
      R"({"ok":true,"steps_total":%s,"epochs_total":1.0,"train_samples":192,"test_samples":1,"memory_per_actor_bytes":1000})"
      "\n",
      name == "steps" ? "1000000" : "3");
  return 0;
}

class FakeActor {
 public:
  FakeActor(const std::string& daemon, JobId job, ActorId actor) : job_(job), actor_(actor) {
    auto channel = connect_client(context_, daemon, {.linger_ms = 2000});
    if (!channel) std::exit(9);
    channel_ = *std::move(channel);
  }

  int run() {
    say_hello();
    Poller poller;
    poller.watch(*channel_, 1);
    for (auto beat = Clock::now(); !exit_code_;) {
      while (auto message = channel_->try_receive()) {
        take(*message);
        if (exit_code_) return *exit_code_;
      }
      (void)poller.wait(10);
      if (Clock::now() < beat || !welcomed_) continue;
      beat = Clock::now() + std::chrono::milliseconds(25);
      report();
    }
    return *exit_code_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void say_hello() {
    ActorHello hello;
    hello.token = std::getenv("SENG_ACTOR_TOKEN");
    hello.node = "node";
    hello.pid = getpid();
    hello.peer_endpoint = "ipc:///nowhere";
    hello.device = "fake";
    hello.version = seng_version();
    hello.epoch = epoch_;
    hello.applied_step = step_;
    hello.activity = training_ ? kWaiting : kIdle;
    say(hello);
  }

  template <class Body>
  void say(const Body& body) {
    Envelope envelope;
    envelope.job = job_;
    envelope.from = actor_;
    envelope.epoch = epoch_;
    (void)channel_->send(make_message(envelope, body));
  }

  void take(const Message& message) {
    switch (static_cast<MessageKind>(message.envelope.kind)) {
      case MessageKind::kError:
        exit_code_ = 8;
        break;
      case MessageKind::kHelloWanted:
        say_hello();
        break;
      case MessageKind::kWelcome:
        name_ = name_of(parse_body<Welcome>(message)->spec_yaml);
        if (std::exchange(welcomed_, true)) break;
        if (name_ == "deaf") signal(SIGTERM, SIG_IGN);
        if (name_ == "says-why" && actor_ == 1) {
          say(ActorFailed{ErrorCode::kCorrupt, "the data set is damaged"});
          exit_code_ = 1;
          break;
        }
        say(Prepared{});
        break;
      case MessageKind::kWarmUp: {
        const WarmUp order = *parse_body<WarmUp>(message);
        const auto& newcomers = order.newcomers;
        if (std::find(newcomers.begin(), newcomers.end(), actor_) != newcomers.end())
          say(WarmedUp{order.number, step_, 0, ""});
        break;
      }
      case MessageKind::kReconfigure: {
        const Reconfigure group = *parse_body<Reconfigure>(message);
        epoch_ = message.envelope.epoch;
        leads_ = group.members.front().actor == actor_;
        alone_ = alone_ && group.members.size() == 1;
        training_ = false;
        if (group.restore) step_ = 0;
        say(Parked{step_, {}});
        break;
      }
      case MessageKind::kAssign:
        step_ = parse_body<Assign>(message)->base_step;
        say(Ready{});
        break;
      case MessageKind::kResume:
        training_ = true;
        on_resume();
        break;
      case MessageKind::kStopTraining:
        if (name_ != "deaf" && leads_) finish(std::max<std::uint64_t>(step_, 2), true);
        break;
      case MessageKind::kRetire: {
        Finished last;
        last.retired = true;
        say(last);
        exit_code_ = 0;
        break;
      }
      default:
        break;
    }
  }

  void on_resume() {
    const bool unlucky = actor_ == 1 || (actor_ == 0 && alone_);
    std::fprintf(stderr, "fake actor %u of job %llu: %s\n", actor_, static_cast<unsigned long long>(job_),
                 name_.c_str());
    if (unlucky && name_ == "killed") raise(SIGKILL);
    if (unlucky && name_ == "crash") {
      std::fputs("the fake actor crashes\n", stderr);
      exit_code_ = 3;
    }
    if (leads_ && (name_ == "finish" || name_ == "lingers")) finish(3, false);
  }

  // The heartbeat.
  void report() {
    Progress progress;
    const bool steps = training_ && name_ == "steps" && step_ < 1000000;
    if (steps) ++step_;
    progress.applied_step = step_;
    progress.counter = step_;
    progress.activity = training_ && step_ > 0 ? kComputing : kIdle;
    if (steps && leads_) progress.steps.push_back(metrics_of(step_));
    say(progress);
  }

  static StepMetrics metrics_of(std::uint64_t step) {
    StepMetrics metrics;
    metrics.step = step;
    metrics.epoch = static_cast<double>(step) / 3;
    metrics.loss = 1.0 / static_cast<double>(step);
    metrics.seconds = 0.01;
    return metrics;
  }

  void finish(std::uint64_t steps, bool stopped) {
    Progress progress;
    progress.applied_step = steps;
    for (std::uint64_t s = 1; s <= std::min<std::uint64_t>(steps, 3); ++s)
      progress.steps.push_back(metrics_of(s));
    say(progress);
    EpochReport epoch;
    epoch.metrics.step = steps;
    epoch.metrics.epoch = static_cast<double>(steps) / 3;
    epoch.metrics.train_loss = 0.5;
    epoch.metrics.test_accuracy = 0.75;
    say(epoch);
    say(CheckpointReport{steps, "/fake/checkpoint", "w", "s", ""});
    say(Finished{steps, stopped, "weights", "state"});
    while (name_ == "lingers") pause();
    exit_code_ = 0;
  }

  ChannelContext context_;
  std::unique_ptr<ClientChannel> channel_;
  JobId job_;
  ActorId actor_;
  GroupEpoch epoch_;
  std::string name_;
  std::uint64_t step_ = 0;
  bool leads_ = false, welcomed_ = false, training_ = false;
  bool alone_ = true;  // always was
  std::optional<int> exit_code_;
};

}  // namespace
}  // namespace seng

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "plan") return seng::plan();
  if (const char* mode = std::getenv("FAKE_ACTOR"); mode != nullptr && std::string(mode) == "exit") return 5;
  std::string daemon;
  unsigned long long job = 0, actor = 0;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--daemon") daemon = argv[i + 1];
    if (option == "--job") job = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--actor") actor = std::strtoull(argv[i + 1], nullptr, 10);
  }
  return seng::FakeActor(daemon, job, static_cast<seng::ActorId>(actor)).run();
}
