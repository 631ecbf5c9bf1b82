#include "actors/warm_up_service.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "actors/make_group.h"
#include "actors/state_transfer.h"
#include "actors/step_update.h"

namespace seng {

void WarmUpService::begin(const WarmUp& order, const Group& group) {
  if (order.newcomers.empty()) return drop_all();
  const bool source = order.source == group.self;
  if (!source && records_) drop_all();
  // Who follows already goes on with the records that there are.
  records_ = source;
  if (source) make_snapshot(order.number);
  const Group future = make_group(group.job, group.self, group.epoch, *parts_.workload, order.future);
  const auto comes = [&](ActorId actor) {
    return std::ranges::find(order.newcomers, actor) != order.newcomers.end();
  };
  blocks_.clear();
  for (std::uint32_t b = 0; parts_.workload->second_order && b < parts_.workload->network.blocks().size();
       ++b)
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
  parts_.server->amend({}, std::move(dropped));
  end();
}

void WarmUpService::make_snapshot(std::uint64_t number) {
  auto blobs = copy_state(*parts_.state, *parts_.lanes);
  auto step = std::make_shared<const std::uint64_t>(parts_.state->step);
  blobs.push_back({kSnapshotBlob, number, std::as_bytes(std::span(step.get(), 1)), step});
  std::vector<BlobKey> keys;
  for (const Blob& blob : blobs) keys.push_back({blob.name, blob.version});
  // One that has the same step is dropped first.
  parts_.server->amend(std::move(blobs), std::exchange(snapshot_, std::move(keys)));
}

void WarmUpService::committed(const StepComplete& step) {
  if (!records_) return;
  const std::size_t bytes = step_record_bytes(*parts_.workload);
  auto memory = std::make_shared_for_overwrite<std::byte[]>(bytes);
  write_step_record(step, {memory.get(), bytes});
  std::vector<BlobKey> dropped;
  steps_.push_back(parts_.state->step);
  const std::size_t most = parts_.limits.records(bytes);
  while (steps_.size() > most) {
    dropped.push_back({kStepBlob, steps_.front()});
    steps_.pop_front();
  }
  std::vector<Blob> added;
  const std::span<const std::byte> record(memory.get(), bytes);
  added.push_back({kStepBlob, parts_.state->step, record, std::move(memory)});
  parts_.server->amend(std::move(added), std::move(dropped));
}

void WarmUpService::renew() {
  std::vector<Blob> added;
  std::vector<BlobKey> dropped;
  const auto drop = [&](std::uint32_t block, std::uint64_t version) {
    for (const std::string& name : curvature_blob_names(block)) dropped.push_back({name, version});
  };
  // What nobody asks for any more would live on with the offer.
  std::erase_if(curvature_, [&](const auto& offered) {
    if (blocks_.contains(offered.first)) return false;
    drop(offered.first, offered.second);
    return true;
  });
  for (const std::uint32_t block : blocks_) {
    const auto held = parts_.state->curvature.find(block);
    if (held == parts_.state->curvature.end()) continue;
    for (const Curvature::Version& version : held->second.versions()) {
      if (version.step != parts_.state->curvature_steps[block] || version.step == 0) continue;
      const auto [offered, fresh] = curvature_.try_emplace(block, version.step);
      if (!fresh && offered->second == version.step) break;
      if (!fresh) drop(block, offered->second);
      offered->second = version.step;
      for (Blob& blob : curvature_blobs(block, version)) added.push_back(std::move(blob));
      break;
    }
  }
  if (!added.empty() || !dropped.empty()) parts_.server->amend(std::move(added), std::move(dropped));
}

}  // namespace seng
