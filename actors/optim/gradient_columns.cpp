#include "actors/optim/gradient_columns.h"

#include "protocol/base/error.h"

namespace seng {

std::unique_ptr<GradientColumns> make_columns(const Block& block, const CurvatureForm& form,
                                              const SampleStore& store) {
  if (form.representation == Representation::kExplicit) return explicit_columns(block, store);
  if (form.representation == Representation::kLowRank) {
    return low_rank_columns({std::size_t(block.m), std::size_t(block.n), std::size_t(form.rank), block.bias},
                            store);
  }
  SENG_CHECK(form.representation == Representation::kImplicit, "a scaled batch norm has no columns");
  return block.kind == BlockKind::kConvolution ? implicit_convolution_columns(block, store)
                                               : implicit_linear_columns(block, store);
}

Status GradientColumns::form_system(double, std::size_t, Lanes&) const {
  SENG_CHECK(false, "these columns keep no system");
  return {};
}
double GradientColumns::precondition(std::span<const float>, double, std::span<float>, Lanes&) const {
  SENG_CHECK(false, "these columns keep no system");
  return 0;
}
void GradientColumns::solve(std::span<const float>) const {
  SENG_CHECK(false, "these columns keep no system");
}
double GradientColumns::correct_by(std::span<const float>, const GradientColumns&, double, std::span<float>,
                                   Lanes&) const {
  SENG_CHECK(false, "these columns keep no system");
  return 0;
}

void GradientColumns::precondition_there(const float*, double, float*) const {
  SENG_CHECK(false, "these columns are no device's");
}
void GradientColumns::solve_there(const float*) const {
  SENG_CHECK(false, "these columns are no device's");
}
void GradientColumns::correct_by_there(const float*, const GradientColumns&, double, float*) const {
  SENG_CHECK(false, "these columns are no device's");
}

double finish_direction(const float* g, double inverse_lambda, float* d, std::size_t count) {
  const float scale = float(inverse_lambda);
  for (std::size_t j = 0; j < count; ++j) d[j] = (g[j] - d[j]) * scale;
  return dot(g, d, count);
}

}  // namespace seng
