#include "actors/optim/representation.h"

#include <algorithm>

#include "actors/optim/kronecker.h"
#include "protocol/base/error.h"

namespace seng {
std::string_view representation_name(Representation representation) {
  switch (representation) {
    case Representation::kExplicit:
      return "explicit";
    case Representation::kImplicit:
      return "implicit";
    case Representation::kLowRank:
      return "low_rank";
    case Representation::kScale:
      return "scale";
    case Representation::kKronecker:
      return "kronecker";
  }
  return "";
}

int full_rank(const Block& block) {
  return static_cast<int>(std::min(block.m, block.positions));
}

SampleSize sample_size(const Block& block, const CurvatureForm& form) {
  switch (form.representation) {
    case Representation::kExplicit:
      return {block.count, 0};
    case Representation::kImplicit: {
      SENG_CHECK(block.kind != BlockKind::kBatchNorm, "a batch norm has no implicit representation");
      const FactorSizes raw = factor_sizes(block);
      return {raw.activations, raw.gradients};
    }
    case Representation::kLowRank: {
      SENG_CHECK(block.kind == BlockKind::kConvolution, "only a convolution's factors can be cut");
      SENG_CHECK(form.rank > 0 && form.rank <= full_rank(block), "rank of block " + block.name);
      const std::size_t p = std::size_t(form.rank);
      return {p * (std::size_t(block.n) + (block.bias ? 1 : 0)), p * std::size_t(block.m)};
    }
    case Representation::kScale:
    case Representation::kKronecker:
      break;
  }
  return {};
}

FragmentShape fragment_shape(const Block& block, const CurvatureForm& form, int samples, Precision wire) {
  SENG_CHECK(samples >= 0, "samples of a fragment");
  const std::size_t floats = form.representation == Representation::kKronecker
                                 ? kronecker_fragment(block, samples).floats()
                                 : sample_size(block, form).total() * std::size_t(samples);
  return {form, samples, floats, wire, (floats * bytes_of(wire) + 3) / 4};
}

std::size_t curvature_values(const Block& block, const CurvatureForm& form, std::size_t samples) {
  if (form.representation != Representation::kKronecker) return sample_size(block, form).total() * samples;
  const KroneckerShape shape = kronecker_shape(block);
  return (shape.packed_a() + shape.packed_g()) * std::size_t(form.factor_sets);
}

std::size_t curvature_bytes(const Block& block, const CurvatureForm& form, std::size_t samples,
                            Precision stored) {
  if (form.representation == Representation::kScale) return 0;
  const std::size_t values = curvature_values(block, form, samples) * bytes_of(stored);
  if (form.representation == Representation::kKronecker) {
    const KroneckerShape shape = kronecker_shape(block);
    return values +
           (shape.m * (shape.m + 1) + shape.n * (shape.n + 1)) * sizeof(float);  // eigenvectors and -values
  }
  return values + samples * samples * sizeof(double);
}

}  // namespace seng
