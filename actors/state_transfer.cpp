#include "actors/state_transfer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <span>

#include "protocol/base/log.h"

namespace seng {

namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}
template <class T>
std::span<std::byte> room_in(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

constexpr std::size_t kDampingWords = 3, kLossScaleWords = 2, kTallyWords = 4, kMetricsWords = 10;
constexpr std::size_t kOtherWords = kDampingWords + kLossScaleWords + kTallyWords + kMetricsWords;

// Little-endian: per block the refresh in force, per block its damping, what the damping adapts by, the
// tally, the loss scale, the step's numbers without those that are a member's own. The same bytes on every
// holder.
std::vector<std::byte> write_meta(const TrainState& state) {
  std::vector<std::uint64_t> words = state.curvature_steps;
  for (const double lambda : state.curvature_lambdas) words.push_back(std::bit_cast<std::uint64_t>(lambda));
  const EpochTally& tally = state.tally;
  const DampingState& damping = state.damping;
  for (const double value : {damping.lambda, damping.predicted, damping.loss, tally.loss, tally.accuracy})
    words.push_back(std::bit_cast<std::uint64_t>(value));
  words.push_back(tally.steps);
  words.push_back(tally.closed ? 1 : 0);
  words.push_back(std::bit_cast<std::uint64_t>(state.loss_scale.scale));
  words.push_back(state.loss_scale.good_steps);
  const StepMetrics& m = state.metrics;
  words.push_back(m.step);
  words.push_back(m.refreshed ? 1 : 0);
  for (const double value :
       {m.epoch, m.loss, m.accuracy, m.lr, m.damping, m.trust_scale, m.cosine, m.reduction_ratio})
    words.push_back(std::bit_cast<std::uint64_t>(value));
  const auto bytes = bytes_of(words);
  return {bytes.begin(), bytes.end()};
}

std::size_t meta_bytes(std::size_t blocks) {
  return (2 * blocks + kOtherWords) * sizeof(std::uint64_t);
}

void read_meta(std::span<const std::byte> bytes, TrainState& state) {
  std::vector<std::uint64_t> words(bytes.size() / sizeof(std::uint64_t));
  std::memcpy(words.data(), bytes.data(), bytes.size());
  const std::size_t blocks = (words.size() - kOtherWords) / 2;
  const auto number = [&](std::size_t word) { return std::bit_cast<double>(words[word]); };
  state.curvature_steps.assign(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(blocks));
  state.curvature_lambdas.clear();
  for (std::size_t b = 0; b < blocks; ++b) state.curvature_lambdas.push_back(number(blocks + b));
  const std::size_t damping = 2 * blocks, tally = damping + kDampingWords;
  state.damping = {number(damping), number(damping + 1), number(damping + 2)};
  state.tally.loss = number(tally);
  state.tally.accuracy = number(tally + 1);
  state.tally.steps = words[tally + 2];
  state.tally.closed = words[tally + 3] != 0;
  state.loss_scale = {number(tally + kTallyWords), words[tally + kTallyWords + 1]};
  std::size_t next = tally + kTallyWords + kLossScaleWords;
  StepMetrics& m = state.metrics = {.step = words[next], .refreshed = words[next + 1] != 0};
  next += 2;
  for (double* value :
       {&m.epoch, &m.loss, &m.accuracy, &m.lr, &m.damping, &m.trust_scale, &m.cosine, &m.reduction_ratio})
    *value = number(next++);
}

// The beginning of the job is everybody's.
bool is_base(const TrainState& state, const Assign& assign) {
  return state.step == assign.base_step && (state.step == 0 || state.lineage == assign.lineage);
}

std::string curvature_blob(std::uint32_t block, const char* half) {
  return "curvature/" + std::to_string(block) + "/" + half;
}
constexpr const char* kInputs = "inputs";
constexpr const char* kGradients = "gradients";

// Copied in runs of this many bytes.
constexpr std::size_t kCopyRun = std::size_t{1} << 22;

Blob copy_blob(const char* name, std::uint64_t version, std::span<const std::byte> from, Lanes& lanes) {
  auto memory = std::make_shared_for_overwrite<std::byte[]>(from.size());
  lanes.run((from.size() + kCopyRun - 1) / kCopyRun, [&](std::size_t run, int) {
    const std::size_t at = run * kCopyRun, count = std::min(kCopyRun, from.size() - at);
    std::memcpy(memory.get() + at, from.data() + at, count);
  });
  const std::span<const std::byte> bytes(memory.get(), from.size());
  return {name, version, bytes, std::move(memory)};
}

}  // namespace

std::vector<Blob> copy_state(const TrainState& state, Lanes& lanes) {
  std::vector<Blob> blobs;
  blobs.push_back(copy_blob("parameters", state.step, bytes_of(state.parameters), lanes));
  blobs.push_back(copy_blob("momentum", state.step, bytes_of(state.momentum), lanes));
  blobs.push_back(copy_blob("statistics", state.step, bytes_of(state.statistics), lanes));
  blobs.push_back(copy_blob("meta", state.step, write_meta(state), lanes));
  return blobs;
}

std::vector<std::string> curvature_blob_names(std::uint32_t block) {
  return {curvature_blob(block, kInputs), curvature_blob(block, kGradients)};
}

std::vector<Blob> curvature_blobs(std::uint32_t block, const Curvature::Version& version) {
  std::vector<Blob> blobs;
  if (!version.first.empty())
    blobs.push_back({curvature_blob(block, kInputs), version.step, version.first, version.owner});
  if (!version.second.empty())
    blobs.push_back({curvature_blob(block, kGradients), version.step, version.second, version.owner});
  return blobs;
}

// Who can be asked, by place in the list of endpoints.
struct StateTransfer::Holders {
  std::vector<std::string> endpoints;
  std::map<ActorId, std::size_t> place;

  Holders(const std::vector<Member>& participants, ActorId self) {
    for (const Member& member : participants) {
      if (member.actor == self) continue;
      place[member.actor] = endpoints.size();
      endpoints.push_back(member.state_endpoint);
    }
  }
  std::vector<std::size_t> places(const std::vector<ActorId>& actors) const {
    std::vector<std::size_t> out;
    for (const ActorId actor : actors)
      if (const auto found = place.find(actor); found != place.end()) out.push_back(found->second);
    return out;
  }
};

Result<std::unique_ptr<StateTransfer>> StateTransfer::open(StateTransferOptions options,
                                                           const Workload& workload, TrainState& state) {
  auto server = BlobServer::open({.endpoint = options.endpoint, .token = options.token});
  if (!server) return fail(std::move(server).error());
  return std::unique_ptr<StateTransfer>(
      new StateTransfer(std::move(options), workload, state, *std::move(server)));
}

StateTransfer::StateTransfer(StateTransferOptions options, const Workload& workload, TrainState& state,
                             std::unique_ptr<BlobServer> server)
    : options_(std::move(options)), workload_(workload), state_(state), server_(std::move(server)) {}

std::vector<HeldCurvature> StateTransfer::held() const {
  std::vector<HeldCurvature> held;
  for (const auto& [block, curvature] : state_.curvature)
    for (const Curvature::Version& version : curvature.versions()) held.push_back({block, version.step});
  return held;
}

void StateTransfer::begin(bool planned) {
  if (!planned) server_->withdraw();
  drop_incoming();
  go_on();
}

void StateTransfer::go_on() {
  const std::lock_guard lock(mutex_);
  interrupted_ = false;
}

void StateTransfer::offer(const Assign& assign, GroupEpoch epoch) {
  std::vector<Blob> blobs;
  if (is_base(state_, assign)) {
    meta_ = write_meta(state_);
    blobs.push_back({"parameters", state_.step, bytes_of(state_.parameters)});
    blobs.push_back({"momentum", state_.step, bytes_of(state_.momentum)});
    blobs.push_back({"statistics", state_.step, bytes_of(state_.statistics)});
    blobs.push_back({"meta", state_.step, meta_});
  }
  const bool of_these_steps = state_.lineage == assign.lineage;
  for (const auto& [block, curvature] : state_.curvature) {
    for (const Curvature::Version& version : curvature.versions()) {
      if (version.step > assign.base_step || !of_these_steps) continue;
      blobs.push_back({curvature_blob(block, kInputs), version.step, version.first});
      blobs.push_back({curvature_blob(block, kGradients), version.step, version.second});
    }
  }
  server_->offer(epoch, std::move(blobs));
}

Result<StateTransfer::Outcome> StateTransfer::pull(const Assign& assign, const Group& group,
                                                   const std::vector<Member>& participants) {
  offer(assign, group.epoch);
  const Holders holders(participants, group.self);
  Outcome all;
  if (!is_base(state_, assign)) {
    const auto pulled = pull_state(assign, group, holders);
    if (!pulled || pulled->lost || pulled->interrupted) return pulled;
    all.bytes += pulled->bytes;
  } else if (state_.lineage != assign.lineage) {
    state_.curvature.clear();  // begun in a first step that is made again
  }
  const auto pulled = pull_curvature(assign, group, holders, true);
  if (!pulled || pulled->lost || pulled->interrupted) return pulled;
  all.bytes += pulled->bytes;
  state_.lineage = assign.lineage;
  return all;
}

// Into a state of its own, so that an interrupted pull leaves the old one whole.
Result<StateTransfer::Outcome> StateTransfer::pull_state(const Assign& assign, const Group& group,
                                                         const Holders& holders) {
  const auto places = holders.places(assign.holders);
  if (places.empty())
    return Outcome{.lost = true, .what = "the state of step " + std::to_string(assign.base_step)};
  TrainState next;
  next.step = assign.base_step;
  next.parameters.resize(state_.parameters.size());
  next.momentum.resize(state_.momentum.size());
  next.statistics.resize(state_.statistics.size());
  std::vector<std::byte> meta(meta_bytes(workload_.network.blocks().size()));
  std::vector<BlobWant> wants = {{"parameters", next.step, room_in(next.parameters), places},
                                 {"momentum", next.step, room_in(next.momentum), places},
                                 {"statistics", next.step, room_in(next.statistics), places},
                                 {"meta", next.step, meta, places}};
  std::erase_if(wants, [](const BlobWant& want) { return want.into.empty(); });
  const auto fetched = fetch(group, holders, std::move(wants));
  if (!fetched || fetched->interrupted) return fetched;
  read_meta(meta, next);
  next.lineage = assign.lineage;
  // Its versions are offered where they lie.
  if (state_.lineage == next.lineage) next.curvature = std::move(state_.curvature);
  state_ = std::move(next);
  return fetched;
}

Result<StateTransfer::Outcome> StateTransfer::pull_curvature(const Assign& assign, const Group& group,
                                                             const Holders& holders, bool with_waiting) {
  std::vector<BlobWant> wants;
  const auto& blocks = workload_.network.blocks();
  const std::uint64_t waiting = with_waiting ? workload_.waiting_after(state_.step) : 0;
  for (std::uint32_t b = 0; b < blocks.size() && workload_.second_order; ++b) {
    const bool here = group.placement.owner[b] == group.self || group.placement.backup[b] == group.self;
    if (!here) continue;
    for (const std::uint64_t step : {state_.curvature_steps[b], waiting}) {
      if (step == 0) continue;
      auto [place, fresh] = state_.curvature.try_emplace(b, empty_curvature(workload_, b));
      const auto versions = place->second.versions();
      if (std::ranges::any_of(versions, [&](const auto& version) { return version.step == step; })) continue;
      // Where the damping adapts no refresh waits, so the schedule has what one that waits was begun with.
      const double lambda = step == waiting ? workload_.damping_at(step) : state_.curvature_lambdas[b];
      const Curvature::Room room = place->second.begin_version(step, lambda, step == waiting);
      if (incoming_.empty() || incoming_.back() != b) incoming_.push_back(b);
      if (room.first.empty() && room.second.empty()) continue;
      std::vector<std::size_t> places;
      for (const CurvatureHolders& entry : assign.curvature)
        if (entry.block == b && entry.step == step) places = holders.places(entry.holders);
      if (places.empty())
        return Outcome{
            .lost = true,
            .what = "the curvature of block " + blocks[b].name + ", of step " + std::to_string(step)};
      if (!room.first.empty()) wants.push_back({curvature_blob(b, kInputs), step, room.first, places});
      if (!room.second.empty()) wants.push_back({curvature_blob(b, kGradients), step, room.second, places});
    }
  }
  return fetch(group, holders, std::move(wants));
}

Result<StateTransfer::Outcome> StateTransfer::fetch(const Group& group, const Holders& holders,
                                                    std::vector<BlobWant> wants) {
  if (wants.empty()) return Outcome{};
  FetchOptions options;
  options.job = group.job;
  options.epoch = group.epoch;
  options.self = group.self;
  options.token = options_.token;
  options.endpoints = holders.endpoints;
  options.stall_s = options_.stall_s;
  options.pieces = options_.pieces;
  BlobFetch fetch(std::move(options), std::move(wants));
  {
    const std::lock_guard lock(mutex_);
    if (interrupted_) return Outcome{.interrupted = true};
    fetch_ = &fetch;
  }
  const auto stats = fetch.run();
  {
    const std::lock_guard lock(mutex_);
    fetch_ = nullptr;
    if (interrupted_) return Outcome{.interrupted = true};
  }
  if (!stats) return fail(stats.error().with_context("state of the group"));
  log_info("pulled {:.1f} MB of state in {:.3f} s", 1e-6 * static_cast<double>(stats->bytes), stats->seconds);
  return Outcome{.bytes = stats->bytes};
}

Result<StateTransfer::Outcome> StateTransfer::find_snapshot(std::uint64_t number, ActorId source,
                                                            const Group& group, std::uint64_t& step) {
  const Holders holders(group.members, group.self);
  return fetch(
      group, holders,
      {{kSnapshotBlob, number, std::as_writable_bytes(std::span(&step, 1)), holders.places({source})}});
}

Result<StateTransfer::Outcome> StateTransfer::pull_snapshot(std::uint64_t step, ActorId source,
                                                            const Group& group) {
  return pull_state({.base_step = step,
                     .holders = {source},
                     .curvature = {},
                     .lineage = lineage_in(workload_, group.epoch)},
                    group, Holders(group.members, group.self));
}

Result<StateTransfer::Outcome> StateTransfer::pull_curvature_ahead(const Group& group, const Group& future) {
  Assign assign{.base_step = state_.step, .holders = {}, .curvature = {}, .lineage = {}};
  for (std::uint32_t b = 0; b < state_.curvature_steps.size(); ++b) {
    CurvatureHolders kept{b, state_.curvature_steps[b], {group.placement.owner[b]}};
    if (group.placement.backup[b] != kNoActor) kept.holders.push_back(group.placement.backup[b]);
    assign.curvature.push_back(std::move(kept));
  }
  Group from = future;
  from.epoch = group.epoch;
  drop_incoming();
  // What waits is served when the group stops, and pulled then.
  auto pulled = pull_curvature(assign, from, Holders(group.members, group.self), false);
  if (pulled && !pulled->lost && !pulled->interrupted) SENG_TRY(finish_incoming());
  drop_incoming();
  return pulled;
}

void StateTransfer::drop_incoming() {
  for (const std::uint32_t block : incoming_) {
    const auto found = state_.curvature.find(block);
    if (found != state_.curvature.end()) found->second.drop_begun();
  }
  incoming_.clear();
}

Status StateTransfer::take_over(GroupEpoch epoch) {
  server_->run(epoch);
  return finish_incoming();
}

Status StateTransfer::finish_incoming() {
  for (const std::uint32_t block : incoming_) SENG_TRY(state_.curvature.at(block).finish_version());
  incoming_.clear();
  return {};
}

void StateTransfer::interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  if (fetch_ != nullptr) fetch_->interrupt();
}

}  // namespace seng
