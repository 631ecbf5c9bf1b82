#include "actors/warm_up_service.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "actors/make_group.h"
#include "actors/state_transfer.h"
#include "actors/step_update.h"

namespace seng {

WarmUpService::WarmUpService(BlobServer& server, const Workload& workload, const TrainState& state,
                             Lanes& lanes, WarmUpLimits limits)
    : server_(server), workload_(workload), state_(state), lanes_(lanes), limits_(limits) {}

void WarmUpService::begin(const WarmUp& order, const Group& group) {
  if (order.newcomers.empty()) return drop_all();
  const bool source = order.source == group.self;
  if (!source && records_) drop_all();
  // Who follows already goes on with the records that there are.
  records_ = source;
  if (source) make_snapshot(order.number);
  const Group future = make_group(group.job, group.self, group.epoch, workload_, order.future);
  const auto comes = [&](ActorId actor) {
    return std::ranges::find(order.newcomers, actor) != order.newcomers.end();
  };
  blocks_.clear();
  for (std::uint32_t b = 0; workload_.second_order && b < workload_.network.blocks().size(); ++b)
    if (comes(future.placement.owner[b]) || comes(future.placement.backup[b])) blocks_.insert(b);
  renew();
}

void WarmUpService::end() {
  records_ = false;
  blocks_.clear();
  snapshot_.clear();
  steps_.clear();
  curvature_.clear();
}

void WarmUpService::drop_all() {
  std::vector<BlobKey> dropped = std::move(snapshot_);
  for (const std::uint64_t step : steps_) dropped.push_back({kStepBlob, step});
  for (const auto& [block, version] : curvature_)
    for (const std::string& name : curvature_blob_names(block)) dropped.push_back({name, version});
  server_.amend({}, std::move(dropped));
  end();
}

void WarmUpService::make_snapshot(std::uint64_t number) {
  auto blobs = copy_state(state_, lanes_);
  auto step = std::make_shared<const std::uint64_t>(state_.step);
  blobs.push_back({kSnapshotBlob, number, std::as_bytes(std::span(step.get(), 1)), step});
  std::vector<BlobKey> keys;
  for (const Blob& blob : blobs) keys.push_back({blob.name, blob.version});
  // One that has the same step is dropped first.
  server_.amend(std::move(blobs), std::exchange(snapshot_, std::move(keys)));
}

void WarmUpService::committed(const StepComplete& step) {
  if (!records_) return;
  const std::size_t bytes = step_record_bytes(workload_);
  auto memory = std::make_shared_for_overwrite<std::byte[]>(bytes);
  write_step_record(step, {memory.get(), bytes});
  std::vector<BlobKey> dropped;
  steps_.push_back(state_.step);
  const std::size_t most = std::clamp(limits_.record_bytes / bytes, limits_.records_min, limits_.records_max);
  while (steps_.size() > most) {
    dropped.push_back({kStepBlob, steps_.front()});
    steps_.pop_front();
  }
  std::vector<Blob> added;
  const std::span<const std::byte> record(memory.get(), bytes);
  added.push_back({kStepBlob, state_.step, record, std::move(memory)});
  server_.amend(std::move(added), std::move(dropped));
}

void WarmUpService::renew() {
  std::vector<Blob> added;
  std::vector<BlobKey> dropped;
  for (const std::uint32_t block : blocks_) {
    const auto held = state_.curvature.find(block);
    if (held == state_.curvature.end()) continue;
    for (const Curvature::Version& version : held->second.versions()) {
      if (version.step != state_.curvature_steps[block] || version.step == 0) continue;
      const auto [offered, fresh] = curvature_.try_emplace(block, version.step);
      if (!fresh && offered->second == version.step) break;
      if (!fresh)
        for (const std::string& name : curvature_blob_names(block))
          dropped.push_back({name, offered->second});
      offered->second = version.step;
      for (Blob& blob : curvature_blobs(block, version)) added.push_back(std::move(blob));
      break;
    }
  }
  if (!added.empty() || !dropped.empty()) server_.amend(std::move(added), std::move(dropped));
}

}  // namespace seng
