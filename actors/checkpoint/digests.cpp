#include <array>
#include <bit>

#include "actors/checkpoint/checkpoint.h"

namespace seng {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes are over little-endian values");

void update(Sha256& hash, std::span<const float> values, const BlockTensor& tensor) {
  SENG_CHECK(tensor.offset <= values.size() && tensor.count <= values.size() - tensor.offset, tensor.name);
  hash.update(values.data() + tensor.offset, tensor.count * sizeof(float));
}

void update(Sha256& hash, std::uint64_t value) {
  hash.update(&value, sizeof value);
}

}  // namespace

Digest weights_digest(std::span<const Block> blocks, std::span<const float> parameters,
                      std::span<const float> statistics) {
  Sha256 hash;
  for (const Block& block : blocks) {
    for (const BlockTensor& tensor : block.parameters) update(hash, parameters, tensor);
  }
  for (const Block& block : blocks) {
    for (const BlockTensor& tensor : block.statistics) update(hash, statistics, tensor);
  }
  return hash.finish();
}

Digest digest_with_waiting(const Digest& in_force, const Digest& waiting) {
  Sha256 hash;
  hash.update(in_force.data(), in_force.size());
  hash.update(waiting.data(), waiting.size());
  return hash.finish();
}

Digest state_digest(const Digest& weights, std::span<const float> momentum, std::span<const Digest> curvature,
                    std::uint64_t step, std::uint64_t sample_position,
                    const std::optional<SavedDamping>& damping,
                    const std::optional<SavedLossScale>& loss_scale) {
  Sha256 hash;
  hash.update(weights.data(), weights.size());
  hash.update(momentum.data(), momentum.size_bytes());
  for (const Digest& digest : curvature) hash.update(digest.data(), digest.size());
  update(hash, step);
  update(hash, sample_position);
  if (damping)
    for (const double value : {damping->lambda, damping->predicted, damping->loss})
      update(hash, std::bit_cast<std::uint64_t>(value));
  if (loss_scale) {
    update(hash, std::bit_cast<std::uint64_t>(loss_scale->scale));
    update(hash, loss_scale->good_steps);
  }
  return hash.finish();
}

}  // namespace seng
