// What an actor can take its steps with when their vectors stay on its GPU, each made when it is first asked
// for. What there is no memory for is done the other way, with the same bits; an event says so once.
//
// Used by the driver's thread alone, which is the one lane.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/resident_group_step.h"
#include "actors/resident_home.h"
#include "actors/resident_step.h"

namespace seng {

class Residence {
 public:
  // Borrowed; must outlive it. event: a kind and a text.
  Residence(const Workload& workload, std::vector<Replica>& replicas,
            std::function<void(const std::string& kind, const std::string& text)> event)
      : workload_(workload), replicas_(replicas), event_(std::move(event)) {}

  // Of an actor that is alone, and of one in a group over NCCL; null where it is not to be.
  ResidentStep* alone();
  ResidentGroupStep* together();

  // As ResidentHome; where there is none the state is the host's.
  void take_there(const TrainState& state) { home_->take_there(state); }
  void bring_home(TrainState& state);
  void leave();
  void load() { home_->load(); }
  // Of the membership that was: the exchange takes its memory back.
  void let_go() {
    if (together_) together_->let_go();
  }

  // Why what the GPU could repeat by itself in such steps is not; empty: it is, or there is none.
  std::string graph_shortfall() const { return directions_ ? directions_->graph_shortfall() : ""; }

 private:
  template <class Step>
  Step* made(std::unique_ptr<Step>& step, bool& asked);

  const Workload& workload_;
  std::vector<Replica>& replicas_;
  const std::function<void(const std::string&, const std::string&)> event_;
  std::unique_ptr<ResidentHome> home_;
  std::unique_ptr<ResidentDirections> directions_;
  std::unique_ptr<ResidentStep> alone_;
  std::unique_ptr<ResidentGroupStep> together_;
  bool asked_alone_ = false, asked_together_ = false, told_ = false;
};

}  // namespace seng
