// sengd <-> seng-actor: how a job with `engine.tune` comes to its algorithms, between Welcome and Prepared.
//
//   daemon: Welcome(awaits_choices)     to everybody, until the job has its choices
//   daemon: Tune                        to one of them
//   actor: Tuned                        it has measured
//   daemon: TakeChoices                 to everybody who waits; what came of it is stored before
//   actor: Prepared
#pragma once

#include <cstdint>
#include <string>

#include "protocol/base/ids.h"
#include "protocol/messages/kinds.h"

namespace seng {

// What a job's convolutions run with, and what is known of how it came about.
struct TuningRecord {
  std::string choices;  // actors/engine/convolution_choices.h; empty: none
  std::string device;   // the kind of device that they are of
  std::uint32_t count = 0;
  ActorId actor = kNoActor;  // that measured; none: they came with the specification or a checkpoint
  double at = 0;             // seconds since 1970; 0: likewise
  std::uint32_t candidates = 0;
  double expected_ms = 0;  // of one micro-batch's convolutions, forward and backward, by the library's
  double chosen_ms = 0;    // expectation and as chosen
  double seconds = 0;      // that measuring took
  template <class V>
  void visit(V& v) {
    v.field(1, "choices", choices);
    v.field(2, "device", device);
    v.field(3, "count", count);
    v.field(4, "actor", actor);
    v.field(5, "at", at);
    v.field(6, "candidates", candidates);
    v.field(7, "expected_ms", expected_ms);
    v.field(8, "chosen_ms", chosen_ms);
    v.field(9, "seconds", seconds);
  }
};

struct Tune {
  static constexpr MessageKind kKind = MessageKind::kTune;
  template <class V>
  void visit(V&) {}
};

struct Tuned {
  static constexpr MessageKind kKind = MessageKind::kTuned;
  TuningRecord tuning;  // actor and at are the daemon's to say
  template <class V>
  void visit(V& v) {
    v.field(1, "tuning", tuning);
  }
};

struct TakeChoices {
  static constexpr MessageKind kKind = MessageKind::kTakeChoices;
  std::string choices;
  template <class V>
  void visit(V& v) {
    v.field(1, "choices", choices);
  }
};

}  // namespace seng
