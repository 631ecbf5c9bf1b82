#include "actors/optim/form_choice.h"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "actors/optim/kronecker.h"

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

// Floating-point operations of a product, and the bytes that it reads or writes.
struct Work {
  double operations = 0, bytes = 0;
  double seconds() const { return std::max(operations / kOperations, bytes / kBytes); }
};

// To apply a sketch: one multiplication and addition for each of Omega's entries.
double omega_operations(SketchKind kind, double width, double rows) {
  return 2 * (kind == SketchKind::kCountSketch && rows < width ? width : rows);
}

// The products of one block's samples, explicit or factored. A factored sample is `rank` pairs of rows, of m
// and `width` values.
class SampleCost {
 public:
  SampleCost(const Block& block, const CurvatureForm& form, std::size_t samples, Precision stored,
             const Approximations& approximations)
      : explicit_(form.representation == Representation::kExplicit),
        raw_convolution_(form.representation == Representation::kImplicit && block.positions > 1),
        kind_(approximations.sketch.kind),
        samples_(double(samples)),
        m_(double(block.m)),
        width_(double(block.n) + (block.bias ? 1 : 0)),
        positions_(double(block.positions)),
        parameters_(double(block.count)),
        rank_(form.representation == Representation::kLowRank ? double(form.rank) : positions_),
        stored_bytes_(double(bytes_of(stored)) * double(sample_size(block, form).total()) * samples_) {
    const SampleSize small = sketched_size(block, form, approximations.sketch);
    sketched_ = small.total() > 0;
    sketch_bytes_ = sizeof(float) * samples * small.total();
    if (sketched_) right_ = double(small.first), left_ = double(small.second);
    if (!explicit_) right_ /= rank_, left_ /= rank_;
    if (explicit_ || approximations.product.kind == ProductKind::kExact) return;
    buckets_ = approximations.product.kind == ProductKind::kAuthors
                   ? rank_
                   : std::max(1.0, double(approximations.product.buckets));
  }

  // c = R^T g, or of the sketches.
  Work project() const {
    const double g_bytes = 4 * parameters_;
    if (!sketched_) return {2 * row_length(), stored_bytes_ + g_bytes};
    if (explicit_)
      return {omega_operations(kind_, parameters_, right_) + 2 * samples_ * right_,
              double(sketch_bytes_) + g_bytes};
    return {m_ * omega_operations(kind_, width_, right_) + right_ * omega_operations(kind_, m_, left_) +
                2 * samples_ * rank_ * left_ * (right_ + 1),
            double(sketch_bytes_) + g_bytes};
  }

  // b = K^-1 c, two triangular solves.
  Work solve() const { return {2 * samples_ * samples_, 8 * samples_ * samples_}; }

  // d = (g - R b) / lambda.
  Work correct() const {
    const double vector_bytes = 12 * parameters_;  // g, and d twice
    if (buckets_ == 0) return {2 * row_length() + 2 * parameters_, stored_bytes_ + vector_bytes};
    return {2 * samples_ * rank_ * (m_ + width_) + 2 * buckets_ * m_ * width_ + 2 * parameters_,
            stored_bytes_ + 8 * buckets_ * (m_ + width_) + vector_bytes};
  }

  // R^T R, or of the sketches, which are made for it.
  Work gram() const {
    return {gram_operations(), stored_bytes_ + 2 * double(sketch_bytes_) + 4 * samples_ * samples_};
  }

  // The factor of K, half a matrix in double.
  Work factor() const { return {samples_ * samples_ * samples_ / 3, 8 * samples_ * samples_}; }

  double stored_bytes() const { return stored_bytes_; }
  std::size_t sketch_bytes() const { return sketch_bytes_; }

 private:
  double gram_operations() const {
    const double pairs = samples_ * samples_ * rank_ * rank_;
    if (explicit_) {
      if (!sketched_) return samples_ * samples_ * parameters_;
      return samples_ * omega_operations(kind_, parameters_, right_) + samples_ * samples_ * right_;
    }
    if (sketched_)
      return samples_ * rank_ *
                 (omega_operations(kind_, width_, right_) + omega_operations(kind_, m_, left_)) +
             pairs * (right_ + left_ + 1);
    if (!raw_convolution_) return pairs * (m_ + width_ + 1);
    // By pairs of positions, or by forming each u_i.
    return std::min(pairs * (m_ + width_), 2 * row_length() + samples_ * samples_ * m_ * width_);
  }

  // Values of all u_i, times the pairs of rows that each is the sum of.
  double row_length() const { return samples_ * (explicit_ ? parameters_ : rank_ * m_ * width_); }

  bool explicit_, raw_convolution_, sketched_ = false;
  SketchKind kind_;
  double samples_, m_, width_, positions_, parameters_, rank_, stored_bytes_;
  double right_ = 0, left_ = 0;  // rows of the sketch: of u_i; or of an a_k, and of a g_k
  double buckets_ = 0;           // of the product R b; 0: exact
  std::size_t sketch_bytes_ = 0;
};

// What the lanes do to cut or form the samples.
double fragment_operations(const Block& block, const CurvatureForm& form, double samples) {
  const double m = double(block.m), n = double(block.n), kappa = double(block.positions), p = form.rank;
  if (form.representation == Representation::kExplicit) return 2 * samples * m * n * kappa;
  if (form.representation == Representation::kLowRank)
    return samples * (8 * m * kappa * (p + 4) + 2 * (m + n) * kappa * p);
  return 0;
}

// Four rotations of g; sums over all positions, and both eigendecompositions, some 20 n^3 at a product's
// speed.
FormCost kronecker_cost(const Block& block, const CurvatureForm& form, std::size_t samples) {
  const KroneckerShape shape = kronecker_shape(block);
  const double m = double(shape.m), n = double(shape.n);
  const Work step{4 * m * n * (m + n), 8 * (m * m + n * n) + 16 * double(block.count)};
  // A mean is read and written when it is blended, read when it is decomposed, and its eigenvectors written.
  const Work refresh{
      double(samples) * double(block.positions) * (n * n + m * m) + 20 * (n * n * n + m * m * m),
      4 * double(samples) * double(block.positions) * (n + m) + 16 * (n * n + m * m)};
  return {step.seconds(),  refresh.seconds(), curvature_bytes(block, form, samples),
          step.operations, step.bytes,        refresh.operations,
          refresh.bytes};
}

}  // namespace

FormCost form_cost(const Block& block, const CurvatureForm& form, std::size_t samples, Precision stored,
                   const Approximations& approximations) {
  if (form.representation == Representation::kScale) return {};
  if (form.representation == Representation::kKronecker) return kronecker_cost(block, form, samples);
  const SampleCost cost(block, form, samples, stored, approximations);
  FormCost out;
  for (const Work& work : {cost.project(), cost.solve(), cost.correct()}) {
    out.step_operations += work.operations;
    out.step_bytes += work.bytes;
    out.step_seconds += work.seconds();
  }
  const Work arrival{fragment_operations(block, form, double(samples)), cost.stored_bytes()};
  for (const Work& work : {arrival, cost.gram(), cost.factor()}) {
    out.refresh_operations += work.operations;
    out.refresh_bytes += work.bytes;
    out.refresh_seconds += work.seconds();
  }
  out.bytes = curvature_bytes(block, form, samples, stored) + cost.sketch_bytes();
  return out;
}

Result<std::vector<CurvatureForm>> choose_forms(const std::vector<Block>& blocks,
                                                const FormOptions& options) {
  std::vector<std::vector<Candidate>> candidates(blocks.size());
  std::vector<std::size_t> chosen(blocks.size(), 0);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (const CurvatureForm& form : allowed(blocks[i], i, options)) {
      const FormCost cost =
          form_cost(blocks[i], form, options.samples, options.stored, options.approximations);
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
