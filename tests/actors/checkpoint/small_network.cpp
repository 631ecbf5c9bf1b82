#include "tests/actors/checkpoint/small_network.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace seng {
namespace {

void add_tensor(std::vector<BlockTensor>& tensors, const std::string& name, std::vector<std::int64_t> shape,
                std::size_t* offset, std::size_t* total) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  tensors.push_back({name, std::move(shape), *offset, count});
  *offset += count;
  *total += count;
}

Block make_block(const std::string& name, BlockKind kind, std::vector<std::int64_t> weight,
                 std::size_t* parameters, std::size_t* statistics) {
  Block block;
  block.name = name;
  block.kind = kind;
  block.m = weight[0];
  block.offset = *parameters;
  block.statistics_offset = *statistics;
  const std::vector<std::int64_t> rows = {weight[0]};
  add_tensor(block.parameters, name + ".weight", std::move(weight), parameters, &block.count);
  add_tensor(block.parameters, name + ".bias", rows, parameters, &block.count);
  if (kind == BlockKind::kBatchNorm) {
    add_tensor(block.statistics, name + ".running_mean", rows, statistics, &block.statistics_count);
    add_tensor(block.statistics, name + ".running_var", rows, statistics, &block.statistics_count);
  }
  return block;
}

std::vector<float> random_floats(std::size_t count, std::mt19937& engine) {
  std::vector<float> values(count);
  for (float& value : values) {
    do {
      value = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
    } while (!std::isfinite(value));
  }
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
  });
}

}  // namespace

std::vector<Block> small_network() {
  std::size_t parameters = 0, statistics = 0;
  return {make_block("conv1", BlockKind::kConvolution, {2, 1, 3, 3}, &parameters, &statistics),
          make_block("bn1", BlockKind::kBatchNorm, {2}, &parameters, &statistics),
          make_block("fc", BlockKind::kLinear, {3, 4}, &parameters, &statistics)};
}

SmallState random_state(const std::vector<Block>& blocks, std::uint64_t step, unsigned seed) {
  std::mt19937 engine(seed);
  std::size_t parameters = 0, statistics = 0;
  for (const Block& block : blocks) parameters += block.count, statistics += block.statistics_count;
  SmallState state;
  state.parameters = random_floats(parameters, engine);
  state.statistics = random_floats(statistics, engine);
  state.momentum = random_floats(parameters, engine);
  state.step = step;
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    const double lambda = std::uniform_real_distribution<double>(1e-6, 3)(engine);
    state.curvature.push_back({block, step / 2, lambda, random_floats(5 + 3 * block, engine)});
  }
  return state;
}

Result<std::string> write_state(const std::string& directory, const std::vector<Block>& blocks,
                                const SmallState& state, std::uint32_t keep, Storage& storage) {
  auto staging = open_staging(directory, state.step, storage);
  if (!staging) return fail(staging.error());
  Manifest manifest;
  auto model =
      write_model(*staging, blocks, state.parameters, state.statistics, state.momentum, state.step, storage);
  if (!model) return fail(model.error());
  manifest.files = *model;
  const std::span<const CurvatureValues> curvature = state.curvature;
  const std::size_t half = curvature.size() / 2;
  for (int actor = 0; actor < 2; ++actor) {
    auto file = write_curvature(*staging, "curvature-" + std::to_string(actor) + ".safetensors", blocks,
                                actor == 0 ? curvature.first(half) : curvature.subspan(half), storage);
    if (!file) return fail(file.error());
    manifest.files.push_back(*file);
  }
  manifest.spec_yaml = "name: small\n";
  manifest.step = state.step;
  manifest.sample_position = state.step * 64;
  const Digest weights = weights_digest(blocks, state.parameters, state.statistics);
  manifest.weights_sha256 = to_hex(weights);
  manifest.state_sha256 =
      to_hex(state_digest(weights, state.momentum, {}, state.step, manifest.sample_position));
  return commit_checkpoint(directory, *staging, manifest, keep, storage);
}

std::string difference(const CheckpointContent& content, const SmallState& state) {
  if (content.manifest.step != state.step) return "step " + std::to_string(content.manifest.step);
  if (!same_bits(content.parameters, state.parameters)) return "parameters";
  if (!same_bits(content.statistics, state.statistics)) return "statistics";
  if (!same_bits(content.momentum, state.momentum)) return "momentum";
  if (content.curvature.size() != state.curvature.size()) return "number of curvatures";
  for (std::size_t i = 0; i < state.curvature.size(); ++i) {
    const CurvatureValues &got = content.curvature[i], &expected = state.curvature[i];
    if (got.block != expected.block || got.step != expected.step || got.lambda != expected.lambda ||
        !same_bits(got.values, expected.values)) {
      return "curvature " + std::to_string(i);
    }
  }
  return "";
}

}  // namespace seng
