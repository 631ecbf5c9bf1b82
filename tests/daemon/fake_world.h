// A head in a world of its own: the clock, the processes and the actors are the test's, the store is a real
// one in a temporary directory whose writes can be made to fail.
#pragma once

#include <csignal>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/head.h"
#include "protocol/base/version.h"
#include "tests/support/process.h"

namespace seng::testing {

class FakeClock final : public Clock {
 public:
  double now() const override { return now_; }
  double wall() const override { return 1.7e9 + now_; }
  void advance(double seconds) { now_ += seconds; }

 private:
  double now_ = 1000;
};

// Processes that run until the test ends them.
class FakeProcesses final : public ProcessRunner {
 public:
  struct Process {
    ProcessSpec spec;
    std::function<void(const ProcessEnd&)> on_end;
    std::vector<int> signals;
    bool adopted = false;
  };

  Result<StartedProcess> start(const ProcessSpec& spec,
                               std::function<void(const ProcessEnd&)> on_end) override {
    if (!refuse.empty()) return fail(ErrorCode::kIo, refuse);
    const pid_t pid = ++last_pid;
    running[pid] = {spec, std::move(on_end), {}, false};
    return StartedProcess{pid, static_cast<std::uint64_t>(pid) * 10};
  }
  // Only of processes that still run; who is adopted ends with an unknown status.
  Status adopt(const StartedProcess& process, std::function<void(const ProcessEnd&)> on_end) override {
    const auto found = running.find(process.pid);
    if (found == running.end() || process.start_time_ticks != static_cast<std::uint64_t>(process.pid) * 10)
      return fail(ErrorCode::kNotFound, "gone");
    found->second.on_end = std::move(on_end);
    found->second.adopted = true;
    return {};
  }
  void signal(pid_t pid, int number) override {
    if (running.contains(pid)) running[pid].signals.push_back(number);
  }
  int end_leftovers(const std::vector<StartedProcess>& processes, double) override {
    leftovers.insert(leftovers.end(), processes.begin(), processes.end());
    return static_cast<int>(processes.size());
  }

  void end(pid_t pid, ExitStatus status, std::string output = "") {
    const auto process = running.at(pid);
    running.erase(pid);
    ProcessEnd end;
    end.status = process.adopted ? ExitStatus{false, 0, true} : status;
    end.output = std::move(output);
    process.on_end(end);
  }
  // The newest running process whose arguments hold `word`; 0: none.
  pid_t find(const std::string& word) const {
    for (auto it = running.rbegin(); it != running.rend(); ++it) {
      for (const std::string& argument : it->second.spec.argv) {
        if (argument == word) return it->first;
      }
    }
    return 0;
  }

  std::map<pid_t, Process> running;
  std::vector<StartedProcess> leftovers;
  std::string refuse;        // not empty: nothing can be started, for this reason
  pid_t last_pid = 5000000;  // above what the kernel gives
};

// What the daemon sends to actors, by actor.
class FakeLink final : public ActorLink {
 public:
  void send(JobId job, ActorId actor, Message message) override {
    if (message.envelope.kind == static_cast<std::uint16_t>(MessageKind::kWarmUp)) {
      warm_ups.push_back({job, actor, *parse_body<WarmUp>(message)});
      return;
    }
    sent[{job, actor}].push_back(std::move(message));
  }
  void forget(JobId job, ActorId actor) override { forgotten.emplace_back(job, actor); }

  struct WarmUpOrder {
    JobId job = 0;
    ActorId actor = kNoActor;
    WarmUp body;
  };
  std::map<std::pair<JobId, ActorId>, std::deque<Message>> sent;
  std::deque<WarmUpOrder> warm_ups;  // apart from the rest: a group's members seldom look at them
  std::vector<std::pair<JobId, ActorId>> forgotten;
};

// A store whose writes fail on demand; all else goes to the real one.
class FaultyStore final : public Store {
 public:
  explicit FaultyStore(std::unique_ptr<Store> real) : real_(std::move(real)) {}
  bool full = false;
  int flushes = 0;

  std::uint64_t incarnation() const override { return real_->incarnation(); }
  JobId next_job_id() const override { return real_->next_job_id(); }
  Status add_job(const StoredJob& job) override { return full ? no_space() : real_->add_job(job); }
  Status remove_job(JobId job) override { return full ? no_space() : real_->remove_job(job); }
  Status put_epoch(JobId job, const StoredEpoch& epoch) override {
    return full ? no_space() : real_->put_epoch(job, epoch);
  }
  Status put_tuning(JobId job, const TuningRecord& tuning) override {
    return full ? no_space() : real_->put_tuning(job, tuning);
  }
  void put_record(const JobRecord& record) override { real_->put_record(record); }
  void put_actor(JobId job, const StoredActor& actor) override { real_->put_actor(job, actor); }
  EventRecord add_event(EventRecord event) override { return real_->add_event(std::move(event)); }
  void add_steps(JobId job, const std::vector<StepMetrics>& steps) override { real_->add_steps(job, steps); }
  void drop_steps_after(JobId job, std::uint64_t step) override { real_->drop_steps_after(job, step); }
  void add_epoch_metrics(JobId job, const EpochMetrics& m) override { real_->add_epoch_metrics(job, m); }
  void add_checkpoint(JobId job, const StoredCheckpoint& c) override { real_->add_checkpoint(job, c); }
  void drop_checkpoints_after(JobId job, std::uint64_t step) override {
    real_->drop_checkpoints_after(job, step);
  }
  bool dirty() const override { return real_->dirty(); }
  Status flush() override {
    ++flushes;
    return full ? no_space() : real_->flush();
  }
  Result<std::vector<JobRecord>> jobs() override { return real_->jobs(); }
  Result<StoredJob> job(JobId job) override { return real_->job(job); }
  Result<std::vector<StoredActor>> actors(JobId job) override { return real_->actors(job); }
  Result<std::vector<StoredEpoch>> epochs(JobId job) override { return real_->epochs(job); }
  Result<std::vector<EventRecord>> events(JobId job, std::uint64_t after_id, std::uint32_t limit) override {
    return real_->events(job, after_id, limit);
  }
  Result<std::vector<EventRecord>> newest_events(JobId job, std::uint32_t limit) override {
    return real_->newest_events(job, limit);
  }
  Result<std::vector<StepMetrics>> steps(JobId job, std::uint64_t after_step, std::uint32_t limit) override {
    return real_->steps(job, after_step, limit);
  }
  Result<std::vector<EpochMetrics>> epoch_metrics(JobId job, std::uint64_t after_step) override {
    return real_->epoch_metrics(job, after_step);
  }
  Result<std::vector<StoredCheckpoint>> checkpoints(JobId job) override { return real_->checkpoints(job); }

 private:
  static Status no_space() { return fail(ErrorCode::kExhausted, "no space left (test)"); }
  std::unique_ptr<Store> real_;
};

std::string spec_text(const std::string& name, int min, int max, int global = 64, int micro = 8);
std::string plan_text(std::uint64_t memory_per_actor = 1 << 20, std::uint64_t steps = 8);

class World {
 public:
  explicit World(std::uint32_t slots = 4);
  // As if the daemon had died and a new one had started; fake processes go on running.
  void restart();
  Head& head() { return *head_; }
  void warm_up();                // newcomers answer what they were told
  void settle();                 // before_sleep(), as the loop does
  void advance(double seconds);  // time passes, with every deadline on the way kept
  // The same, while all living actors but those report as often as they have to.
  void pass(JobId job, double seconds, std::vector<ActorId> silent = {});
  // Submits and lets the plan succeed; 0 with `error` set if it is refused.
  JobId submit(const std::string& spec, const std::string& plan = plan_text());
  // All actors of a job that is starting say hello and answer until it trains.
  void train(JobId job);
  // As the actor says it when it starts, or, of a membership, to a new daemon.
  Result<Welcome> hello(JobId job, ActorId actor, GroupEpoch epoch = {}, std::uint64_t step = 0,
                        std::uint8_t activity = kIdle);
  void prepare(JobId job, ActorId actor);  // hello and Prepared
  // These park with that step, and say Ready: the whole of a transition that was announced.
  void transition(JobId job, std::vector<ActorId> members, std::vector<ActorId> leavers = {},
                  std::uint64_t step = 0);
  template <class Body>
  void say(JobId job, ActorId actor, const Body& body) {
    say_in(job, actor, head().find(std::to_string(job))->epoch, body);
  }
  template <class Body>
  void say_in(JobId job, ActorId actor, GroupEpoch epoch, const Body& body) {
    Envelope envelope;
    envelope.job = job;
    envelope.from = actor;
    envelope.epoch = epoch;
    head_->on_message(job, actor, make_message(envelope, body));
    settle();
  }
  // The next message to that actor, which must be a Body.
  template <class Body>
  Result<Body> told(JobId job, ActorId actor) {
    auto& queue = link.sent[{job, actor}];
    if (queue.empty()) return fail(ErrorCode::kNotFound, "nothing was sent");
    const Message message = queue.front();
    queue.pop_front();
    return parse_body<Body>(message);
  }
  JobRecord record(JobId job) { return *head().find(std::to_string(job)); }
  pid_t pid_of(JobId job, ActorId actor);
  std::string token_of(JobId job, ActorId actor);
  void end(JobId job, ActorId actor, ExitStatus status);  // its process
  // The last Reconfigure to that actor; what was sent before it is dropped.
  Result<Reconfigure> reconfigured(JobId job, ActorId actor);
  std::string event_kinds(JobId job);  // "Submitted Starting ..."

  TempDir dir;
  FakeClock clock;
  FakeProcesses processes;
  FakeLink link;
  bool newcomers_warm_up = true;  // at once, as soon as they are told
  std::unique_ptr<FaultyStore> store;
  HeadOptions options;
  Error error;

 private:
  std::unique_ptr<HeadPorts> ports_;
  std::unique_ptr<Head> head_;
};

}  // namespace seng::testing
