// Stands in for seng-actor in the daemon's tests: speaks the real protocol, trains nothing. The job's name
// says how it behaves, see kBehaviours below; environment variable FAKE_ACTOR=exit makes it exit before it
// says a word.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include <signal.h>
#include <unistd.h>

#include "protocol/base/version.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"

namespace seng {
namespace {

// finish: trains 3 steps and finishes. crash: actor 1 (or the only one) exits with code 3. killed: likewise,
// by SIGKILL. says-why: sends ActorFailed. runs: until it is asked to stop. deaf: does not stop, also not on
// SIGTERM. lingers: finishes but does not exit. bad-plan, crashing-plan, endless-plan, sleeping-plan: what
// `plan` does.
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
  std::puts(
      R"({"ok":true,"steps_total":3,"epochs_total":1.0,"train_samples":192,"test_samples":1,"memory_per_actor_bytes":1000})");
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
    ActorHello hello;
    hello.token = std::getenv("SENG_ACTOR_TOKEN");
    hello.node = "node";
    hello.pid = getpid();
    hello.peer_endpoint = "ipc:///nowhere";
    hello.device = "fake";
    hello.version = seng_version();
    say(hello);
    const Welcome welcome = *parse_body<Welcome>(wait_for(MessageKind::kWelcome));
    name_ = name_of(welcome.spec_yaml);
    const Message announced = wait_for(MessageKind::kReconfigure);
    epoch_ = announced.envelope.epoch;
    const Reconfigure group = *parse_body<Reconfigure>(announced);
    leads_ = group.members.front().actor == actor_;
    unlucky_ = actor_ == group.members.back().actor;
    say(Parked{0});
    wait_for(MessageKind::kAssign);
    say(Ready{});
    wait_for(MessageKind::kResume);
    return behave();
  }

 private:
  template <class Body>
  void say(const Body& body) {
    Envelope envelope;
    envelope.job = job_;
    envelope.from = actor_;
    envelope.epoch = epoch_;
    (void)channel_->send(make_message(envelope, body));
  }

  // Heartbeats go on meanwhile.
  Message wait_for(MessageKind kind) {
    Poller poller;
    poller.watch(*channel_, 1);
    for (;;) {
      while (auto message = channel_->try_receive()) {
        if (message->envelope.kind == static_cast<std::uint16_t>(kind)) return *message;
        if (message->envelope.kind == static_cast<std::uint16_t>(MessageKind::kError)) std::exit(8);
      }
      (void)poller.wait(50);
      if (kind != MessageKind::kWelcome) say(Progress{});
    }
  }

  void train(std::uint64_t steps) {
    if (!leads_) return;
    Progress progress;
    progress.applied_step = steps;
    for (std::uint64_t s = 1; s <= steps; ++s) {
      StepMetrics metrics;
      metrics.step = s;
      metrics.epoch = static_cast<double>(s) / 3;
      metrics.loss = 1.0 / static_cast<double>(s);
      metrics.seconds = 0.01;
      progress.steps.push_back(metrics);
    }
    say(progress);
    EpochReport epoch;
    epoch.metrics.step = steps;
    epoch.metrics.epoch = static_cast<double>(steps) / 3;
    epoch.metrics.train_loss = 0.5;
    epoch.metrics.test_accuracy = 0.75;
    say(epoch);
    say(CheckpointReport{steps, "/fake/step-" + std::to_string(steps), "w", "s", ""});
  }

  Finished last_word(std::uint64_t step, bool stopped) const {
    return leads_ ? Finished{step, stopped, "weights", "state"} : Finished{step, stopped, "", ""};
  }

  int behave() {
    std::fprintf(stderr, "fake actor %u of job %llu: %s\n", actor_, static_cast<unsigned long long>(job_),
                 name_.c_str());
    if (name_ == "deaf") signal(SIGTERM, SIG_IGN);
    if (unlucky_ && name_ == "killed") raise(SIGKILL);
    if (unlucky_ && name_ == "crash") {
      std::fputs("the fake actor crashes\n", stderr);
      return 3;
    }
    if (unlucky_ && name_ == "says-why") {
      say(ActorFailed{ErrorCode::kCorrupt, "the data set is damaged"});
      return 1;
    }
    const bool finishes = name_ == "finish" || name_ == "lingers";
    if (!finishes) {
      wait_for(MessageKind::kStopTraining);
      while (name_ == "deaf") pause();
    }
    train(finishes ? 3 : 2);
    say(last_word(finishes ? 3 : 2, !finishes));
    while (name_ == "lingers") pause();
    return 0;
  }

  ChannelContext context_;
  std::unique_ptr<ClientChannel> channel_;
  JobId job_;
  ActorId actor_;
  GroupEpoch epoch_;
  std::string name_;
  bool leads_ = false, unlucky_ = false;
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
