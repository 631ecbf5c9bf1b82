#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "actors/command_line.h"
#include "actors/data/data_error.h"
#include "actors/driver.h"
#include "actors/engine/backend.h"
#include "actors/exchange/nccl_module.h"
#include "actors/plan.h"
#include "actors/process.h"
#include "protocol/base/log.h"
#include "protocol/base/version.h"

namespace seng {

namespace {

int run_plan(const ActorCommandLine& line) {
  constexpr std::size_t kMaxSpecBytes = 1 << 20;
  std::string spec;
  char buffer[65536];
  while (spec.size() <= kMaxSpecBytes && std::cin.read(buffer, sizeof buffer).gcount() > 0)
    spec.append(buffer, static_cast<std::size_t>(std::cin.gcount()));
  const PlanOutcome outcome = plan_job(spec, line.lanes);
  std::cout << outcome.json << std::endl;
  return outcome.ok ? 0 : 2;
}

// "auto": the GPU where there is one that can be used.
Result<std::unique_ptr<Backend>> backend_of(const std::string& device) {
  if (device != "cpu")
    if (auto backend = make_backend(Device::kCuda); backend || device == "cuda") return backend;
  return make_backend(Device::kCpu);
}

// What the actor can do over NCCL goes into its hello; null where that is nothing, and the log says why.
const link::Module* nccl_of(Device device, ActorHello& hello) {
  if (device != Device::kCuda) return nullptr;
  const auto module = link::open_module();
  const link::Ability ability = link::ability_of(module);
  if (!ability.why.empty()) log_info("{}", ability.why);
  if (ability.version == 0) return nullptr;
  hello.link = {ability.version, ability.gpu};
  return *module;
}

int run_actor(const ActorCommandLine& line) {
  const std::string name = "actor " + actor_name(line.job, line.actor);
  if (auto logging = init_log({.name = name}); !logging) std::cerr << logging.error().message << "\n";
  // The token is a secret between the daemon and this process.
  const char* token = std::getenv("SENG_ACTOR_TOKEN");
  SessionOptions options;
  options.daemon_endpoint = line.daemon_endpoint;
  options.job = line.job;
  options.actor = line.actor;
  options.hello.token = token ? token : "";
  options.hello.node = line.node;
  options.hello.pid = getpid();
  options.hello.start_time_ticks = process_start_time_ticks();
  options.hello.peer_endpoint =
      "ipc://" + line.peer_dir + "/a" + std::to_string(line.job) + "." + std::to_string(line.actor);
  options.hello.state_endpoint =
      "ipc://" + line.peer_dir + "/s" + std::to_string(line.job) + "." + std::to_string(line.actor);
  options.hello.lanes = static_cast<std::uint32_t>(line.lanes);
  options.hello.version = std::string(seng_version());
  unsetenv("SENG_ACTOR_TOKEN");

  auto backend = backend_of(line.device);
  if (!backend) {
    log_error("{}", backend.error().message);
    return 1;
  }
  const Device device = (*backend)->device();
  const std::string device_name = (*backend)->device_name();
  options.hello.device = device_name + " x" + std::to_string(line.lanes);
  backend->reset();
  const link::Module* nccl = nccl_of(device, options.hello);
  Session session(options);
  if (auto started = session.start(); !started) {
    log_error("{}", started.error().message);
    return 1;
  }
  Driver driver({.job = line.job,
                 .actor = line.actor,
                 .slot_lanes = line.lanes,
                 .host_threads = line.host_threads,
                 .device = device,
                 .device_name = device_name,
                 .peer_endpoint = options.hello.peer_endpoint,
                 .state_endpoint = options.hello.state_endpoint,
                 .nccl = nccl},
                session);
  Status status;
  bool in_vain = false;
  try {
    status = driver.run();
    in_vain = driver.in_vain();
  } catch (const DataError& error) {
    in_vain = error.lasts();
    status = fail(error.error());
  } catch (const std::bad_alloc&) {
    status = fail(ErrorCode::kExhausted, "out of memory");
  } catch (const std::exception& error) {
    status = fail(ErrorCode::kInternal, error.what());
  }
  if (status) return 0;
  session.send(ActorFailed{status.error().code, status.error().message, in_vain});
  log_error("{}", status.error().message);
  return 1;
}

}  // namespace

}  // namespace seng

int main(int argc, char** argv) {
  using seng::ActorCommandLine;
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  // glibc would give every step's big blocks back to the kernel and fault them in again.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const auto line = seng::parse_command_line(argc, argv);
  if (!line) {
    std::cerr << "seng-actor: " << line.error().message << "\n\n" << seng::usage();
    return 2;
  }
  switch (line->verb) {
    case ActorCommandLine::Verb::kHelp:
      std::cout << seng::usage();
      return 0;
    case ActorCommandLine::Verb::kVersion:
      std::cout << "seng-actor " << seng::seng_version() << "\n";
      return 0;
    case ActorCommandLine::Verb::kPlan:
      return seng::run_plan(*line);
    case ActorCommandLine::Verb::kRun:
      return seng::run_actor(*line);
  }
  return 2;
}
