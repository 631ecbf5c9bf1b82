// What the daemon adds to a group of N actors that compute nothing. A real sengd starts N processes of this
// program, which only hand their token to the parent and sleep; the parent's few threads speak for them:
// hello, memberships, heartbeats three times a lease, and the leader's word on ten steps a second.
//
//   coordination_bench SENGD N [rounds = 10] [seconds = 10]
//
// Prints JSON: sengd's processor time per step of 100 ms and per Progress (from /proc, all its threads), and
// the time from the first Reconfigure that an actor gets to the last Resume, when the group shrinks and grows
// by one. The actors' threads and sengd share the machine's cores, so that the latter is an upper bound.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/unique_fd.h"
#include "protocol/base/version.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"

namespace {

using namespace seng;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 2;
constexpr std::size_t kClientsPerContext = 250;  // a context's sockets are limited
constexpr auto kBeat = std::chrono::milliseconds(333);
constexpr double kStepSeconds = 0.1;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "coordination_bench: %s\n", why.c_str());
  std::exit(1);
}

double now() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

// What sengd starts.
int run_shim(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 2; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  const char* door = std::getenv("SENG_COORDINATION_BENCH");
  const char* token = std::getenv("SENG_ACTOR_TOKEN");
  if (!door || !token) return 2;
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = address_of(door);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return 3;
  std::ostringstream line;
  line << options["--daemon"] << ' ' << options["--job"] << ' ' << options["--actor"] << ' ' << getpid()
       << ' ' << token << '\n';
  if (write(fd, line.str().data(), line.str().size()) < 0) return 4;
  char byte;
  while (read(fd, &byte, 1) > 0) {
  }
  return 0;
}

int run_plan() {
  std::puts(
      R"({"ok":true,"steps_total":1000000000,"epochs_total":1000.0,"train_samples":1000000,"test_samples":1,"memory_per_actor_bytes":1000})");
  return 0;
}

// One transition, as the actors saw it.
struct Transition {
  double first_reconfigure = 0, last_resume = 0;
  std::size_t members = 0, resumed = 0;
};

class Board {
 public:
  void reconfigured(const GroupEpoch& epoch, std::size_t members) {
    const std::lock_guard lock(mutex_);
    Transition& t = transitions_[epoch];
    if (t.first_reconfigure == 0) t.first_reconfigure = now();
    t.members = members;
  }
  void resumed(const GroupEpoch& epoch) {
    const std::lock_guard lock(mutex_);
    Transition& t = transitions_[epoch];
    ++t.resumed;
    t.last_resume = now();
  }
  // The newest membership, when all its members train and it is newer than `after`.
  std::optional<std::pair<GroupEpoch, Transition>> whole(const GroupEpoch& after) const {
    const std::lock_guard lock(mutex_);
    if (transitions_.empty()) return std::nullopt;
    const auto& [epoch, t] = *transitions_.rbegin();
    if (epoch <= after || t.members == 0 || t.resumed < t.members) return std::nullopt;
    return std::pair(epoch, t);
  }
  std::uint64_t step() const {
    const double from = trains_since;
    return from == 0 ? 0 : static_cast<std::uint64_t>((now() - from) / kStepSeconds);
  }
  std::atomic<std::uint64_t> progress_sent{0};
  std::atomic<double> trains_since{0};

 private:
  mutable std::mutex mutex_;
  std::map<GroupEpoch, Transition> transitions_;
};

class Client {
 public:
  Client(ChannelContext& context, UniqueFd process, const std::string& daemon, JobId job, ActorId actor,
         std::int64_t pid, const std::string& token, Board& board)
      : process_(std::move(process)), job_(job), actor_(actor), board_(board) {
    auto channel = connect_client(context, daemon, {.identity = "actor-" + actor_name(job, actor)});
    if (!channel) give_up(channel.error().message);
    channel_ = *std::move(channel);
    ActorHello hello;
    hello.token = token;
    hello.node = "node";
    hello.pid = pid;
    hello.peer_endpoint = "ipc:///tmp/seng-nowhere/run/a1." + std::to_string(actor);
    hello.state_endpoint = "ipc:///tmp/seng-nowhere/run/s1." + std::to_string(actor);
    hello.device = "none";
    hello.version = seng_version();
    say(hello);
    next_beat_ = Clock::now() + kBeat * (actor % 100) / 100;
  }

  const ClientChannel& channel() const { return *channel_; }

  // False: it has left.
  bool take_all() {
    while (auto message = channel_->try_receive())
      if (!take(*message)) return false;
    return true;
  }

  void beat(Clock::time_point at) {
    if (at < next_beat_) return;
    next_beat_ += kBeat;
    if (next_beat_ < at) next_beat_ = at + kBeat;
    Progress progress;
    const std::uint64_t step = training_ ? std::max(step_, board_.step()) : step_;
    progress.applied_step = progress.counter = step;
    progress.activity = training_ ? kComputing : kIdle;
    progress.micro_batches = step;
    progress.compute_seconds = kStepSeconds * static_cast<double>(step);
    progress.memory_bytes = 1 << 20;
    for (std::uint64_t s = step_ + 1; leads_ && s <= step; ++s) {
      StepMetrics metrics;
      metrics.step = s;
      metrics.seconds = kStepSeconds;
      progress.steps.push_back(metrics);
    }
    step_ = step;
    say(progress);
    ++board_.progress_sent;
  }

 private:
  template <class Body>
  void say(const Body& body) {
    Envelope envelope;
    envelope.job = job_;
    envelope.from = actor_;
    envelope.epoch = epoch_;
    if (auto sent = channel_->send(make_message(envelope, body)); !sent) give_up(sent.error().message);
  }

  bool take(const Message& message) {
    switch (static_cast<MessageKind>(message.envelope.kind)) {
      case MessageKind::kError:
        if (training_) return false;  // sengd ends
        give_up("refused: " + parse_body<ErrorReply>(message)->message);
      case MessageKind::kWelcome:
        say(Prepared{});
        return true;
      case MessageKind::kWarmUp: {
        const auto order = parse_body<WarmUp>(message);
        if (!order) give_up(order.error().message);
        if (std::ranges::find(order->newcomers, actor_) != order->newcomers.end())
          say(WarmedUp{order->number, step_, 0, ""});
        return true;
      }
      case MessageKind::kReconfigure: {
        const auto group = parse_body<Reconfigure>(message);
        if (!group) give_up(group.error().message);
        epoch_ = message.envelope.epoch;
        leads_ = group->members.front().actor == actor_;
        training_ = false;
        board_.reconfigured(epoch_, group->members.size());
        say(Parked{step_, {}});
        return true;
      }
      case MessageKind::kAssign:
        step_ = parse_body<Assign>(message)->base_step;
        say(Ready{});
        return true;
      case MessageKind::kResume:
        training_ = true;
        board_.resumed(epoch_);
        return true;
      case MessageKind::kRetire: {
        Finished last;
        last.retired = true;
        say(last);
        return false;
      }
      default:
        return true;
    }
  }

  UniqueFd process_;  // closing it ends the process
  std::unique_ptr<ClientChannel> channel_;
  JobId job_;
  ActorId actor_;
  Board& board_;
  GroupEpoch epoch_;
  std::uint64_t step_ = 0;
  bool leads_ = false, training_ = false;
  Clock::time_point next_beat_;
};

struct Newcomer {
  UniqueFd process;
  std::string daemon, token;
  JobId job = 0;
  ActorId actor = 0;
  std::int64_t pid = 0;
};

// A thread that speaks for some of the actors.
class Worker {
 public:
  explicit Worker(Board& board) : board_(board), thread_([this] { run(); }) {}
  ~Worker() {
    ends_ = true;
    thread_.join();
  }
  void add(Newcomer newcomer) {
    const std::lock_guard lock(mutex_);
    newcomers_.push_back(std::move(newcomer));
  }

 private:
  void welcome_newcomers() {
    const std::lock_guard lock(mutex_);
    for (; !newcomers_.empty(); newcomers_.pop_front()) {
      Newcomer& n = newcomers_.front();
      if (made_++ % kClientsPerContext == 0) contexts_.push_back(std::make_unique<ChannelContext>());
      auto client = std::make_unique<Client>(*contexts_.back(), std::move(n.process), n.daemon, n.job,
                                             n.actor, n.pid, n.token, board_);
      poller_->watch(client->channel(), n.actor);
      clients_[n.actor] = std::move(client);
    }
  }

  void run() {
    poller_ = std::make_unique<Poller>();
    while (!ends_) {
      welcome_newcomers();
      const auto ready = poller_->wait(5);
      if (!ready) give_up(ready.error().message);
      for (const Poller::Token token : *ready) {
        const auto found = clients_.find(static_cast<ActorId>(token));
        if (found->second->take_all()) continue;
        poller_->forget(token);
        clients_.erase(found);
      }
      const auto at = Clock::now();
      for (auto& [actor, client] : clients_) client->beat(at);
    }
    poller_.reset();
    clients_.clear();
  }

  Board& board_;
  std::mutex mutex_;
  std::deque<Newcomer> newcomers_;
  std::size_t made_ = 0;
  std::vector<std::unique_ptr<ChannelContext>> contexts_;
  std::map<ActorId, std::unique_ptr<Client>> clients_;
  std::unique_ptr<Poller> poller_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (pipe && std::fgets(buffer, sizeof buffer, pipe)) out += buffer;
  if (!pipe || pclose(pipe) != 0) give_up(command + ": " + out);
  return out;
}

// Of all threads.
double cpu_seconds(const std::string& pid) {
  double nanoseconds = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    std::ifstream file(task.path() / "schedstat");
    double on_cpu = 0;
    if (file >> on_cpu) nanoseconds += on_cpu;
  }
  return 1e-9 * nanoseconds;
}

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size()));
  return values.empty() ? 0 : values[std::min(values.size() - 1, at)];
}

class CoordinationBench {
 public:
  CoordinationBench(const std::string& sengd, int actors) : actors_(actors) {
    char directory[] = "/tmp/seng-coordination-XXXXXX";
    if (!mkdtemp(directory)) give_up("cannot make a directory");
    dir_ = directory;
    ctl_ = std::filesystem::path(sengd).parent_path() / "sengctl";
    const std::string door = dir_ + "/door";
    setenv("SENG_COORDINATION_BENCH", door.c_str(), 1);
    listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(door);
    if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_.get(), 1024) != 0)
      give_up("cannot listen");
    for (int i = 0; i < kThreads; ++i) workers_.push_back(std::make_unique<Worker>(board_));
    acceptor_ = std::thread([this] { accept_all(); });
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    output_of(sengd + " --state-dir " + dir_ + "/state --slots " + std::to_string(actors) +
              " --actor-binary " + self);
    const std::string version = output_of(ctl("version -o json"));
    pid_ = number_behind(version.substr(version.find("daemon")), "\"pid\":");
  }

  ~CoordinationBench() {
    kill(std::stoi(pid_), SIGTERM);
    kill(std::stoi(pid_), SIGINT);
    shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    workers_.clear();
    while (kill(std::stoi(pid_), 0) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::filesystem::remove_all(dir_);
  }

  void run(int rounds, double seconds) {
    const double begun = now();
    submit();
    GroupEpoch epoch = wait_for_group(actors_, {}).first;
    const double started = now() - begun;
    board_.trains_since = now();
    std::this_thread::sleep_for(std::chrono::seconds(2));
    std::vector<double> per_step;
    const std::uint64_t sent = board_.progress_sent;
    const double cpu = cpu_seconds(pid_), from = now();
    double before = cpu;
    while (now() < from + seconds) {
      std::this_thread::sleep_for(std::chrono::duration<double>(kStepSeconds));
      const double after = cpu_seconds(pid_);
      per_step.push_back(1e3 * (after - before));
      before = after;
    }
    const double wall = now() - from, used = before - cpu;
    const double messages = static_cast<double>(board_.progress_sent - sent);
    std::vector<double> transitions, transition_cpu;
    for (int round = 0; round < rounds; ++round) {
      for (const int size : {actors_ - 1, actors_}) {
        const double at = cpu_seconds(pid_);
        output_of(ctl("scale 1 " + std::to_string(size)));
        const auto [next, t] = wait_for_group(size, epoch);
        epoch = next;
        transitions.push_back(1e3 * (t.last_resume - t.first_reconfigure));
        transition_cpu.push_back(1e3 * (cpu_seconds(pid_) - at));
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
      }
    }
    std::printf(
        "{\"actors\": %d, \"start_s\": %.2f, \"step_s\": %g, \"step_ms_p50\": %.3f, \"step_ms_p99\": %.3f, "
        "\"progress_us\": %.2f, \"progress_per_s\": %.0f, \"cpu_share\": %.4f, \"transition_ms_p50\": %.1f, "
        "\"transition_ms_p99\": %.1f, \"transition_cpu_ms_p50\": %.1f, \"transitions\": %zu}\n",
        actors_, started, kStepSeconds, quantile(per_step, 0.5), quantile(per_step, 0.99),
        1e6 * used / messages, messages / wall, used / wall, quantile(transitions, 0.5),
        quantile(transitions, 0.99), quantile(transition_cpu, 0.5), transitions.size());
  }

 private:
  std::string ctl(const std::string& words) const {
    return ctl_ + " " + words + " --state-dir " + dir_ + "/state";
  }

  static std::string number_behind(const std::string& text, const std::string& key) {
    const std::size_t at = text.find_first_of("0123456789", text.find(key) + key.size());
    return text.substr(at, text.find_first_not_of("0123456789", at) - at);
  }

  void submit() {
    std::ofstream(dir_ + "/job.yaml")
        << "name: light\nmodel: {name: lenet}\ndata: {name: synthetic}\n"
        << "batch: {global: 1024, micro: 1}\nsteps: 1000000000\n"
        << "optimizer: {name: sgd, lr: 0.1}\nactors: {min: " << actors_ << ", max: " << actors_ << "}\n";
    output_of(ctl("submit " + dir_ + "/job.yaml"));
  }

  void accept_all() {
    for (std::size_t count = 0;; ++count) {
      UniqueFd process(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!process) return;
      std::string line;
      for (char byte; read(process.get(), &byte, 1) == 1 && byte != '\n';) line += byte;
      Newcomer newcomer;
      std::istringstream(line) >> newcomer.daemon >> newcomer.job >> newcomer.actor >> newcomer.pid >>
          newcomer.token;
      newcomer.process = std::move(process);
      workers_[count % workers_.size()]->add(std::move(newcomer));
    }
  }

  std::pair<GroupEpoch, Transition> wait_for_group(int size, const GroupEpoch& after) const {
    const double deadline = now() + 300;
    while (now() < deadline) {
      const auto whole = board_.whole(after);
      if (whole && whole->second.members == static_cast<std::size_t>(size)) return *whole;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    give_up("no group of " + std::to_string(size) + "\n" + output_of(ctl("events 1 | tail -n 5")));
  }

  const int actors_;
  std::string dir_, ctl_, pid_;
  Board board_;
  UniqueFd listener_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::thread acceptor_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "plan") return run_plan();
  if (argc > 1 && std::string(argv[1]) == "run") return run_shim(argc, argv);
  if (argc < 3) give_up("expected SENGD N [rounds] [seconds]");
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  CoordinationBench(argv[1], std::atoi(argv[2]))
      .run(argc > 3 ? std::atoi(argv[3]) : 10, argc > 4 ? std::atof(argv[4]) : 10);
  return 0;
}
