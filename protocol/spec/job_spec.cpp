#include "protocol/spec/job_spec.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "protocol/base/text.h"
#include "protocol/spec/spec_decoder.h"
#include "protocol/spec/spec_overrides.h"
#include "protocol/spec/spec_tree.h"

namespace seng {
namespace {

constexpr std::size_t kMostProblems = 20;
constexpr std::uint32_t kMostMicroBatches = 65'536;
constexpr std::uint32_t kUsualCurvatureSamples = 256;

// What holds between several keys. Each check is made only where its keys are right by themselves.
class Relations {
 public:
  Relations(const SpecNode& root, DecodedSpec& decoded, SpecProblems& problems)
      : root_(root), decoded_(decoded), spec_(decoded.spec), problems_(problems) {}

  void check() {
    check_length();
    check_batch();
    check_schedule();
    check_adaptive_damping();
    check_loss_scale();
    check_reduce();
    check_tuning();
    if (!given("actors.max")) spec_.actors_max = std::max(spec_.actors_max, spec_.actors_min);
    if (right({"actors.min", "actors.max"}) && spec_.actors_min > spec_.actors_max)
      refuse("actors.min", fmt::format("{} is more than actors.max, {}; expected at most that",
                                       spec_.actors_min, spec_.actors_max));
    if (given("model.name") && given("model.layers"))
      refuse("model.layers", "given beside model.name; expected one of the two");
    if (!spec_.model_layers.empty() && !spec_.model_options.empty())
      refuse("model." + spec_.model_options.begin()->first,
             "an option beside model.layers; expected it in one of the layers");
    if (spec_.augment.resized_crop > 0 && spec_.augment.pad_crop > 0)
      refuse("data.augment.pad_crop", "given beside resized_crop; expected one of the two");
    if (!spec_.initial_checkpoint.empty() && !spec_.initial_weights.empty())
      refuse("initial.weights", "given beside initial.checkpoint; expected one of the two");
    if (!given("name")) spec_.name = default_name();
  }

 private:
  bool given(std::string_view path) const { return decoded_.given.contains(path); }
  bool right(std::initializer_list<std::string_view> paths) const {
    return std::all_of(paths.begin(), paths.end(), [&](std::string_view path) {
      for (; !path.empty();
           path = path.substr(0, path.rfind('.') == std::string_view::npos ? 0 : path.rfind('.'))) {
        if (decoded_.wrong.contains(path)) return false;
      }
      return true;
    });
  }
  void refuse(std::string_view path, std::string what) {
    decoded_.wrong.emplace(path);
    problems_.push_back({place_of(root_, path), std::string(path), std::move(what)});
  }

  void check_length() {
    if (given("epochs") && given("steps")) refuse("steps", "given beside epochs; expected one of the two");
    if (!given("epochs") && !given("steps")) refuse("epochs", "missing; expected epochs or steps");
  }

  void check_batch() {
    if (!right({"batch.global", "batch.micro"}) || spec_.batch_micro == 0) return;
    const std::uint32_t global = spec_.batch_global, micro = spec_.batch_micro;
    if (global % micro != 0) {
      std::uint32_t divisor = std::min(micro, global);
      while (global % divisor != 0) --divisor;
      return refuse("batch.micro",
                    fmt::format("{} does not divide batch.global, {}; expected a divisor, as {}", micro,
                                global, divisor));
    }
    const std::uint32_t pieces = spec_.micro_batches();
    if (pieces > kMostMicroBatches)
      return refuse("batch.micro",
                    fmt::format("{} cuts the global batch into {} micro-batches; expected at most {}", micro,
                                pieces, kMostMicroBatches));
    if (right({"actors.min"}) && spec_.actors_min > pieces)
      refuse("actors.min", fmt::format("{} actors share {} (batch.global / batch.micro) and each needs "
                                       "one; expected at most {}",
                                       spec_.actors_min, counted(pieces, "micro-batch"), pieces));
    check_samples(pieces);
    check_workers(pieces);
  }

  void check_samples(std::uint32_t pieces) {
    std::uint32_t& samples = spec_.optimizer.curvature.samples;
    if (!given("optimizer.curvature.samples")) {
      const std::uint32_t most = std::min(kUsualCurvatureSamples, spec_.batch_global);
      samples = std::max(pieces, most / pieces * pieces);
    }
    if (!has_curvature(spec_.optimizer.name) || !right({"optimizer.curvature.samples"})) return;
    if (samples > spec_.batch_global) {
      refuse("optimizer.curvature.samples",
             fmt::format("{} is more than batch.global, {}; expected at most that", samples,
                         spec_.batch_global));
    } else if (samples % pieces != 0) {
      refuse(
          "optimizer.curvature.samples",
          fmt::format(
              "{} is no multiple of {}, the number of micro-batches (batch.global / batch.micro); expected "
              "one, as {}",
              samples, pieces, std::max(pieces, samples / pieces * pieces)));
    }
  }

  // Each virtual worker of the local mode has the samples of V/M micro-batches in a row.
  void check_workers(std::uint32_t pieces) {
    const CurvatureSpec& c = spec_.optimizer.curvature;
    if (spec_.optimizer.name != "seng" || c.mode != "local" || !right({"optimizer.curvature.workers"}))
      return;
    if (c.workers > pieces || pieces % c.workers != 0)
      refuse("optimizer.curvature.workers",
             fmt::format("{} workers do not share out {} (batch.global / batch.micro); expected a "
                         "divisor",
                         c.workers, counted(pieces, "micro-batch")));
  }

  void check_schedule() {
    const ScheduleSpec& lr = spec_.optimizer.lr;
    if (right({"optimizer.lr.schedule", "optimizer.lr.milestones"}) && lr.kind == "step" &&
        lr.milestones.empty())
      refuse("optimizer.lr.milestones",
             "missing for the schedule step; expected a list of epochs, as [10, 20]");
  }

  // Then scaling changes no bit of a float.
  void check_loss_scale() {
    const std::uint32_t scale = spec_.engine_loss_scale;
    if (right({"engine.loss_scale"}) && !std::has_single_bit(scale))
      refuse("engine.loss_scale",
             fmt::format("{} is no power of two; expected one, as {}", scale, std::bit_floor(scale)));
  }

  void check_reduce() {
    if (right({"exchange.path", "exchange.reduce"}) && spec_.reduce == "fast" && spec_.exchange == "zmq")
      refuse("exchange.reduce",
             "fast: NCCL adds, and exchange.path is zmq, over which owners add in the tree's order; expected "
             "ordered, or exchange.path nccl or auto");
  }

  // One table of choices is of one kind of device.
  void check_tuning() {
    if (spec_.engine_tune && spec_.allow_mixed_devices)
      refuse(
          "engine.tune",
          "given beside allow_mixed_devices; expected one of the two: what is measured on one kind of device "
          "says nothing of another");
  }

  void check_adaptive_damping() {
    const OptimizerSpec& o = spec_.optimizer;
    const AdaptiveDampingSpec& a = o.adaptive;
    if (a.every == 0 || !has_curvature(o.name) || !right({"optimizer.damping"})) return;
    if (a.every == 1)
      refuse("optimizer.damping.adaptive.every",
             "1: a step is tried and the next one judges it; expected 0 or at least 2");
    if (o.name == "seng" && o.curvature.overlap)
      refuse("optimizer.curvature.overlap",
             "given beside optimizer.damping.adaptive; expected one of the two");
    if (o.damping_decay != 1)
      refuse("optimizer.damping.decay", "given beside adaptive; expected one of the two");
    if (a.min > a.max)
      return refuse("optimizer.damping.adaptive.min",
                    fmt::format("{} is above adaptive.max, {}", a.min, a.max));
    if (a.min > o.damping_initial || o.damping_initial > a.max)
      refuse("optimizer.damping.initial",
             fmt::format("{} is outside of adaptive.min, {}, and adaptive.max, {}", o.damping_initial, a.min,
                         a.max));
  }

  std::string default_name() const {
    std::string name = fmt::format("{}-{}", spec_.model_label(), spec_.optimizer.name);
    name.resize(std::min<std::size_t>(name.size(), 64));
    return name;
  }

  const SpecNode& root_;
  DecodedSpec& decoded_;
  JobSpec& spec_;
  SpecProblems& problems_;
};

Error as_error(const SpecProblems& problems, const std::string& source) {
  std::string text;
  for (std::size_t i = 0; i < std::min(problems.size(), kMostProblems); ++i) {
    const SpecProblem& p = problems[i];
    text +=
        fmt::format("{}{}: {}{}{}", i > 0 ? "\n" : "", p.where, p.path, p.path.empty() ? "" : ": ", p.what);
  }
  if (problems.size() > kMostProblems)
    text += fmt::format("\n{}: and {} more problem{}", source, problems.size() - kMostProblems,
                        problems.size() == kMostProblems + 1 ? "" : "s");
  return {ErrorCode::kInvalidArgument, std::move(text)};
}

}  // namespace

bool has_curvature(std::string_view optimizer_name) {
  return optimizer_name == "seng" || optimizer_name == "kfac";
}

Result<JobSpec> parse_job_spec(const std::string& yaml_text, const std::string& source,
                               const std::vector<std::string>& overrides) {
  SpecProblems problems;
  SpecNode root = read_spec_tree(yaml_text, source, true, problems);
  if (root.kind == SpecNode::Kind::kMissing || root.kind == SpecNode::Kind::kNull) {
    if (problems.empty())
      problems.push_back({source, "", "empty; expected a job: model, data, batch, optimizer ..."});
    return fail(as_error(problems, source));
  }
  if (root.kind == SpecNode::Kind::kMap) {
    for (const std::string& assignment : overrides) apply_override(root, assignment, problems);
  }
  DecodedSpec decoded = decode_spec(root, problems);
  if (root.kind == SpecNode::Kind::kMap) Relations(root, decoded, problems).check();
  if (!problems.empty()) return fail(as_error(problems, source));
  return std::move(decoded.spec);
}

}  // namespace seng
