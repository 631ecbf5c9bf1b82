// Who measures the convolutions of a job with `engine.tune`, once in the job's life. Pure. One per job.
//
//                   1 ask()            2 Tuned            4 stored
//          wanted -----------> asked -----------> measured --------> settled
//            ^                   |
//            +------ 3 ----------+
//   1 Somebody is connected and heard: the one with the lowest number.
//   2 The first word counts, of those who were ever asked: one that was silent for a while may be faster than
//     who was asked behind it.
//   3 It has ended, is silent, or took longer than an actor has for its preparation.
//   4 Nobody plans a network by what is not stored, so that no two actors ever go by different choices. A job
//     that is not tuned, whose choices came with it, or that is on the CPU, is settled from the start.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/job_plan.h"
#include "protocol/base/ids.h"
#include "protocol/messages/tuning.h"

namespace seng {

class Tuning {
 public:
  explicit Tuning(bool wanted) : state_(wanted ? State::kWanted : State::kSettled) {}

  bool settled() const { return state_ == State::kSettled; }
  // `able`: who could measure now, by number. The one to be asked now, if any: nobody while one is at it.
  std::optional<ActorId> ask(const std::vector<ActorId>& able);
  // Whether it is the one that measures now: the others wait for what it says to be stored, however long.
  bool is_at_it(ActorId actor) const { return state_ == State::kWanted && at_it_ == actor; }
  // It has measured. False: its word does not count.
  bool measured(ActorId actor);
  void settle() { state_ = State::kSettled; }

 private:
  enum class State { kWanted, kMeasured, kSettled };
  State state_;
  std::optional<ActorId> at_it_;
  std::set<ActorId> asked_;
};

// Of choices that a new job brings along; empty where it brings none, or is not tuned.
TuningRecord tuning_of(const JobPlan& plan);

// "24 choices for NVIDIA H100: a micro-batch's convolutions take 10.1 ms, by cuDNN's expectation 12.3 ms ..."
std::string tuning_text(const TuningRecord& tuning);

}  // namespace seng
