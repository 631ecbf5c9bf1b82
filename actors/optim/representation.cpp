#include "actors/optim/representation.h"

#include "protocol/base/error.h"

namespace seng {
namespace {

std::size_t raw_input(const Block& block) {
  const ConvolutionGeometry& conv = block.conv;
  if (block.kind != BlockKind::kConvolution) return static_cast<std::size_t>(block.n);
  return std::size_t(conv.channels_in) * std::size_t(conv.height_in) * std::size_t(conv.width_in);
}

}  // namespace

Representation choose_representation(const Block& block, bool batch_norm_scale) {
  if (block.kind == BlockKind::kBatchNorm) {
    return batch_norm_scale ? Representation::kScale : Representation::kExplicit;
  }
  const std::int64_t explicit_floats = block.m * block.n + (block.bias ? block.m : 0);
  const std::int64_t implicit_floats = block.positions * (block.m + block.n);
  return explicit_floats <= implicit_floats ? Representation::kExplicit : Representation::kImplicit;
}

SampleSize sample_size(const Block& block, Representation representation) {
  switch (representation) {
    case Representation::kExplicit:
      return {block.count, 0};
    case Representation::kImplicit:
      SENG_CHECK(block.kind != BlockKind::kBatchNorm, "a batch norm has no implicit representation");
      return {raw_input(block), std::size_t(block.m) * std::size_t(block.positions)};
    case Representation::kScale:
      break;
  }
  return {};
}

FragmentShape fragment_shape(const Block& block, Representation representation, int samples) {
  SENG_CHECK(samples >= 0, "samples of a fragment");
  return {representation, samples, sample_size(block, representation).total() * std::size_t(samples)};
}

std::size_t curvature_bytes(const Block& block, Representation representation, std::size_t samples) {
  if (representation == Representation::kScale) return 0;
  return sample_size(block, representation).total() * samples * sizeof(float) +
         samples * samples * sizeof(double);
}

}  // namespace seng
