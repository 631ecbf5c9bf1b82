// Trainer: which samples a step's micro-batches are made of, and how they come to its lanes.
#include <algorithm>

#include "actors/data/data_error.h"
#include "actors/trainer.h"

namespace seng {

// Which they are, in the ledger before they are used.
void Trainer::take_samples(std::uint64_t step) {
  const Workload& w = *parts_.workload;
  order_ = samples_of(step);
  judged_.clear();
  if (w.judges_damping(step) && parts_.state->damping.predicted < 0) judged_ = samples_of(step - 1);
  if (parts_.ledger) parts_.ledger->begin_step(group_.epoch, step);
  for (const SampleUse& use : order_)
    if (parts_.ledger) parts_.ledger->add(use.epoch, use.index);
  if (parts_.ledger) (void)parts_.ledger->publish();  // what could not be written waits; commit() says so
  announce(step);
}

// Of this actor's micro-batches.
std::vector<SampleUse> Trainer::samples_of(std::uint64_t step) {
  const JobSpec& spec = parts_.workload->spec;
  const std::uint64_t begin = (step - 1) * spec.batch_global + std::uint64_t(first_) * spec.batch_micro;
  std::vector<SampleUse> order(std::size_t(last_ - first_) * spec.batch_micro);
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = {stream_.epoch_at(begin + i), stream_.sample_at(begin + i)};
  return order;
}

// Those of this step and of the next, which is likely to have the same membership; before them those of a
// step that this one judges.
void Trainer::announce(std::uint64_t step) {
  if (!loader_.reads_ahead()) return;
  const JobSpec& spec = parts_.workload->spec;
  std::vector<std::uint32_t> order = order_of_taking_;
  if (alone_) std::ranges::sort(order);  // one piece, of all
  std::vector<UpcomingBatch> upcoming;
  for (std::uint64_t each = judged_.empty() ? step : step - 1; each <= step + 1; ++each) {
    for (const std::uint32_t micro : order) {
      UpcomingBatch batch{(each - 1) * spec.batch_global + std::uint64_t(micro) * spec.batch_micro, {}};
      for (std::uint64_t at = batch.position; at < batch.position + spec.batch_micro; ++at)
        batch.samples.push_back({stream_.epoch_at(at), stream_.sample_at(at)});
      upcoming.push_back(std::move(batch));
    }
  }
  loader_.announce(std::move(upcoming));
}

// The samples of a step's micro-batch, in the lane's memory.
MicroBatch Trainer::take(std::uint32_t micro, int lane, std::uint64_t step,
                         const std::vector<SampleUse>& order) {
  const Workload& w = *parts_.workload;
  const std::size_t samples = w.spec.batch_micro;
  const auto uses = std::span<const SampleUse>(order).subspan((micro - first_) * samples, samples);
  LabelledImages& images = images_[lane];
  const std::uint64_t position = (step - 1) * w.spec.batch_global + std::uint64_t(micro) * samples;
  if (auto read = loader_.take(position, uses, images); !read)
    throw DataError(read.error());  // through the lanes to the driver: the actor fails

  MicroBatch batch;
  batch.samples = static_cast<int>(samples);
  batch.images = images.images.data();
  batch.labels = images.labels.data();
  if (!images.partners.empty())
    batch.partners = images.partners.data(), batch.weights = images.weights.data();
  batch.seed = w.spec.seed;
  batch.step = step;
  batch.first_sample = micro * w.spec.batch_micro;
  if (w.scales_loss()) batch.loss_scale = static_cast<float>(parts_.state->loss_scale.scale);
  return batch;
}

}  // namespace seng
