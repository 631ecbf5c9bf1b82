// One actor's part of the training steps: computes its micro-batches, owns its blocks, commits.
//
// A step, from the inside (README.md has the picture):
//   compute      lanes run the micro-batches; each block's gradient goes to the exchange as backward reaches
//   it precondition the blocks that this actor owns, each as its sum (and on a refresh step its fragments) is
//   complete commit       when the directions of all blocks are here (and the fragments of the blocks it
//   backs up)
//
// Used by one thread, the driver. Everything that it computes is a function of the job and the step alone.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/background.h"
#include "actors/data/ledger.h"
#include "actors/data/loader.h"
#include "actors/data/sample_stream.h"
#include "actors/engine/lanes.h"
#include "actors/exchange/exchange.h"
#include "actors/gauges.h"
#include "actors/residence.h"
#include "actors/train_state.h"
#include "actors/workload.h"
#include "protocol/messages/records.h"

namespace seng {

class Trainer {
 public:
  // Borrowed; all must outlive the trainer.
  struct Parts {
    const Workload* workload;
    TrainState* state;
    Exchange* exchange;
    Lanes* lanes;                    // for micro-batches
    std::vector<Replica>* replicas;  // one per lane
    // Threads for what stays with the host where lanes are a GPU's: handing sums out, directions, the update.
    // Null: the lanes do it.
    Lanes* host = nullptr;
    Ledger* ledger = nullptr;  // null: none is kept
    // Warnings for the job's events, such as a refused refresh: kind, text.
    std::function<void(const std::string& kind, const std::string& text)> event;
    Gauges* gauges;
    // Called with each step behind its commit, while its directions are here. May be empty.
    std::function<void(const StepComplete& step)> committed = {};
  };
  explicit Trainer(Parts parts);
  ~Trainer();

  // Group::vectors of a membership that is to be joined: where this actor's step leaves its vectors on the
  // GPU.
  std::shared_ptr<VectorMemory> vectors_in(const Group& group);
  // Takes the membership: which micro-batches, which blocks. Makes room for the curvature of owned and
  // backed-up blocks, drops that of others and every version but the one in force.
  void set_group(const Group& group);

  // What this actor asks of the step, if it leads; and whether somebody follows it, who needs its directions
  // on the host.
  struct Ask {
    bool stop = false;  // the job's last
    bool park = false;  // the membership's last
    bool followed = false;
  };
  struct StepResult {
    StepMetrics metrics;
    bool stop = false, park = false;  // the leader's word
  };
  // Performs and commits step state->step + 1. Empty: interrupted; the state is that of the step before, and
  // of curvature both the version in force and what has been renewed in the step are here.
  // Where the state can be the GPU's (residence.h), it is from then on: bring_home() comes before anything
  // that looks at parameters, momentum or statistics of the state.
  std::optional<StepResult> step(Ask ask);
  void bring_home();
  // Why what the GPU could repeat by itself in such steps is not; empty: it is, or there is none.
  std::string graph_shortfall() const { return residence_.graph_shortfall(); }

  const std::string& interruption() const { return interruption_; }

 private:
  class LaneSink;
  struct OwnedBlock;
  // Micro-batches that a lane computes one after the other.
  struct PieceInHand {
    LeafRange micros;
    int lane = 0;
    std::uint64_t step = 0;
    int factor_samples = 0;
    std::optional<MicroBatch> next = {};  // has been read while the device was at the one before
  };

  bool goes_alone();
  std::optional<StepComplete> step_alone(bool refresh);
  std::optional<StepComplete> step_together(bool refresh);
  void take_samples(std::uint64_t step);
  void compute(std::uint64_t step, bool refresh);
  void announce(std::uint64_t step);
  std::vector<SampleUse> samples_of(std::uint64_t step);
  MicroBatch take(std::uint32_t micro, int lane, std::uint64_t step, const std::vector<SampleUse>& order);
  Replica::Copy copy_by_host() const;
  void compute_piece(PieceInHand piece);
  void compute_micro(std::uint32_t micro, PieceInHand& piece);
  void begin_curvature(std::uint64_t step, bool refresh);
  void estimate_costs();
  double refresh_cost(std::uint32_t block) const;
  void on_sum(const BlockSummed& event);
  void on_fragment(const FragmentArrived& event);
  Status keep(std::uint32_t block, std::uint32_t micro, std::span<const float> fragment) const;
  void publish_ready(bool refresh);
  void publish_there(const std::vector<std::uint32_t>& ready, const std::vector<Status>& accepted);
  std::vector<Status> accept(const std::vector<std::uint32_t>& blocks, const std::vector<double>& costs);
  void tell_refused(const std::vector<Status>& accepted);
  void publish_direction(std::uint32_t block, bool accepted, Lanes& lanes);
  void form_ahead(std::uint32_t block);
  void leave();
  void publish_summary(std::span<float> sum);
  std::uint32_t own_flags() const;
  void commit(const StepComplete& complete, StepMetrics& metrics);
  void settle_curvature(const StepComplete& complete);
  Lanes& host() const { return parts_.host != nullptr ? *parts_.host : *parts_.lanes; }

  Parts parts_;
  Group group_;
  SampleStream stream_;
  std::vector<OwnedBlock> owned_;  // per block; inactive for those of others
  Loader loader_;
  std::vector<SampleUse> order_;                // this step's samples, of this actor's micro-batches
  std::vector<SampleUse> judged_;               // of the step before, where this one judges it; else empty
  std::vector<LabelledImages> images_;          // per lane
  std::uint32_t first_ = 0, last_ = 0;          // this actor's micro-batches
  std::vector<LeafRange> pieces_;               // these, as lanes take them
  std::vector<std::uint32_t> order_of_taking_;  // of these, where they are taken in pieces
  double lr_ = 0, damping_ = 0;                 // of the step in hand
  double refresh_seconds_ = 0;                  // likewise
  Ask ask_;
  std::string interruption_;
  Residence residence_;
  ResidentStep* alone_ = nullptr;           // the step in hand, where it is taken so
  ResidentGroupStep* together_ = nullptr;   // the membership's steps, likewise
  mutable std::mutex by_host_;              // parts_.host serves one lane at a time
  std::unique_ptr<Background> background_;  // with overlap: forms curvature before it takes effect
};

}  // namespace seng
