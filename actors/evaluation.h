// Evaluation on the test set, shared by the group: each member takes a run of evaluation batches, the leader
// adds the results in batch order. The result does not depend on who evaluated what. Training state is not
// touched.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "actors/engine/lanes.h"
#include "actors/exchange/exchange.h"
#include "actors/gauges.h"
#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {

struct EvaluationResult {
  double loss = 0, accuracy = 0;  // means over the test set
};

class Evaluation {
 public:
  // Borrowed; all must outlive it.
  Evaluation(const Workload& workload, Exchange& exchange, Lanes& lanes, std::vector<Replica>& replicas,
             Gauges& gauges);

  // Evaluates the state after `state.step`. Every member calls it at the same steps; only the leader gets a
  // result, the others an empty one at once. Empty for the leader: interrupted.
  std::optional<EvaluationResult> run(const TrainState& state, const Group& group);

 private:
  EvaluationPart own_part(const TrainState& state, std::uint32_t first, std::uint32_t last);
  std::optional<EvaluationResult> gather(const Group& group, std::uint64_t step, const EvaluationPart& own);

  const Workload& workload_;
  Exchange& exchange_;
  Lanes& lanes_;
  std::vector<Replica>& replicas_;
  Gauges& gauges_;
  std::uint32_t batches_;
  std::vector<std::vector<float>> images_;         // per lane
  std::vector<std::vector<std::int32_t>> labels_;  // per lane
};

}  // namespace seng
