#include "daemon/daemon.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/actor_server.h"
#include "daemon/control_server.h"
#include "daemon/event_loop.h"
#include "daemon/gpus.h"
#include "daemon/head.h"
#include "daemon/process_runner_posix.h"
#include "daemon/store.h"
#include "protocol/base/clock.h"
#include "protocol/base/log.h"
#include "protocol/base/text.h"
#include "protocol/base/version.h"
#include "protocol/channel/endpoint.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {

// In the order of making: each may use those above it.
struct Daemon::Parts {
  SystemClock clock;
  EventLoop loop{clock};
  std::unique_ptr<Store> store;
  ChannelContext context;
  std::unique_ptr<ServerChannel> control_channel, actor_channel;
  PosixProcessRunner processes{loop};
  std::unique_ptr<ActorServer> actors;
  EventLoop::WatchId actor_watch = 0;
  std::unique_ptr<Head> head;
  std::unique_ptr<ControlServer> control;
  UniqueFd signals, state_watch;
  std::optional<EventLoop::TimerId> timer;
  bool stopping = false;
  bool state_gone = false;   // somebody has removed the state directory, or its lock
  double stop_deadline = 0;  // when patience with the jobs ends
  double last_deadline = 0;  // when the daemon ends whatever still runs
};

Daemon::Daemon() = default;
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon::~Daemon() = default;

namespace {

std::string beside_this_program(const char* name) {
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? name : (self.parent_path() / name).string();
}

Status block_signals(UniqueFd& out) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return fail(errno_error("cannot block signals"));
  // A full disk and a vanished reader are errors of the call, not the end of the process.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  out.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!out) return fail(errno_error("signalfd"));
  return {};
}

}  // namespace

namespace {

// Where actors look for a library of theirs.
bool has_library(const std::string& actor_binary, const char* name) {
  const std::filesystem::path folder = std::filesystem::path(actor_binary).parent_path();
  const auto there = [](const std::filesystem::path& file) { return access(file.c_str(), R_OK) == 0; };
  return there(folder / name) || there(folder.parent_path() / "lib" / name);
}

// What the actors can run on. The library is closed again: the daemon may fork before it serves.
Result<std::vector<SlotDevice>> slot_devices(const DaemonOptions& options, const HeadOptions& head,
                                             std::vector<std::string>& warnings) {
  SlotRequest request;
  request.device = options.device;
  request.slots = options.slots;
  request.cpu_slots = std::max(1u, head.cores / options.threads_per_slot);
  request.actors_per_gpu = options.actors_per_gpu;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) request.visible = visible;
  if (!has_library(head.actor_binary, "libseng_cuda.so"))
    request.backend_lacks =
        "this build has no CUDA backend (libseng_cuda.so): scripts/build.sh makes it where the CUDA Toolkit "
        "and "
        "cuDNN 9 are";
  Result<std::vector<GpuRecord>> gpus = fail(ErrorCode::kUnavailable, "not asked");
  if (request.device != "cpu" && request.backend_lacks.empty()) {
    const auto open = Gpus::open(options.nvml_library.empty() ? kNvmlLibrary : options.nvml_library);
    gpus = open ? open->read() : Result<std::vector<GpuRecord>>(fail(open.error()));
  }
  for (const GpuRecord& gpu : gpus.value_or(std::vector<GpuRecord>()))
    if (gpu.uuid.empty()) warnings.push_back("a GPU is left out: " + gpu.model);
  if (const std::string lacks = gpus_lack(request, gpus); request.device == "auto" && !lacks.empty())
    warnings.push_back("--device auto takes the CPU: " + lacks);
  return plan_slots(request, gpus);
}

// Opens the library when it is first asked, after any fork, and keeps it: opening may wake the driver.
std::vector<GpuRecord> read_gpus(const std::string& library, std::optional<Gpus>& open) {
  if (!open) {
    auto gpus = Gpus::open(library);
    if (!gpus) return {};
    open = *std::move(gpus);
  }
  auto out = open->read().value_or(std::vector<GpuRecord>());
  std::erase_if(out, [](const GpuRecord& gpu) { return gpu.uuid.empty(); });
  return out;
}

}  // namespace

Result<Daemon> Daemon::plan(const DaemonOptions& options, const Inventory& inventory) {
  Daemon out;
  out.options_ = options;
  if (options.state_dir.empty()) {
    auto dir = default_state_dir();
    if (!dir) return fail(std::move(dir).error());
    out.options_.state_dir = *dir;
  }
  auto state_dir = StateDir::plan(out.options_.state_dir);
  if (!state_dir) return fail(std::move(state_dir).error());
  out.state_dir_ = *std::move(state_dir);
  HeadOptions& head = out.head_options_;
  head.state_dir = out.state_dir_.path();
  head.peer_dir = out.state_dir_.run_dir();
  head.actor_binary = options.actor_binary.empty()
                          ? beside_this_program("seng-actor")
                          : std::filesystem::absolute(options.actor_binary).lexically_normal().string();
  auto endpoint = ipc_endpoint(out.state_dir_.actor_socket());
  if (!endpoint) return fail(std::move(endpoint).error());
  head.actor_endpoint = *endpoint;
  head.node = inventory.node;
  head.cpu_model = inventory.cpu_model;
  head.cores = inventory.cores;
  head.memory_bytes = inventory.memory_bytes;
  head.threads_per_slot = options.threads_per_slot;
  auto devices = slot_devices(options, head, out.warnings_);
  if (!devices) return fail(std::move(devices).error());
  head.devices = *std::move(devices);
  head.slots = static_cast<std::uint32_t>(head.devices.size());
  head.nccl = has_library(head.actor_binary, "libseng_nccl.so");
  head.timeouts = options.timeouts;
  if (head.devices.front().device == "cuda") {
    head.read_gpus = [library =
                          options.nvml_library.empty() ? std::string(kNvmlLibrary) : options.nvml_library,
                      open = std::make_shared<std::optional<Gpus>>()] { return read_gpus(library, *open); };
  }
  return out;
}

std::string Daemon::config() const {
  const HeadOptions& head = head_options_;
  std::string out;
  const auto line = [&](std::string_view key, const std::string& value) {
    out += fmt::format("{}: {}\n", key, value);
  };
  line("state_dir", state_dir_.path());
  line("control_socket", state_dir_.control_socket());
  line("actor_socket", state_dir_.actor_socket());
  line("database", state_dir_.database());
  line("log_file", state_dir_.log_file());
  line("actor_binary", head.actor_binary);
  line("node", head.node);
  line("cpu_model", head.cpu_model);
  line("cores", std::to_string(head.cores));
  line("memory_mib", std::to_string(head.memory_bytes >> 20));
  line("slots", std::to_string(head.slots));
  line("threads_per_slot", std::to_string(head.threads_per_slot));
  line("device", options_.device);
  for (std::size_t slot = 0; slot < head.devices.size(); ++slot) {
    const SlotDevice& device = head.devices[slot];
    if (!device.gpu.empty())
      line(fmt::format("slot_{}", slot), fmt::format("{} {}", device.kind, device.gpu));
  }
  line("foreground", options_.foreground ? "true" : "false");
  line("keep_actors", options_.keep_actors ? "true" : "false");
  for (const NamedTimeout& timeout : list_timeouts(head.timeouts)) {
    line(timeout.name + "_seconds", fmt::format("{:g}  # {}", timeout.seconds, timeout.meaning));
  }
  return out;
}

Status Daemon::open_parts() {
  Parts& p = *parts_;
  auto store = open_sqlite_store(state_dir_.database());
  if (!store) return fail(std::move(store).error());
  p.store = *std::move(store);
  auto actor_channel = bind_server(p.context, head_options_.actor_endpoint);
  if (!actor_channel) return fail(std::move(actor_channel).error());
  p.actor_channel = *std::move(actor_channel);
  p.actors = std::make_unique<ActorServer>(*p.actor_channel);
  p.head = std::make_unique<Head>(head_options_, HeadPorts{*p.store, p.processes, *p.actors, p.clock});
  p.actors->serve(*p.head);
  // Before any process: actors' words come before their exits, where both are there.
  p.actor_watch = p.loop.watch(*p.actor_channel, [&p, gather_s = head_options_.timeouts.gather_s()] {
    const bool said = p.actors->on_readable();
    // Heartbeats of jobs that only train can wait for one another.
    if (said && p.head->calm()) p.loop.hold(p.actor_watch, p.clock.now() + gather_s);
  });
  SENG_TRY(p.head->recover());
  const auto endpoint = ipc_endpoint(state_dir_.control_socket());
  if (!endpoint) return fail(endpoint.error());
  auto control_channel = bind_server(p.context, *endpoint);
  if (!control_channel) return fail(std::move(control_channel).error());
  p.control_channel = *std::move(control_channel);
  p.control = std::make_unique<ControlServer>(
      *p.control_channel, *p.head, p.clock,
      ControlServer::About{p.clock.wall(), state_dir_.path(), head_options_.node});
  return {};
}

Status Daemon::start() {
  UniqueFd signals;
  SENG_TRY(block_signals(signals));
  umask(077);
  const std::string& actor = head_options_.actor_binary;
  const std::string cannot_run = fmt::format("cannot run {}, which trains the jobs{}", actor,
                                             options_.actor_binary.empty() ? " and lies beside sengd" : "");
  if (access(actor.c_str(), X_OK) != 0) return fail(errno_error(cannot_run));
  if (std::error_code unknown; !std::filesystem::is_regular_file(actor, unknown))
    return fail(ErrorCode::kInvalidArgument, cannot_run + ": it is no file");
  SENG_TRY(state_dir_.take(SystemClock().wall()));
  LogOptions log{"sengd", state_dir_.log_file(), false, options_.log_level};
  SENG_TRY(init_log(log));
  log_info("sengd {} starts, process {}, state in {}", seng_version(), getpid(), state_dir_.path());
  parts_ = std::make_unique<Parts>();
  parts_->signals = std::move(signals);
  if (Status opened = open_parts(); !opened) {
    log_error("cannot start: {}", opened.error().message);
    return opened;
  }
  // From here on; an error of the start is printed by main.
  log.also_stderr = options_.foreground;
  SENG_TRY(init_log(log));
  Parts& p = *parts_;
  p.loop.watch(*p.control_channel, [&p] { p.control->on_readable(); });
  p.loop.watch_fd(p.signals.get(), [this] { on_signal(); });
  if (auto watch = state_dir_.watch()) {
    p.state_watch = *std::move(watch);
    p.loop.watch_fd(p.state_watch.get(), [this] { on_state_changed(); });
  } else {
    log_warning("{}; should the state directory be removed, sengd will not notice", watch.error().message);
  }
  p.loop.before_sleep([this] { before_sleep(); });
  before_sleep();  // what the store held may want to start
  for (const std::string& warning : warnings_) log_warning("{}", warning);
  const HeadOptions& head = head_options_;
  if (head.slots * head.threads_per_slot > head.cores) {
    log_warning("{} of {} on {}: actors will share cores", counted(head.slots, "slot"),
                counted(head.threads_per_slot, "thread"), counted(head.cores, "core"));
  }
  log_info("serving at {} with {} of {}", p.control_channel->endpoint(), counted(head.slots, "slot"),
           counted(head.threads_per_slot, "thread"));
  return {};
}

void Daemon::on_signal() {
  signalfd_siginfo info{};
  while (read(parts_->signals.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGHUP) {
      if (auto reopened = reopen_log(); !reopened) log_error("{}", reopened.error().message);
      log_info("log opened anew");
    } else {
      begin_stop(info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    }
  }
}

// Without its lock another daemon may take the directory; without the directory nobody reaches this one, and
// nothing that its actors write lasts.
void Daemon::on_state_changed() {
  Parts& p = *parts_;
  char events[4096];
  while (read(p.state_watch.get(), events, sizeof(events)) > 0) {
  }
  if (p.state_gone || !state_dir_.gone()) return;
  p.state_gone = true;
  begin_stop(fmt::format("{} was removed or moved away", state_dir_.lock_file()));
  if (access(state_dir_.path().c_str(), F_OK) != 0) p.stop_deadline = p.clock.now();
}

void Daemon::begin_stop(const std::string& why) {
  Parts& p = *parts_;
  const double now = p.clock.now();
  if (p.stopping) {
    log_info("{}: not waiting for the jobs any longer", why);
    p.stop_deadline = now;
    return;
  }
  log_info("{}: stopping", why);
  p.stopping = true;
  p.stop_deadline = now + head_options_.timeouts.stop_daemon_s();
  p.last_deadline =
      p.stop_deadline + 2 * head_options_.timeouts.terminate_s() + head_options_.timeouts.linger_s();
  p.head->begin_shutdown("the daemon was stopped", options_.keep_actors);
}

void Daemon::before_sleep() {
  Parts& p = *parts_;
  const double now = p.clock.now();
  p.head->on_time();
  if (p.stopping && p.stop_deadline > 0 && now >= p.stop_deadline) {
    p.stop_deadline = 0;
    p.last_deadline = now + 2 * head_options_.timeouts.terminate_s();
    p.head->hurry_shutdown();
  }
  p.head->before_sleep();
  p.control->before_sleep();
  // What a user has just asked for is about to be answered there.
  if (!p.head->calm()) p.loop.release(p.actor_watch);
  if (p.stopping && (p.head->shut_down() || now >= p.last_deadline)) p.loop.stop();
  arm_timer();
}

// One timer, for the nearest of all deadlines; none, if nothing is pending.
void Daemon::arm_timer() {
  Parts& p = *parts_;
  if (p.timer) p.loop.cancel(*p.timer);
  p.timer.reset();
  std::optional<double> due = p.head->deadline();
  const auto take = [&](std::optional<double> other) {
    if (other) due = std::min(due.value_or(*other), *other);
  };
  take(p.control->deadline());
  if (p.stopping) take(p.stop_deadline > 0 ? p.stop_deadline : p.last_deadline);
  if (due) p.timer = p.loop.at(*due, [&p] { p.timer.reset(); });
}

Status Daemon::run() {
  Parts& p = *parts_;
  const Status ran = p.loop.run();
  p.control->before_sleep();
  if (auto written = p.store->flush(); !written) log_error("{}", written.error().message);
  log_info("stopped");
  // Closing gives the last replies time to leave.
  p.control_channel.reset();
  p.actor_channel.reset();
  // Another daemon's sockets may lie there already.
  if (p.state_gone)
    return fail(ErrorCode::kIo, state_dir_.lock_file() + " was removed or moved away while sengd ran");
  unlink(state_dir_.control_socket().c_str());
  unlink(state_dir_.actor_socket().c_str());
  return ran;
}

}  // namespace seng
