#include "actors/exchange/placement.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "protocol/base/error.h"

namespace seng {
namespace {

// Rough costs of one core: what matters is their ratio.
constexpr double kNsPerByteRead = 1.0 / 12;    // streaming from memory
constexpr double kNsPerByteMoved = 1.0;        // through a socket, both ends' copies and the addition
constexpr double kNsPerOperation = 1.0 / 100;  // in a matrix product

double parameters(const Block& block) {
  return static_cast<double>(block.count);
}
double kappa(const Block& block) {
  return static_cast<double>(block.positions);
}
double rows_and_columns(const Block& block) {
  return static_cast<double>(block.m) + static_cast<double>(block.n);
}

bool is_implicit(const Block& block) {
  return block.kind != BlockKind::kBatchNorm && kappa(block) * rows_and_columns(block) < parameters(block);
}

double floats_per_sample(const Block& block) {
  return is_implicit(block) ? kappa(block) * rows_and_columns(block) : parameters(block);
}

double precondition_cost(const Block& block, double samples) {
  // Both products with U: U^T g and U b.
  if (is_implicit(block)) return 4 * samples * kappa(block) * parameters(block) * kNsPerOperation;
  return 2 * samples * parameters(block) * sizeof(float) * kNsPerByteRead;
}

double refresh_cost(const Block& block, double samples) {
  const double pairs = samples * samples;
  const double columns =
      is_implicit(block) ? kappa(block) * kappa(block) * rows_and_columns(block) : parameters(block);
  return (pairs * columns + pairs * samples / 3) * kNsPerOperation;
}

bool has_factors(const Block& block, const PlacementOptions& options) {
  return options.inverse_every > 0 && block.kind != BlockKind::kBatchNorm;
}

double cube(double x) {
  return x * x * x;
}

// Rotations of the gradient into the eigenbasis and back; sums over positions, and eigendecompositions.
double kronecker_cost(const Block& block, const PlacementOptions& options) {
  const double m = static_cast<double>(block.m), n = static_cast<double>(block.n);
  const double decompositions = 20 * (cube(m) + cube(n)) / options.inverse_every;
  const double sums = options.curvature_samples * kappa(block) * (m * m + n * n);
  return (4 * m * n * (m + n) + (sums + decompositions) / std::max<std::uint32_t>(1, options.refresh_every)) *
         kNsPerOperation;
}

std::vector<std::size_t> largest_first(const std::vector<double>& weights) {
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  return order;
}

}  // namespace

double curvature_floats(const Block& block, const PlacementOptions& options) {
  if (has_factors(block, options)) {
    const double m = static_cast<double>(block.m), n = static_cast<double>(block.n);
    return (m * m + n * n) / 2;
  }
  return floats_per_sample(block) * options.curvature_samples;
}

double block_cost(const Block& block, std::size_t members, const PlacementOptions& options) {
  const double floats = static_cast<double>(block.count + block.statistics_count);
  double cost = 1 + 2 * static_cast<double>(members - 1) * floats * sizeof(float) * kNsPerByteMoved;
  if (has_factors(block, options)) {
    cost += kronecker_cost(block, options);
  } else if (options.curvature_samples > 0) {
    const double samples = options.curvature_samples;
    cost += precondition_cost(block, samples);
    cost += refresh_cost(block, samples) / std::max<std::uint32_t>(1, options.refresh_every);
  }
  return cost;
}

Placement place_blocks(std::span<const Block> blocks, std::span<const Member> members,
                       const PlacementOptions& options) {
  SENG_CHECK(!members.empty(), "a group has at least one member");
  Placement placement;
  placement.owner.assign(blocks.size() + 1, members[0].actor);
  placement.backup.assign(blocks.size() + 1, kNoActor);
  std::vector<double> cost(blocks.size()), kept(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    cost[i] = block_cost(blocks[i], members.size(), options);
    kept[i] = curvature_floats(blocks[i], options);
  }

  std::vector<double> load(members.size(), 0), memory(members.size(), 0);
  std::vector<std::size_t> owner(blocks.size());  // by place in `members`
  for (const std::size_t block : largest_first(cost)) {
    const auto least = static_cast<std::size_t>(std::min_element(load.begin(), load.end()) - load.begin());
    load[least] += cost[block];
    memory[least] += kept[block];
    owner[block] = least;
    placement.owner[block] = members[least].actor;
  }
  if (members.size() == 1) return placement;

  for (const std::size_t block : largest_first(kept)) {
    std::size_t least = owner[block] == 0 ? 1 : 0;
    for (std::size_t member = least + 1; member < members.size(); ++member) {
      if (member != owner[block] && memory[member] < memory[least]) least = member;
    }
    memory[least] += std::max(kept[block], 1.0);  // without curvature too, copies spread over the members
    placement.backup[block] = members[least].actor;
  }
  return placement;
}

}  // namespace seng
