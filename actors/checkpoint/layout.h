// Which tensors the files of a checkpoint hold, for one network: shared by writing and reading.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "actors/checkpoint/safetensors.h"
#include "actors/engine/block.h"

namespace seng {

// Where a tensor's values lie among the job's flat arrays.
enum class ValueSource { kParameters, kStatistics, kBatchesTracked };
struct LayoutTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  ValueSource source = ValueSource::kParameters;
  std::size_t offset = 0, count = 0;
};

// model.safetensors: PyTorch's state_dict. Each batch norm has running_mean, running_var and
// num_batches_tracked.
std::vector<LayoutTensor> model_layout(std::span<const Block> blocks);
// optimizer.safetensors: the momentum of each parameter, under the parameter's name.
std::vector<LayoutTensor> optimizer_layout(std::span<const Block> blocks);

struct FlatSizes {
  std::size_t parameters = 0, statistics = 0;
};
FlatSizes flat_sizes(std::span<const Block> blocks);

// curvature-*.safetensors: the tensor's name, and its metadata's keys; of a refresh that is in force, or
// waits.
std::string curvature_tensor(const Block& block, bool waiting);
std::string curvature_step_key(const Block& block, bool waiting);
std::string curvature_lambda_key(const Block& block, bool waiting);
bool is_curvature_file(const std::string& name);

}  // namespace seng
