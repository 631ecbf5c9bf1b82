// What a job's run keeps of one actor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/actor_lifecycle.h"
#include "daemon/store.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/records.h"

namespace seng {

// The membership of a daemon before this one, until its actors are heard.
struct JobAdoption {
  StoredEpoch epoch;
  double until = 0;
};

struct JobActor {
  JobActor(const Timeouts& timeouts, double now) : life(timeouts, now), started_at(now) {}
  ActorLifecycle life;
  double started_at;
  ActorRecord record;
  std::string token, state_endpoint;
  std::uint64_t start_time_ticks = 0;
  LinkAbility link;                    // as in its hello
  std::uint32_t lanes = 1;             // micro-batches that it computes at a time
  bool draining = false;               // to be replaced
  bool joined = false;                 // was named in a membership
  bool committed = false;              // has committed a step of its own
  bool in_vain = false;                // failed as any other would
  std::optional<double> silent_since;  // its lease has run out
  // Of an actor that was taken over: its state as stored. And what it said in its hello to us, once it did.
  std::optional<std::string> adopted_as;
  std::optional<ActorHello> first_hello;
};

}  // namespace seng
