#include "actors/group_checkpoint.h"

#include <map>

#include "actors/checkpoint/checkpoint.h"

namespace seng {

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

}  // namespace

GroupCheckpoint::GroupCheckpoint(const Workload& workload, Exchange& exchange, std::string directory)
    : workload_(workload), exchange_(exchange), directory_(std::move(directory)) {}

std::optional<CheckpointReport> GroupCheckpoint::write(const TrainState& state, const Group& group) {
  auto staging = open_staging(directory_, state.step, posix_storage(), group.epoch);
  const std::string directory = staging ? *staging : "";
  CheckpointShard shard = own_shard(state, group, directory);
  if (!staging) shard.error = staging.error().message;
  if (group.members.front().actor != group.self) {
    exchange_.send(group.members.front().actor, state.step, std::move(shard));
    return std::nullopt;
  }
  return finish(state, group, directory, std::move(shard));
}

CheckpointShard GroupCheckpoint::own_shard(const TrainState& state, const Group& group,
                                           const std::string& staging) {
  CheckpointShard shard;
  std::vector<CurvatureValues> values;
  for (const auto& [block, curvature] : state.curvature) {
    if (group.placement.owner[block] != group.self || !curvature.ready()) continue;
    shard.blocks.push_back({block, to_hex(curvature.digest())});
    values.push_back({block, curvature.step(), curvature.lambda(), curvature.values()});
  }
  if (values.empty() || staging.empty()) return shard;
  auto file = write_curvature(staging, "curvature-" + std::to_string(group.self) + ".safetensors",
                              workload_.network.blocks(), values);
  if (!file) {
    shard.error = file.error().message;
    return shard;
  }
  shard.file = file->name;
  shard.bytes = file->bytes;
  shard.sha256 = file->sha256;
  return shard;
}

std::optional<CheckpointReport> GroupCheckpoint::finish(const TrainState& state, const Group& group,
                                                        const std::string& staging, CheckpointShard own) {
  std::map<ActorId, CheckpointShard> shards;
  shards[group.self] = std::move(own);
  while (shards.size() < group.members.size()) {
    auto event = exchange_.next_message(MessageKind::kCheckpointShard, state.step);
    auto* message = std::get_if<PeerMessage>(&event);
    if (!message) return std::nullopt;
    if (auto* shard = std::get_if<CheckpointShard>(&message->body)) shards[message->from] = std::move(*shard);
  }

  const auto& blocks = workload_.network.blocks();
  const std::uint64_t position = state.step * workload_.spec.batch_global;
  std::vector<Digest> curvature(blocks.size(), Digest{});
  CheckpointReport report;
  report.step = state.step;
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
  const Digest weights = weights_digest(blocks, state.parameters, state.statistics);
  report.weights_sha256 = to_hex(weights);
  report.state_sha256 = to_hex(state_digest(weights, state.momentum, curvature, state.step, position));
  if (!report.error.empty()) {
    // What the others wrote would fill the disk further; an error here changes nothing in the report.
    if (!staging.empty()) discard_staging(staging);
    return report;
  }

  auto model = write_model(staging, blocks, state.parameters, state.statistics, state.momentum, state.step);
  if (!model) {
    discard_staging(staging);
    report.error = model.error().message;
    return report;
  }
  manifest.files.insert(manifest.files.begin(), model->begin(), model->end());
  manifest.spec_yaml = to_yaml(workload_.spec);
  manifest.step = state.step;
  manifest.sample_position = position;
  manifest.weights_sha256 = report.weights_sha256;
  manifest.state_sha256 = report.state_sha256;
  auto path = commit_checkpoint(directory_, staging, manifest, workload_.spec.checkpoint_keep);
  if (path)
    report.path = *path;
  else
    report.error = path.error().message;
  return report;
}

}  // namespace seng
