#include "actors/optim/form_choice.h"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace seng {
namespace {

constexpr double kOperations = 1e11, kBytes = 1e10;  // a second, of one lane

struct Candidate {
  CurvatureForm form;
  FormCost cost;
  double seconds = 0;  // a step, the refresh shared among `every` of them
};

std::vector<CurvatureForm> allowed(const Block& block, std::size_t index, const FormOptions& options) {
  if (block.kind == BlockKind::kBatchNorm) {
    return {options.batch_norm_scale ? Representation::kScale : Representation::kExplicit};
  }
  std::vector<CurvatureForm> out;
  if (options.factor_sets > 0) {
    out.emplace_back(Representation::kKronecker).factor_sets = options.factor_sets;
    return out;
  }
  if (options.representation != "implicit") out.emplace_back(Representation::kExplicit);
  if (options.representation == "explicit") return out;
  const int rank = options.ranks.empty() ? 0 : options.ranks[index];
  const bool cut = block.kind == BlockKind::kConvolution && rank > 0 && rank < full_rank(block);
  if (cut) out.emplace_back(Representation::kLowRank, rank, options.rank_method);
  if (!cut || options.representation == "auto") out.emplace_back(Representation::kImplicit);
  return out;
}

// The Gram matrix of a raw convolution: by pairs of positions, or by forming each u_i.
double convolution_gram(double samples, double m, double n, double kappa) {
  return std::min(samples * samples * kappa * kappa * (m + n),
                  2 * samples * m * n * kappa + samples * samples * m * n);
}

}  // namespace

FormCost form_cost(const Block& block, const CurvatureForm& form, std::size_t samples, Precision stored) {
  const double count = double(samples), m = double(block.m), n = double(block.n),
               kappa = double(block.positions), parameters = double(block.count),
               factor = count * count * count / 3;
  double step_operations = 0, step_bytes = 0, refresh = factor;
  switch (form.representation) {
    case Representation::kExplicit:
      step_operations = 4 * count * parameters;
      step_bytes = 2 * double(bytes_of(stored)) * count * parameters;
      refresh += 2 * count * m * n * kappa + count * count * parameters;
      break;
    case Representation::kImplicit:
      step_operations = 4 * count * m * n * kappa;
      step_bytes =
          double(bytes_of(stored)) * double(sample_size(block, form).total()) * count + 16 * parameters;
      refresh += kappa > 1 ? convolution_gram(count, m, n, kappa) : count * count * (m + n);
      break;
    case Representation::kLowRank: {
      const double p = form.rank;
      step_operations = 4 * count * m * n * p;
      step_bytes =
          double(bytes_of(stored)) * double(sample_size(block, form).total()) * count + 16 * parameters;
      refresh +=
          count * (8 * m * kappa * (p + 4) + 2 * (m + n) * kappa * p) + count * count * p * p * (m + n);
      break;
    }
    case Representation::kKronecker: {
      // Four rotations; sums over all positions, and both eigendecompositions, some 20 n^3 at a product's
      // speed.
      step_operations = 4 * m * n * (m + n);
      step_bytes = 4 * (m * m + n * n) + 16 * parameters;
      refresh = count * kappa * (n * n + m * m) + 20 * (n * n * n + m * m * m);
      break;
    }
    case Representation::kScale:
      return {};
  }
  return {std::max(step_operations / kOperations, step_bytes / kBytes),
          refresh / kOperations,
          curvature_bytes(block, form, samples, stored),
          step_operations,
          step_bytes,
          refresh};
}

Result<std::vector<CurvatureForm>> choose_forms(const std::vector<Block>& blocks,
                                                const FormOptions& options) {
  std::vector<std::vector<Candidate>> candidates(blocks.size());
  std::vector<std::size_t> chosen(blocks.size(), 0);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (const CurvatureForm& form : allowed(blocks[i], i, options)) {
      const FormCost cost = form_cost(blocks[i], form, options.samples, options.stored);
      candidates[i].push_back({form, cost, cost.step_seconds + cost.refresh_seconds / options.every});
    }
    for (std::size_t c = 1; c < candidates[i].size(); ++c) {
      if (candidates[i][c].seconds < candidates[i][chosen[i]].seconds) chosen[i] = c;
    }
    bytes += candidates[i][chosen[i]].cost.bytes;
  }
  while (options.memory_bytes > 0 && bytes > options.memory_bytes) {
    double best = -1;
    std::optional<std::pair<std::size_t, std::size_t>> change;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Candidate& now = candidates[i][chosen[i]];
      for (std::size_t c = 0; c < candidates[i].size(); ++c) {
        const Candidate& other = candidates[i][c];
        if (other.cost.bytes >= now.cost.bytes) continue;
        const double slower = std::max(other.seconds - now.seconds, 1e-12);
        const double worth = double(now.cost.bytes - other.cost.bytes) / slower;
        if (worth > best) best = worth, change = {i, c};
      }
    }
    if (!change) {
      constexpr double kMiB = 1 << 20;
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{:.0f} MiB do not hold the curvature of {} samples, which takes {:.0f} MiB in the "
                      "smallest form: allow more memory{}",
                      double(options.memory_bytes) / kMiB, options.samples, double(bytes) / kMiB,
                      options.factor_sets > 0 ? "" : ", fewer samples, or a rank"));
    }
    bytes -= candidates[change->first][chosen[change->first]].cost.bytes;
    chosen[change->first] = change->second;
    bytes += candidates[change->first][chosen[change->first]].cost.bytes;
  }
  std::vector<CurvatureForm> out;
  for (std::size_t i = 0; i < blocks.size(); ++i) out.push_back(candidates[i][chosen[i]].form);
  return out;
}

}  // namespace seng
