// What the head and its running jobs share: settings, and the doors to the world, which tests replace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/liveness.h"
#include "daemon/process_runner.h"
#include "daemon/slot_devices.h"
#include "daemon/store.h"
#include "daemon/timeouts.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/wire/message.h"

namespace seng {

// The daemon's side of the actors' connections.
class ActorLink {
 public:
  virtual ~ActorLink() = default;
  // To an actor that has said hello. What cannot be sent is dropped: if the actor is gone its process says
  // so.
  virtual void send(JobId job, ActorId actor, Message message) = 0;
  // Nothing is taken from or sent to it any more.
  virtual void forget(JobId job, ActorId actor) = 0;
};

struct HeadOptions {
  std::string state_dir;       // absolute
  std::string actor_binary;    // absolute
  std::string actor_endpoint;  // where actors connect to
  std::string peer_dir;        // where actors' own sockets go
  std::string node = "localhost";
  std::string cpu_model;
  std::uint32_t cores = 1;
  std::uint32_t slots = 1;          // actors at a time
  std::vector<SlotDevice> devices;  // of each slot; those that are missing are the CPU
  bool nccl = true;                 // actors on GPUs may have NCCL: its library is beside their program
  // The machine's GPUs as they are now; may be empty.
  std::function<std::vector<GpuRecord>()> read_gpus = {};
  std::uint32_t threads_per_slot = 1;  // an actor's lanes, where its job does not say
  std::uint64_t memory_bytes = 0;      // of the node; 0: unknown
  Timeouts timeouts;
};

// All outlive the head.
struct HeadPorts {
  Store& store;
  ProcessRunner& processes;
  ActorLink& actors;
  const Clock& clock;
};

inline SlotDevice device_of(const HeadOptions& options, std::uint32_t slot) {
  return slot < options.devices.size() ? options.devices[slot] : SlotDevice{};
}

inline std::string job_dir(const HeadOptions& options, JobId job) {
  return options.state_dir + "/jobs/" + std::to_string(job);
}

}  // namespace seng
