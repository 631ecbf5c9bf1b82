// A job's specification: what `sengctl submit` reads, sengd stores and actors train by. README.md of this
// folder lists every key with its default, unit and meaning.
//
// Parsing is strict: unknown keys, wrong types, out-of-range and non-finite numbers are errors that name the
// file, line, column and key path, and what was expected. Knows nothing of networks or data sets beyond their
// names' form: whether `lenet` exists is for `seng-actor plan` to say. So is whether the layers of a network
// that is written in the job fit each other; their types and options are checked here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

struct ScheduleSpec {
  std::string kind = "constant";  // constant | exp | poly | cosine | step
  double initial = 0.1;
  double final = 0.0;              // poly, cosine: the value at the end
  double exponent = 1.0;           // exp, poly: (1 - e/E)^exponent
  double end_epochs = 0;           // E of exp and poly; 0: the job's epochs
  std::vector<double> milestones;  // step: epochs at which the value is multiplied by gamma
  double gamma = 0.1;
  double warmup_epochs = 0;  // linear from initial/10 to initial
  bool operator==(const ScheduleSpec&) const = default;
};

struct CurvatureSpec {
  std::uint32_t every = 100;             // steps between refreshes
  std::uint32_t samples = 256;           // N, over the global batch; a multiple of V
  std::string batch_norm = "explicit";   // explicit | scale
  std::string representation = "auto";   // auto | explicit | implicit
  std::uint32_t rank = 0;                // of a convolution's factors; 0: full
  double rank_energy = 0.99;             // rank kRankAuto: what the leading directions must hold of |G|^2
  std::uint32_t rank_max = 64;           // and at most so many of them
  std::string ranks;                     // rank kRankAuto: as decided, see parse_ranks(); empty: not yet
  std::string rank_method = "subspace";  // subspace | svd
  std::string sketch = "none";           // none | rows | countsketch
  std::uint32_t sketch_rows = 8192;      // q
  std::string product = "exact";         // exact | countsketch | authors
  std::uint32_t product_buckets = 64;    // r of the count sketch
  std::string mode = "global";           // global | local
  std::uint32_t workers = 1;             // local: M
  std::string dtype = "f32";             // f32 | bf16, of what is kept
  std::string fragment_dtype = "f32";    // f32 | bf16, of what travels
  bool overlap = false;                  // a refresh takes effect one step later, formed meanwhile
  std::uint32_t memory_mib = 1024;       // of all blocks' curvature in force; 0: unlimited
  double decay = 0.95;                   // kfac: of the factors' running means
  std::uint32_t inverse_every = 1;       // kfac: refreshes between two eigendecompositions
  static constexpr std::uint32_t kRankAuto = 65536;
  bool operator==(const CurvatureSpec&) const = default;
};

// Damping by the reduction ratio: actors/optim/damping_control.h.
struct AdaptiveDampingSpec {
  std::uint32_t every = 0;  // steps between two trials; 0: off
  double factor = 1.5;      // that divides or multiplies it
  double min = 1e-6, max = 1e6;
  bool operator==(const AdaptiveDampingSpec&) const = default;
};

struct OptimizerSpec {
  std::string name;  // seng | kfac | sgd | lars
  ScheduleSpec lr;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0.0;
  double damping_initial = 1.0, damping_decay = 1.0, damping_every_epochs = 10;
  AdaptiveDampingSpec adaptive;  // of the damping
  CurvatureSpec curvature;
  double trust_region = 0.0;         // kappa; 0: off
  double trust_coefficient = 0.001;  // eta of lars
  bool operator==(const OptimizerSpec&) const = default;
};

// Whether the optimizer keeps curvature, and preconditions with it.
bool has_curvature(std::string_view optimizer_name);

// What happens to training images; actors/data/README.md says what each does. 0 and false: nothing.
struct AugmentSpec {
  double resized_crop = 0;     // smallest share of the area
  std::uint32_t pad_crop = 0;  // pixels
  bool flip = false;
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;  // color_jitter
  std::uint32_t cutout = 0;                                      // pixels
  double mixup = 0;                                              // alpha
  bool operator==(const AugmentSpec&) const = default;
};

// One layer of a network that is written in the job; spec_layers.h has the types and their options.
struct LayerSpec {
  std::string name, type;
  std::vector<std::string> inputs;             // earlier layers, or "image"; none: the layer before
  std::map<std::string, std::string> options;  // as written
  bool operator==(const LayerSpec&) const = default;
};

struct JobSpec {
  std::string name;
  std::uint64_t seed = 0;
  std::string model_name;                            // empty: the network is model_layers
  std::map<std::string, std::string> model_options;  // scalars, as written; the network checks them
  std::vector<LayerSpec> model_layers;
  std::string data_name;
  std::string data_root = "auto";
  AugmentSpec augment;
  std::uint32_t data_workers = 0;   // threads of an actor that read ahead; 0: lanes read for themselves
  std::uint32_t data_prefetch = 4;  // micro-batches that they are ahead
  std::map<std::string, std::string> data_options;
  std::uint32_t batch_global = 0, batch_micro = 0;
  double epochs = 0;  // exactly one of epochs and steps is set
  std::uint64_t steps = 0;
  double label_smoothing = 0.0;
  OptimizerSpec optimizer;
  std::uint32_t actors_min = 1, actors_max = 1;
  std::uint32_t lanes = 0;                   // per actor; 0: auto, the slot's threads
  std::uint64_t checkpoint_every_steps = 0;  // 0: only at the end
  std::uint32_t checkpoint_keep = 2;
  double evaluate_every_epochs = 1;            // 0: only at the end
  std::string engine_precision = "f32";        // f32 | tf32 | bf16 | f16; the CPU has f32 only
  std::uint32_t engine_loss_scale = 256;       // f16: of the first step; a power of two
  std::string engine_convolution = "auto";     // auto | direct
  std::string engine_graphs = "auto";          // auto | off: whether GPUs repeat recorded passes
  bool engine_checkpoint_activations = false;  // drop activations, and make them again in the backward pass
  bool engine_tune = false;                    // a GPU's convolutions run with algorithms that were measured
  std::string engine_choices;          // which, once that is decided (actors/engine/convolution_choices.h)
  bool ledger = false;                 // each actor writes which samples it used
  std::string on_divergence = "fail";  // fail | continue, when a step's loss is not finite
  // Actors started in the place of lost ones: at most `restart_max` within any `restart_window_s` seconds.
  std::uint32_t restart_max = 20;
  double restart_window_s = 3600;
  std::string exchange = "zmq";      // exchange.path: zmq | nccl | auto: how sums and directions travel
  std::string reduce = "ordered";    // exchange.reduce: ordered | fast: fast sums' bits depend on the group
  std::int32_t priority = 0;         // the higher gets its actors first
  bool allow_mixed_devices = false;  // actors on different kinds of devices: bits then depend on who computes
  // What the weights of step 0, or the whole state, are taken from; at most one, empty: from the seed.
  std::string initial_checkpoint;  // a checkpoint's directory: the job goes on from its step
  std::string initial_weights;     // a safetensors file with PyTorch's names

  // For people: the network's name, "layers" where it is written in the job.
  std::string model_label() const { return model_layers.empty() ? model_name : "layers"; }
  std::uint32_t micro_batches() const { return batch_global / batch_micro; }
  bool operator==(const JobSpec&) const = default;
};

// `source` names the file in errors. `overrides` are "key.path=value" pairs, applied before validation.
// The error's message may hold several lines, one per problem found.
Result<JobSpec> parse_job_spec(const std::string& yaml_text, const std::string& source,
                               const std::vector<std::string>& overrides = {});

// Every key written out, in a fixed order; parse_job_spec(to_yaml(s)) == s for every s that parse_job_spec
// gives.
std::string to_yaml(const JobSpec& spec);

// "optimizer.lr.initial: 0.1 and 0.05": each key, in the order of to_yaml, whose values differ, a's first.
// Keys of options that only one has are "none" in the other. `but_for`: keys, and groups with all their keys,
// that may differ.
std::vector<std::string> differences(const JobSpec& a, const JobSpec& b,
                                     const std::vector<std::string_view>& but_for = {});

// "3 0 7": per block of the network, 0 for one whose rank is not decided so. kInvalidArgument: anything else.
Result<std::vector<int>> parse_ranks(std::string_view ranks);
std::string ranks_text(const std::vector<int>& ranks);

// What the user should know of the specification: what it says without effect ("optimizer.trust_region has no
// effect: ..."), and what it gives up. Such keys are allowed, so that `--set optimizer.name=sgd` turns any
// SENG job into its baseline.
std::vector<std::string> notes_on(const JobSpec& spec);
// What of it GPUs alone can do, a sentence each: for who does not know yet where it will run.
std::vector<std::string> gpu_notes_on(const JobSpec& spec);

}  // namespace seng
