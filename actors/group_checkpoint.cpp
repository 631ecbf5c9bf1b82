#include "actors/group_checkpoint.h"

#include <chrono>

#include "actors/checkpoint/checkpoint.h"
#include "actors/kept_curvature.h"

namespace seng {

// The state of a step, kept while training goes on.
struct GroupCheckpoint::Snapshot {
  Group group;
  std::uint64_t step = 0;
  std::vector<float> parameters, momentum, statistics;  // the leader's; empty elsewhere
  std::map<std::uint32_t, KeptCurvature> curvature;     // of owned blocks, where there is any
  EpochSoFar epoch_so_far;
  std::optional<SavedDamping> damping;
  std::optional<SavedLossScale> loss_scale;

  ActorId leader() const { return group.members.front().actor; }
};

namespace {

std::optional<Digest> digest_from_hex(const std::string& hex) {
  if (hex.size() != 64) return std::nullopt;
  Digest digest{};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    unsigned value = 0;
    for (const char c : {hex[2 * i], hex[2 * i + 1]}) {
      const char* digits = "0123456789abcdef";
      const char* found = c ? std::char_traits<char>::find(digits, 16, c) : nullptr;
      if (!found) return std::nullopt;
      value = value * 16 + static_cast<unsigned>(found - digits);
    }
    digest[i] = static_cast<std::byte>(value);
  }
  return digest;
}

template <class T>
bool is_ready(const std::future<T>& future) {
  return future.valid() && future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

// Between two looks at `leave`, while a disk takes its time.
constexpr std::chrono::milliseconds kLook(10);

// False: left.
template <class T>
bool came(const std::future<T>& future, const GroupCheckpoint::Leave& leave) {
  while (future.valid() && future.wait_for(kLook) != std::future_status::ready)
    if (leave && leave()) return false;
  return true;
}

}  // namespace

GroupCheckpoint::GroupCheckpoint(const Workload& workload, Exchange& exchange, std::string directory,
                                 Storage& storage)
    : workload_(workload), exchange_(exchange), directory_(std::move(directory)), storage_(storage) {}

GroupCheckpoint::~GroupCheckpoint() = default;  // a future of std::async waits

bool GroupCheckpoint::begin(const TrainState& state, const Group& group, const Leave& leave) {
  SENG_CHECK(!pending_, "one checkpoint at a time");
  // So that never more than one hangs, each with a copy of the state.
  if (!came(given_up_, leave)) return false;
  given_up_ = {};
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->group = group;
  snapshot->step = state.step;
  const EpochTally& tally = state.tally;
  if (!tally.closed) snapshot->epoch_so_far = {tally.steps, tally.loss, tally.accuracy};
  if (const DampingState& damping = state.damping; workload_.adapts_damping())
    snapshot->damping = {damping.lambda, damping.predicted, damping.loss};
  if (workload_.scales_loss()) snapshot->loss_scale = {state.loss_scale.scale, state.loss_scale.good_steps};
  for (const auto& [block, curvature] : state.curvature) {
    if (group.placement.owner[block] != group.self) continue;
    if (KeptCurvature kept = keep_curvature(curvature); !kept.empty())
      snapshot->curvature.emplace(block, std::move(kept));
  }
  if (snapshot->leader() == group.self) {
    snapshot->parameters = state.parameters;
    snapshot->momentum = state.momentum;
    snapshot->statistics = state.statistics;
  }
  pending_.emplace();
  pending_->snapshot = snapshot;
  pending_->own = std::async(std::launch::async, [this, snapshot] { return write_shard(*snapshot); });
  return true;
}

bool GroupCheckpoint::leads() const {
  return pending_->snapshot->leader() == pending_->snapshot->group.self;
}

void GroupCheckpoint::take_own() {
  const Snapshot& snapshot = *pending_->snapshot;
  CheckpointShard shard = pending_->own.get();
  if (leads()) {
    pending_->shards[snapshot.group.self] = std::move(shard);
  } else {
    exchange_.send(snapshot.leader(), snapshot.step, std::move(shard));
    pending_.reset();
  }
}

std::vector<ActorId> GroupCheckpoint::missing() const {
  std::vector<ActorId> out;
  for (const Member& member : pending_->snapshot->group.members)
    if (!pending_->shards.contains(member.actor)) out.push_back(member.actor);
  return out;
}

void GroupCheckpoint::take(PeerMessage message) {
  if (auto* shard = std::get_if<CheckpointShard>(&message.body))
    pending_->shards[message.from] = std::move(*shard);
}

void GroupCheckpoint::begin_commit() {
  pending_->commit = std::async(
      std::launch::async,
      [this, snapshot = pending_->snapshot, shards = pending_->shards] { return commit(*snapshot, shards); });
}

std::optional<GroupCheckpoint::Report> GroupCheckpoint::take_report() {
  Report report{pending_->commit.get(), pending_->snapshot->group.epoch};
  pending_.reset();
  return report;
}

std::optional<GroupCheckpoint::Report> GroupCheckpoint::advance() {
  if (pending_ && is_ready(pending_->own)) take_own();
  if (!pending_ || !leads()) return std::nullopt;
  if (!pending_->commit.valid()) {
    while (auto message = exchange_.take_message(MessageKind::kCheckpointShard, pending_->snapshot->step))
      take(std::move(*message));
    if (missing().empty()) begin_commit();
  }
  if (!is_ready(pending_->commit)) return std::nullopt;
  return take_report();
}

GroupCheckpoint::Outcome GroupCheckpoint::finish(const Leave& leave) {
  if (pending_ && pending_->own.valid()) {
    if (!came(pending_->own, leave)) return {.interrupted = true, .report = {}};
    take_own();
  }
  if (!pending_) return {};
  while (!pending_->commit.valid()) {
    if (const auto awaited = missing(); !awaited.empty()) {
      auto event = exchange_.next_message(MessageKind::kCheckpointShard, pending_->snapshot->step, awaited);
      auto* message = std::get_if<PeerMessage>(&event);
      if (!message) return {.interrupted = true, .report = {}};
      take(std::move(*message));
    } else {
      begin_commit();
    }
  }
  if (!came(pending_->commit, leave)) return {.interrupted = true, .report = {}};
  return {.interrupted = false, .report = take_report()};
}

std::optional<std::uint64_t> GroupCheckpoint::leave() {
  if (!pending_ || pending_->commit.valid()) return std::nullopt;
  const std::uint64_t step = pending_->snapshot->step;
  if (pending_->own.valid()) given_up_ = std::move(pending_->own);
  pending_.reset();
  return step;
}

bool GroupCheckpoint::wait_for_files(const Leave& leave) {
  return came(given_up_, leave) &&
         (!pending_ || (came(pending_->own, leave) && came(pending_->commit, leave)));
}

CheckpointShard GroupCheckpoint::write_shard(const Snapshot& snapshot) const {
  CheckpointShard shard;
  std::vector<CurvatureView> values;
  for (const auto& [block, curvature] : snapshot.curvature) {
    shard.blocks.push_back({block, to_hex(digest_of(curvature))});
    append_views(block, curvature, values);
  }
  // The digests are wanted also when nothing can be written.
  const auto staging = open_staging(directory_, snapshot.step, storage_, snapshot.group.epoch);
  if (!staging) {
    shard.error = staging.error().message;
    return shard;
  }
  if (values.empty()) return shard;
  const std::string name = "curvature-" + std::to_string(snapshot.group.self) + ".safetensors";
  auto file = write_curvature(*staging, name, workload_.network.blocks(),
                              std::span<const CurvatureView>(values), storage_);
  if (!file) {
    shard.error = file.error().message;
    return shard;
  }
  shard.file = file->name;
  shard.bytes = file->bytes;
  shard.sha256 = file->sha256;
  return shard;
}

CheckpointReport GroupCheckpoint::commit(const Snapshot& snapshot,
                                         const std::map<ActorId, CheckpointShard>& shards) const {
  const auto& blocks = workload_.network.blocks();
  const std::uint64_t position = snapshot.step * workload_.spec.batch_global;
  std::vector<Digest> curvature(blocks.size(), Digest{});
  CheckpointReport report;
  report.step = snapshot.step;
  Manifest manifest;
  for (const auto& [actor, shard] : shards) {
    if (!shard.error.empty() && report.error.empty())
      report.error = "actor " + std::to_string(actor) + ": " + shard.error;
    if (!shard.file.empty()) manifest.files.push_back({shard.file, shard.bytes, shard.sha256});
    for (const BlockDigest& digest : shard.blocks) {
      const auto bytes = digest_from_hex(digest.sha256);
      if (digest.block < blocks.size() && bytes) curvature[digest.block] = *bytes;
    }
  }
  const Digest weights = weights_digest(blocks, snapshot.parameters, snapshot.statistics);
  report.weights_sha256 = to_hex(weights);
  report.state_sha256 = to_hex(state_digest(weights, snapshot.momentum, curvature, snapshot.step, position,
                                            snapshot.damping, snapshot.loss_scale));
  const auto staging = open_staging(directory_, snapshot.step, storage_, snapshot.group.epoch);
  if (!staging && report.error.empty()) report.error = staging.error().message;
  if (!report.error.empty()) {
    // What the others wrote would fill the disk further; an error here changes nothing in the report.
    if (staging) discard_staging(*staging, storage_);
    return report;
  }

  auto model = write_model(*staging, blocks, snapshot.parameters, snapshot.statistics, snapshot.momentum,
                           snapshot.step, storage_);
  if (!model) {
    discard_staging(*staging, storage_);
    report.error = model.error().message;
    return report;
  }
  manifest.files.insert(manifest.files.begin(), model->begin(), model->end());
  manifest.spec_yaml = to_yaml(workload_.spec);
  manifest.step = snapshot.step;
  manifest.sample_position = position;
  manifest.epoch_so_far = snapshot.epoch_so_far;
  manifest.damping = snapshot.damping;
  manifest.loss_scale = snapshot.loss_scale;
  manifest.weights_sha256 = report.weights_sha256;
  manifest.state_sha256 = report.state_sha256;
  auto path = commit_checkpoint(directory_, *staging, manifest, workload_.spec.checkpoint_keep, storage_);
  if (path)
    report.path = *path;
  else
    report.error = path.error().message;
  return report;
}

}  // namespace seng
