#include "actors/restore.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

#include "actors/checkpoint/layout.h"
#include "actors/checkpoint/safetensors.h"

namespace seng {

namespace {

// What a state's bits do not depend on. The length and the schedule's end have a rule of their own.
const std::vector<std::string_view> kMayDiffer = {"name",          "data.root",
                                                  "data.workers",  "data.prefetch",
                                                  "epochs",        "steps",
                                                  "actors",        "checkpoint",
                                                  "restart",       "priority",
                                                  "evaluate",      "ledger",
                                                  "initial",       "optimizer.lr.end_epochs",
                                                  "on_divergence", "engine.checkpoint_activations",
                                                  "engine.graphs", "exchange.path"};

// How a job goes on with the schedule of the checkpoint's, which ends at `epochs`.
std::string way_to_same_schedule(const JobSpec& checkpoint, double epochs) {
  const ScheduleSpec& lr = checkpoint.optimizer.lr;
  if (!schedule_may_end_itself(lr)) {
    const std::string length =
        checkpoint.steps > 0 ? fmt::format("steps={}", checkpoint.steps) : fmt::format("epochs={}", epochs);
    return fmt::format("this schedule ends with the job: only --set {} goes on from here", length);
  }
  return fmt::format("--set optimizer.lr.end_epochs={} keeps the schedule, with the rate at {} behind it",
                     epochs, lr.kind == "poly" ? lr.final : 0.0);
}

// Empty: the learning rate is the same at every step. Else what differs, and the way out in `way`.
std::string schedule_difference(const Workload& job, const JobSpec& checkpoint, std::string& way) {
  const ScheduleSpec& lr = job.spec.optimizer.lr;
  const std::size_t samples = job.data.train->size();
  const double ends[] = {schedule_end_in_steps(checkpoint, samples),
                         schedule_end_in_steps(job.spec, samples)};
  if (!schedule_ends(lr) || lr.kind != checkpoint.optimizer.lr.kind || ends[0] == ends[1]) return "";
  // As it was said, where that is in epochs: it gives the same whole steps.
  const auto epochs = [&](const JobSpec& spec, double steps) {
    if (schedule_may_end_itself(lr) && spec.optimizer.lr.end_epochs > 0) return spec.optimizer.lr.end_epochs;
    return spec.steps > 0 ? steps * spec.batch_global / static_cast<double>(samples) : spec.epochs;
  };
  way = way_to_same_schedule(checkpoint, epochs(checkpoint, ends[0]));
  return fmt::format("the end of the schedule {} of optimizer.lr: epoch {} (step {}) and {} (step {})",
                     lr.kind, epochs(checkpoint, ends[0]), ends[0], epochs(job.spec, ends[1]), ends[1]);
}

// As Curvature::digest.
Digest digest_of(const CurvatureValues& curvature) {
  Sha256 hash;
  hash.update(&curvature.step, sizeof curvature.step);
  hash.update(&curvature.lambda, sizeof curvature.lambda);
  if (curvature.stored == Precision::kF32) {
    hash.update(curvature.values.data(), curvature.values.size() * sizeof(float));
  } else {
    std::vector<std::uint16_t> stored(curvature.values.size());
    narrow(curvature.values.data(), stored.data(), stored.size());
    hash.update(stored.data(), stored.size() * sizeof(std::uint16_t));
  }
  return hash.finish();
}

Status check_curvature(const Workload& workload, const CheckpointContent& content,
                       const std::string& directory) {
  const std::uint64_t waiting = workload.waiting_after(content.manifest.step);
  std::size_t blocks_waiting = 0;
  for (const CurvatureValues& curvature : content.curvature) {
    const std::size_t expected = workload.second_order
                                     ? curvature_values(workload.network.blocks()[curvature.block],
                                                        workload.fragments[curvature.block].form,
                                                        workload.spec.optimizer.curvature.samples)
                                     : 0;
    const std::string& block = workload.network.blocks()[curvature.block].name;
    if (!workload.second_order || curvature.values.size() != expected)
      return fail(ErrorCode::kCorrupt, fmt::format("{}: the curvature of block {} has {} values; expected {}",
                                                   directory, block, curvature.values.size(), expected));
    if (curvature.stored != workload.stored)
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("{}: the curvature of block {} is {}; expected {}, optimizer.curvature.dtype",
                      directory, block, precision_name(curvature.stored), precision_name(workload.stored)));
    if (curvature.waiting && curvature.step != waiting)
      return fail(ErrorCode::kCorrupt, fmt::format("{}: a refresh of block {} waits, of step {}; none does",
                                                   directory, block, curvature.step));
    blocks_waiting += curvature.waiting ? 1 : 0;
  }
  if (waiting != 0 && blocks_waiting != workload.network.blocks().size())
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the refresh of step {} waits for {} blocks; expected all {}", directory,
                            waiting, blocks_waiting, workload.network.blocks().size()));
  return {};
}

Status check_state(const Workload& workload, const CheckpointContent& content, const std::string& directory) {
  const Manifest& manifest = content.manifest;
  const auto& blocks = workload.network.blocks();
  if (manifest.sample_position != manifest.step * workload.spec.batch_global)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: sample_position is {}; expected {}, step {} of {} samples", directory,
                            manifest.sample_position, manifest.step * workload.spec.batch_global,
                            manifest.step, workload.spec.batch_global));
  if (workload.adapts_damping() != manifest.damping.has_value())
    return fail(ErrorCode::kCorrupt, fmt::format("{}: damping: expected {}", directory,
                                                 manifest.damping ? "none, as it does not adapt in this job"
                                                                  : "what the job's damping adapts by"));
  if (workload.scales_loss() != manifest.loss_scale.has_value())
    return fail(ErrorCode::kCorrupt, fmt::format("{}: loss_scale: expected {}", directory,
                                                 manifest.loss_scale ? "none, as this job scales no loss"
                                                                     : "what the job's loss is scaled by"));
  SENG_TRY(check_curvature(workload, content, directory));
  std::vector<Digest> curvature(blocks.size(), Digest{});
  for (const CurvatureValues& each : content.curvature) {  // what waits behind what is in force
    Digest& digest = curvature[each.block];
    digest = each.waiting ? digest_with_waiting(digest, digest_of(each)) : digest_of(each);
  }
  const Digest weights = weights_digest(blocks, content.parameters, content.statistics);
  const std::string state =
      to_hex(state_digest(weights, content.momentum, curvature, manifest.step, manifest.sample_position,
                          manifest.damping, manifest.loss_scale));
  if (state != manifest.state_sha256)
    return fail(ErrorCode::kCorrupt, fmt::format("{}: state_sha256: expected {} by the tensors, found {}",
                                                 directory, state, manifest.state_sha256));
  return {};
}

std::string type_and_shape(TensorType type, const std::vector<std::int64_t>& shape) {
  return fmt::format("{} [{}]", name_of(type), fmt::join(shape, ", "));
}

bool counts_batches(const std::string& tensor) {
  return tensor == "num_batches_tracked" || tensor.ends_with(".num_batches_tracked");
}

// Names of tensors for one sentence of an error: "a, b and 7 more".
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 8;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) out += (i > 0 ? ", " : "") + names[i];
  return names.size() > kMost ? fmt::format("{} and {} more", out, names.size() - kMost) : out;
}

}  // namespace

Status check_agrees(const Workload& job, const JobSpec& of_checkpoint) {
  JobSpec checkpoint = of_checkpoint;
  // One that was written before ranks were: the sizes of its curvature tell whether they agree.
  std::string& ranks = checkpoint.optimizer.curvature.ranks;
  if (ranks.empty() && checkpoint.optimizer.curvature.rank == CurvatureSpec::kRankAuto)
    ranks = job.spec.optimizer.curvature.ranks;
  // One of a tuned job on the CPU, which has no choices; bits on another kind of device are others anyway.
  if (checkpoint.engine_choices.empty()) checkpoint.engine_choices = job.spec.engine_choices;
  std::vector<std::string> found = differences(checkpoint, job.spec, kMayDiffer);
  std::string way;
  if (std::string schedule = schedule_difference(job, checkpoint, way); !schedule.empty())
    found.push_back(std::move(schedule));
  if (found.empty()) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("the checkpoint's job and this one differ in what the bits depend on: {}. {}{}",
                          listed(found), way.empty() ? "" : way + "; ",
                          "initial.weights (--init-from) begins at step 0 with the weights of a checkpoint's "
                          "model.safetensors and any settings"));
}

void take_decided(JobSpec& spec) {
  CurvatureSpec& curvature = spec.optimizer.curvature;
  const bool ranks = curvature.rank == CurvatureSpec::kRankAuto && curvature.ranks.empty();
  const bool choices = spec.engine_tune && spec.engine_choices.empty();
  if (spec.initial_checkpoint.empty() || (!ranks && !choices)) return;
  const auto manifest = read_manifest(spec.initial_checkpoint);
  if (!manifest) return;
  const auto before = parse_job_spec(manifest->spec_yaml, "manifest");
  if (!before) return;
  if (ranks) curvature.ranks = before->optimizer.curvature.ranks;
  if (choices) spec.engine_choices = before->engine_choices;
}

Result<RestoredState> restore_state(const Workload& workload, const std::string& checkpoint_dir) {
  const auto manifest = read_manifest(checkpoint_dir);
  if (!manifest) return fail(manifest.error());
  const auto spec = parse_job_spec(manifest->spec_yaml, checkpoint_dir + "/manifest.json: spec");
  if (!spec) return fail(ErrorCode::kCorrupt, spec.error().message);
  if (const Status agrees = check_agrees(workload, *spec); !agrees)
    return fail(agrees.error().with_context(checkpoint_dir));
  if (manifest->step > workload.steps_total)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the state of step {}; the job ends with step {}", checkpoint_dir,
                            manifest->step, workload.steps_total));
  auto content = read_checkpoint(checkpoint_dir, workload.network.blocks());
  if (!content) return fail(content.error());
  SENG_TRY(check_state(workload, *content, checkpoint_dir));
  DampingState damping;
  if (const auto& saved = content->manifest.damping) damping = {saved->lambda, saved->predicted, saved->loss};
  LossScale loss_scale;
  if (const auto& saved = content->manifest.loss_scale) loss_scale = {saved->scale, saved->good_steps};
  return RestoredState{.source = checkpoint_dir,
                       .step = content->manifest.step,
                       .parameters = std::move(content->parameters),
                       .momentum = std::move(content->momentum),
                       .statistics = std::move(content->statistics),
                       .curvature = std::move(content->curvature),
                       .epoch_so_far = content->manifest.epoch_so_far,
                       .state_sha256 = content->manifest.state_sha256,
                       .damping = damping,
                       .loss_scale = loss_scale};
}

namespace {

// Which directory it is; nothing where there is none.
std::optional<std::pair<dev_t, ino_t>> identity(const std::string& directory) {
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0) return std::nullopt;
  return std::pair{info.st_dev, info.st_ino};
}

struct Look {
  std::optional<RestoredState> restored;
  std::vector<std::pair<std::string, Error>> refused;
  std::optional<Error> unread;  // of the first that was not seen whole
};

// `all`: goes on to older ones behind what could not be read.
Look look_for_newest(const Workload& workload, const std::string& checkpoints_dir, bool all) {
  Look look;
  const auto listed = list_checkpoints(checkpoints_dir);
  if (!listed) look.unread = listed.error();
  for (const std::string& directory : listed.value_or(std::vector<std::string>{})) {
    const auto before = identity(directory);
    auto restored = restore_state(workload, directory);
    if (restored) {
      look.restored = std::move(*restored);
      return look;
    }
    // A member that was left out, and does not know it, may be replacing it, or removing it for a newer one.
    const bool changed = !before || identity(directory) != before;
    if (changed || restored.error().code == ErrorCode::kIo) {
      if (!look.unread) look.unread = restored.error();
      if (!all) return look;
    }
    look.refused.emplace_back(directory, restored.error());
  }
  return look;
}

}  // namespace

Result<RestoredState> newest_restorable(const Workload& workload, const std::string& checkpoints_dir,
                                        const OnRefused& on_refused, const LookAgain& look_again) {
  const auto again = [&](int looks) { return look_again && look_again(looks); };
  Look look = look_for_newest(workload, checkpoints_dir, false);
  for (int looks = 0; look.unread; ++looks) {
    const bool last = !again(looks);
    look = look_for_newest(workload, checkpoints_dir, last);
    if (last) break;
  }
  for (const auto& [directory, error] : look.refused) on_refused(directory, error);
  if (look.restored) return std::move(*look.restored);
  if (look.unread)
    return fail(ErrorCode::kUnavailable,
                "checkpoints that cannot be read now are not given up: " + look.unread->message);
  return fail(ErrorCode::kNotFound, checkpoints_dir + ": no checkpoint that can be used");
}

namespace {

Result<RestoredState> read_beginning(const Workload& workload) {
  if (!workload.spec.initial_checkpoint.empty()) {
    auto restored = restore_state(workload, workload.spec.initial_checkpoint);
    return restored ? std::move(restored) : fail(restored.error().with_context("initial.checkpoint"));
  }
  TrainState state = TrainState::initial(workload);
  RestoredState out{.source = fmt::format("the seed {}", workload.spec.seed),
                    .parameters = std::move(state.parameters),
                    .momentum = std::move(state.momentum),
                    .statistics = std::move(state.statistics),
                    .damping = state.damping,
                    .loss_scale = state.loss_scale};
  const std::string& weights = workload.spec.initial_weights;
  if (weights.empty()) return out;
  out.source = weights;
  const auto digest = sha256_of_file(weights);
  if (!digest) return fail(digest.error().with_context("initial.weights"));
  out.weights_file_sha256 = to_hex(*digest);
  if (const Status loaded = load_initial_weights(workload, weights, out.parameters, out.statistics); !loaded)
    return fail(loaded.error().with_context("initial.weights"));
  return out;
}

}  // namespace

std::string initial_sha256(const RestoredState& beginning) {
  return beginning.state_sha256.empty() ? beginning.weights_file_sha256 : beginning.state_sha256;
}

Result<RestoredState> beginning(const Workload& workload, const std::string& sha256) {
  auto read = read_beginning(workload);
  if (!read || sha256.empty() || initial_sha256(*read) == sha256) return read;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: {} has changed since the job was submitted: its SHA-256 was {}, now it is {}; "
                          "the job can begin anew only with what it began with",
                          workload.spec.initial_weights.empty() ? "initial.checkpoint" : "initial.weights",
                          read->source, sha256, initial_sha256(*read)));
}

namespace {

void put_values(const CurvatureValues& from, const Curvature::Room& room) {
  const std::size_t each = bytes_of(from.stored);
  SENG_CHECK(room.first.size() + room.second.size() == from.values.size() * each,
             "restore_state checks the size");
  const float* values = from.values.data();
  for (const std::span<std::byte> half : {room.first, room.second}) {
    if (from.stored == Precision::kBf16) {
      narrow(values, reinterpret_cast<Bf16*>(half.data()), half.size() / each);
    } else if (!half.empty()) {
      std::memcpy(half.data(), values, half.size());
    }
    values += half.size() / each;
  }
}

}  // namespace

Result<TrainState> to_train_state(const Workload& workload, RestoredState restored) {
  TrainState state;
  state.step = restored.step;
  state.parameters = std::move(restored.parameters);
  state.momentum = std::move(restored.momentum);
  state.statistics = std::move(restored.statistics);
  state.tally.loss = restored.epoch_so_far.loss;
  state.tally.accuracy = restored.epoch_so_far.accuracy;
  state.tally.steps = restored.epoch_so_far.steps;
  state.curvature_steps.resize(workload.network.blocks().size());
  state.curvature_lambdas.resize(workload.network.blocks().size());
  state.damping = restored.damping;
  state.loss_scale = restored.loss_scale;
  for (const CurvatureValues& from : restored.curvature) {
    const auto block = static_cast<std::uint32_t>(from.block);
    Curvature& curvature = state.curvature.try_emplace(block, empty_curvature(workload, block)).first->second;
    const Curvature::Room room = curvature.begin_version(from.step, from.lambda, from.waiting);
    put_values(from, room);
    SENG_TRY(curvature.finish_version());
    if (!from.waiting) state.curvature_steps[block] = from.step, state.curvature_lambdas[block] = from.lambda;
  }
  return state;
}

Status load_initial_weights(const Workload& workload, const std::string& safetensors_path,
                            std::span<float> parameters, std::span<float> statistics) {
  auto file = SafetensorsFile::open(safetensors_path);
  if (!file) return fail(file.error());
  std::vector<std::string> missing, other, not_finite, unknown;
  std::vector<std::string_view> known;
  const std::vector<LayoutTensor> layout = model_layout(workload.network.blocks());
  for (const LayoutTensor& expected : layout) {
    known.push_back(expected.name);
    if (expected.source == ValueSource::kBatchesTracked) continue;
    const TensorInfo* tensor = file->find(expected.name);
    if (tensor == nullptr) {
      missing.push_back(expected.name);
    } else if (tensor->type != TensorType::kF32 || tensor->shape != expected.shape) {
      other.push_back(fmt::format("{} (expected {}, found {})", expected.name,
                                  type_and_shape(TensorType::kF32, expected.shape),
                                  type_and_shape(tensor->type, tensor->shape)));
    } else {
      const auto all = expected.source == ValueSource::kParameters ? parameters : statistics;
      const std::span<float> values = all.subspan(expected.offset, expected.count);
      SENG_TRY(file->read(*tensor, values));
      if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
        not_finite.push_back(expected.name);
    }
  }
  std::sort(known.begin(), known.end());
  for (const TensorInfo& tensor : file->tensors())
    if (!counts_batches(tensor.name) && !std::binary_search(known.begin(), known.end(), tensor.name))
      unknown.push_back(tensor.name);

  std::string problems;
  for (const auto& [what, names] : {std::pair{"missing: ", &missing}, std::pair{"of another shape: ", &other},
                                    std::pair{"with values that are not finite: ", &not_finite},
                                    std::pair{"not of this network: ", &unknown}})
    if (!names->empty()) problems += (problems.empty() ? "" : "; ") + (what + listed(*names));
  if (problems.empty()) return {};
  return fail(ErrorCode::kInvalidArgument, safetensors_path + ": tensors " + problems);
}

}  // namespace seng
