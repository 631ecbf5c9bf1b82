#include "actors/evaluation.h"

#include <algorithm>
#include <numeric>

#include "actors/data/data_error.h"

namespace seng {

namespace {

// The member's place in the group's order.
std::uint32_t rank_of(const Group& group) {
  for (std::uint32_t i = 0; i < group.members.size(); ++i)
    if (group.members[i].actor == group.self) return i;
  return 0;
}

}  // namespace

Evaluation::Evaluation(const Workload& workload, Exchange& exchange, Lanes& lanes,
                       std::vector<Replica>& replicas, Gauges& gauges)
    : workload_(workload), exchange_(exchange), lanes_(lanes), replicas_(replicas), gauges_(gauges) {
  const Dataset& test = *workload.data.test;
  const std::size_t batch = workload.spec.batch_micro;
  const std::size_t image = static_cast<std::size_t>(test.channels()) * test.height() * test.width();
  batches_ = static_cast<std::uint32_t>((test.size() + batch - 1) / batch);
  images_.assign(lanes.count(), std::vector<float>(image * batch));
  labels_.assign(lanes.count(), std::vector<std::int32_t>(batch));
}

std::optional<EvaluationResult> Evaluation::run(const TrainState& state, const Group& group) {
  const std::uint64_t rank = rank_of(group), members = group.members.size();
  const auto first = static_cast<std::uint32_t>(batches_ * rank / members);
  const auto last = static_cast<std::uint32_t>(batches_ * (rank + 1) / members);
  EvaluationPart own = own_part(state, first, last);
  if (exchange_.interrupted()) return std::nullopt;  // what is there may be a part of the part
  if (rank != 0) {
    exchange_.send(group.members.front().actor, state.step, std::move(own));
    return std::nullopt;
  }
  return gather(group, state.step, own);
}

EvaluationPart Evaluation::own_part(const TrainState& state, std::uint32_t first, std::uint32_t last) {
  lanes_.run(replicas_.size(),
             [&](std::size_t i, int) { replicas_[i].load(state.parameters, state.statistics); });
  EvaluationPart part;
  part.first_batch = first;
  part.loss_sums.resize(last - first);
  part.hits.resize(last - first);
  const Dataset& test = *workload_.data.test;
  const std::size_t batch = workload_.spec.batch_micro;
  lanes_.run(last - first, [&](std::size_t i, int lane) {
    if (exchange_.interrupted()) return;  // it would be for nothing
    const std::size_t begin = (first + i) * batch, end = std::min(begin + batch, test.size());
    std::vector<std::uint32_t> indices(end - begin);
    std::iota(indices.begin(), indices.end(), static_cast<std::uint32_t>(begin));
    if (auto read = test.read(indices, images_[lane].data(), labels_[lane].data()); !read)
      throw DataError(read.error());
    MicroBatch micro;
    micro.samples = static_cast<int>(end - begin);
    micro.images = images_[lane].data();
    micro.labels = labels_[lane].data();
    const LossSum sum = replicas_[lane].evaluate(micro);
    part.loss_sums[i] = sum.loss;
    part.hits[i] = sum.hits;
    gauges_.counter.fetch_add(1, std::memory_order_relaxed);
  });
  return part;
}

std::optional<EvaluationResult> Evaluation::gather(const Group& group, std::uint64_t step,
                                                   const EvaluationPart& own) {
  std::vector<double> losses(batches_);
  std::vector<std::uint64_t> hits(batches_);
  std::vector<bool> have(batches_);
  const auto take = [&](const EvaluationPart& part) {
    if (part.loss_sums.size() != part.hits.size()) return;
    for (std::size_t i = 0; i < part.loss_sums.size(); ++i) {
      const std::size_t batch = part.first_batch + i;
      if (batch >= batches_ || have[batch]) continue;
      losses[batch] = part.loss_sums[i];
      hits[batch] = part.hits[i];
      have[batch] = true;
    }
  };
  take(own);
  std::vector<ActorId> missing;
  for (const Member& member : group.members)
    if (member.actor != group.self) missing.push_back(member.actor);
  while (!missing.empty() && std::find(have.begin(), have.end(), false) != have.end()) {
    const auto event = exchange_.next_message(MessageKind::kEvaluationPart, step, missing);
    const auto* message = std::get_if<PeerMessage>(&event);
    if (!message) return std::nullopt;
    if (const auto* part = std::get_if<EvaluationPart>(&message->body)) take(*part);
    std::erase(missing, message->from);
  }
  const double samples = static_cast<double>(workload_.data.test->size());
  return EvaluationResult{
      std::accumulate(losses.begin(), losses.end(), 0.0) / samples,
      static_cast<double>(std::accumulate(hits.begin(), hits.end(), std::uint64_t{0})) / samples};
}

}  // namespace seng
