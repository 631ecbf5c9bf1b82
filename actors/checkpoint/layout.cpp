#include "actors/checkpoint/layout.h"

namespace seng {

std::vector<LayoutTensor> model_layout(std::span<const Block> blocks) {
  std::vector<LayoutTensor> tensors = optimizer_layout(blocks);
  for (const Block& block : blocks) {
    for (const BlockTensor& tensor : block.statistics) {
      tensors.push_back({tensor.name, tensor.shape, ValueSource::kStatistics, tensor.offset, tensor.count});
    }
    if (block.kind == BlockKind::kBatchNorm) {
      tensors.push_back({block.name + ".num_batches_tracked", {}, ValueSource::kBatchesTracked, 0, 1});
    }
  }
  return tensors;
}

std::vector<LayoutTensor> optimizer_layout(std::span<const Block> blocks) {
  std::vector<LayoutTensor> tensors;
  for (const Block& block : blocks) {
    for (const BlockTensor& tensor : block.parameters) {
      tensors.push_back({tensor.name, tensor.shape, ValueSource::kParameters, tensor.offset, tensor.count});
    }
  }
  return tensors;
}

FlatSizes flat_sizes(std::span<const Block> blocks) {
  FlatSizes sizes;
  for (const Block& block : blocks) {
    sizes.parameters += block.count;
    sizes.statistics += block.statistics_count;
  }
  return sizes;
}

std::string curvature_tensor(const Block& block, bool waiting) {
  return block.name + (waiting ? ".waiting_curvature" : ".curvature");
}
std::string curvature_step_key(const Block& block, bool waiting) {
  return block.name + (waiting ? ".waiting_step" : ".step");
}
std::string curvature_lambda_key(const Block& block, bool waiting) {
  return block.name + (waiting ? ".waiting_lambda" : ".lambda");
}

bool is_curvature_file(const std::string& name) {
  return name.starts_with("curvature-") && name.ends_with(".safetensors");
}

}  // namespace seng
