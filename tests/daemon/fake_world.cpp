#include "tests/daemon/fake_world.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace seng::testing {

std::string spec_text(const std::string& name, int min, int max, int global, int micro) {
  return fmt::format(
      "name: {}\nmodel: lenet\ndata: fashion-mnist\nbatch: {{global: {}, micro: {}}}\nsteps: 8\n"
      "optimizer: sgd\nactors: {{min: {}, max: {}}}\n",
      name, global, micro, min, max);
}

std::string plan_text(std::uint64_t memory_per_actor, std::uint64_t steps) {
  return fmt::format(
      R"({{"ok":true,"parameters":10,"statistics":2,"steps_total":{},"epochs_total":1.0,"train_samples":512,)"
      R"("test_samples":100,"memory_per_actor_bytes":{},"blocks":[]}})",
      steps, memory_per_actor);
}

World::World(std::uint32_t slots) {
  options.state_dir = dir.path();
  options.actor_binary = "/nowhere/seng-actor";
  options.actor_endpoint = "ipc:///nowhere/actors.sock";
  options.peer_dir = dir.path();
  options.node = "node";
  options.slots = slots;
  options.memory_bytes = 1ull << 30;
  restart();
}

void World::restart() {
  head_.reset();
  store.reset();
  auto opened = open_sqlite_store(dir.path() + "/seng.db");
  ASSERT_TRUE(opened) << opened.error().message;
  store = std::make_unique<FaultyStore>(*std::move(opened));
  ports_ = std::make_unique<HeadPorts>(HeadPorts{*store, processes, link, clock});
  head_ = std::make_unique<Head>(options, *ports_);
  const Status recovered = head_->recover();
  ASSERT_TRUE(recovered) << recovered.error().message;
  settle();
}

void World::settle() {
  head_->before_sleep();
  if (newcomers_warm_up) warm_up();
}

void World::warm_up() {
  while (!link.warm_ups.empty()) {
    const FakeLink::WarmUpOrder order = link.warm_ups.front();
    link.warm_ups.pop_front();
    const auto& newcomers = order.body.newcomers;
    if (std::find(newcomers.begin(), newcomers.end(), order.actor) == newcomers.end()) continue;
    say_in(order.job, order.actor, {}, WarmedUp{order.body.number, 0, 0, ""});
  }
}

void World::advance(double seconds) {
  const double end = clock.now() + seconds;
  for (int turns = 0; turns < 100000; ++turns) {
    const auto due = head_->deadline();
    if (!due || *due > end) break;
    clock.advance(std::max(0.0, *due - clock.now()));
    head_->on_time();
    settle();
    ASSERT_LT(turns, 99999) << "a deadline that never passes: the daemon would spin";
  }
  clock.advance(end - clock.now());
  head_->on_time();
  settle();
}

void World::pass(JobId job, double seconds, std::vector<ActorId> silent) {
  const double beat = options.timeouts.lease_s / 2;
  for (double left = seconds; left > 0; left -= beat) {
    for (const ActorRecord& a : head().actors(job).value_or(std::vector<ActorRecord>{})) {
      if (a.state == "exited" || std::find(silent.begin(), silent.end(), a.actor) != silent.end()) continue;
      Progress progress;
      progress.applied_step = a.step;
      say(job, a.actor, progress);
    }
    advance(std::min(beat, left));
  }
}

JobId World::submit(const std::string& spec, const std::string& plan) {
  JobId id = 0;
  error = {};
  head_->submit({spec, "job.yaml"}, [&](const Result<JobRecord>& job) {
    if (job) {
      id = job->id;
    } else {
      error = job.error();
    }
  });
  const bool refused = plan.find("\"ok\":true") == std::string::npos;
  if (const pid_t pid = processes.find("plan")) processes.end(pid, {false, refused ? 2 : 0}, plan);
  settle();
  return id;
}

std::string World::token_of(JobId job, ActorId actor) {
  const auto process = processes.running.find(pid_of(job, actor));
  if (process == processes.running.end()) return "";
  for (const auto& [name, value] : process->second.spec.environment) {
    if (name == "SENG_ACTOR_TOKEN") return value;
  }
  return "";
}

pid_t World::pid_of(JobId job, ActorId actor) {
  for (const ActorRecord& a : head().actors(job).value_or(std::vector<ActorRecord>{})) {
    if (a.actor == actor) return static_cast<pid_t>(a.pid);
  }
  return 0;
}

Result<Welcome> World::hello(JobId job, ActorId actor, GroupEpoch epoch, std::uint64_t step,
                             std::uint8_t activity) {
  ActorHello hello;
  hello.token = token_of(job, actor);
  hello.node = "node";
  hello.peer_endpoint = fmt::format("ipc:///nowhere/a{}.{}", job, actor);
  hello.device = "cpu";
  hello.version = seng_version();
  hello.epoch = epoch;
  hello.applied_step = step;
  hello.activity = activity;
  auto welcome = head_->hello(job, actor, hello);
  if (welcome) head_->welcomed(job);
  settle();
  return welcome;
}

void World::prepare(JobId job, ActorId actor) {
  ASSERT_TRUE(hello(job, actor));
  say_in(job, actor, {}, Prepared{});
}

void World::transition(JobId job, std::vector<ActorId> members, std::vector<ActorId> leavers,
                       std::uint64_t step) {
  for (const auto* list : {&members, &leavers}) {
    for (const ActorId actor : *list) say(job, actor, Parked{step, {}});
  }
  for (const ActorId actor : members) say(job, actor, Ready{});
}

void World::train(JobId job) {
  std::vector<ActorId> members;
  for (const ActorRecord& a : head().actors(job).value_or(std::vector<ActorRecord>{})) {
    if (a.state != "exited") members.push_back(a.actor);
  }
  for (const ActorId actor : members) prepare(job, actor);
  transition(job, members);
  ASSERT_EQ(record(job).state, JobState::kRunning);
  link.sent.clear();
}

Result<Reconfigure> World::reconfigured(JobId job, ActorId actor) {
  auto& queue = link.sent[{job, actor}];
  Result<Reconfigure> out = fail(ErrorCode::kNotFound, "no Reconfigure was sent");
  while (!queue.empty()) {
    if (queue.front().envelope.kind == static_cast<std::uint16_t>(MessageKind::kReconfigure))
      out = parse_body<Reconfigure>(queue.front());
    queue.pop_front();
  }
  return out;
}

void World::end(JobId job, ActorId actor, ExitStatus status) {
  processes.end(pid_of(job, actor), status);
  settle();
}

std::string World::event_kinds(JobId job) {
  std::string out;
  const auto events = store->events(job, 0, 1000);
  for (const EventRecord& event : events.value_or(std::vector<EventRecord>{})) {
    out += (out.empty() ? "" : " ") + event.kind;
  }
  return out;
}

}  // namespace seng::testing
