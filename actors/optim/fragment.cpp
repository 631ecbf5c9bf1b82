#include "actors/optim/fragment.h"

#include <algorithm>

#include "actors/engine/linalg.h"
#include "actors/optim/device_kronecker.h"
#include "actors/optim/kronecker.h"
#include "actors/optim/low_rank.h"
#include "actors/optim/unfold.h"
#include "actors/optim/workspace.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

// u_i of one sample. `input` is the raw input, `gradient` G_i [m, kappa].
void weight_gradient(const Block& block, const float* input, const float* gradient, float* u) {
  Workspace& workspace = Workspace::of_this_thread();
  const std::size_t m = std::size_t(block.m), n = std::size_t(block.n), kappa = std::size_t(block.positions);
  if (block.kind == BlockKind::kLinear) {
    for (std::size_t o = 0; o < m; ++o) {
      for (std::size_t j = 0; j < n; ++j) u[o * n + j] = gradient[o] * input[j];
    }
  } else {
    float* unfolded = workspace.floats(Workspace::kUnfolded, n * kappa);
    unfold(block.conv, input, 0, block.conv.channels_in, unfolded, kappa);
    gemm(m, n, kappa, 1, {gradient, kappa, false}, {unfolded, kappa, true}, 0, u, n);
  }
  if (!block.bias) return;
  const float* ones = workspace.ones(kappa);
  for (std::size_t o = 0; o < m; ++o) u[m * n + o] = float(dot(gradient + o * kappa, ones, kappa));
}

// Q^T A^T (p rows, `width` apart) of one sample, Q^T = `basis` [p, kappa]. Whichever is less is unfolded: the
// input's channels, or the basis.
void cut_input(const Block& block, const float* input, const float* basis, std::size_t p, float* out,
               std::size_t width) {
  const std::size_t n = std::size_t(block.n), kappa = std::size_t(block.positions),
                    channels = std::size_t(block.conv.channels_in), kernel = n / channels,
                    plane = std::size_t(block.conv.height_in) * std::size_t(block.conv.width_in);
  Workspace& workspace = Workspace::of_this_thread();
  if (n * kappa <= p * kernel * plane) {
    float* unfolded = workspace.floats(Workspace::kUnfolded, n * kappa);
    unfold(block.conv, input, 0, block.conv.channels_in, unfolded, kappa);
    gemm(p, n, kappa, 1, {basis, kappa, false}, {unfolded, kappa, true}, 0, out, width);
    return;
  }
  float* unfolded = workspace.floats(Workspace::kUnfolded, p * kernel * plane);
  for (std::size_t k = 0; k < p; ++k)
    unfold_output(block.conv, basis + k * kappa, unfolded + k * kernel * plane, plane);
  float* product = workspace.floats(Workspace::kProduct, channels * p * kernel);
  gemm(channels, p * kernel, plane, 1, {input, plane, false}, {unfolded, plane, true}, 0, product,
       p * kernel);
  for (std::size_t k = 0; k < p; ++k)
    for (std::size_t c = 0; c < channels; ++c)
      std::copy_n(product + (c * p + k) * kernel, kernel, out + k * width + c * kernel);
}

// Q^T A^T [p, n (+1)] and Q^T G^T [p, m] of one sample.
void cut_factors(const Block& block, const CurvatureForm& form, const float* input, const float* gradient,
                 const Random& random, float* inputs, float* gradients) {
  const std::size_t m = std::size_t(block.m), n = std::size_t(block.n), kappa = std::size_t(block.positions),
                    p = std::size_t(form.rank), width = n + (block.bias ? 1 : 0);
  Workspace& workspace = Workspace::of_this_thread();
  float* basis = workspace.floats(Workspace::kTile, p * kappa);
  leading_subspace(gradient, m, kappa, p, form.rank_method, random, basis);
  cut_input(block, input, basis, p, inputs, width);
  gemm(p, m, kappa, 1, {basis, kappa, false}, {gradient, kappa, true}, 0, gradients, m);
  if (!block.bias) return;
  const float* ones = workspace.ones(kappa);
  for (std::size_t k = 0; k < p; ++k) inputs[k * width + n] = float(dot(basis + k * kappa, ones, kappa));
}

std::vector<float> low_rank_fragment(const Block& block, const FragmentShape& shape,
                                     const SampleFactors& factors, const FragmentKey& key) {
  std::vector<float> values(shape.floats);
  const std::size_t samples = std::size_t(shape.samples);
  const std::size_t inputs = sample_size(block, Representation::kImplicit).first;
  const std::size_t outputs = std::size_t(block.m) * std::size_t(block.positions);
  const SampleSize size = sample_size(block, shape.form);
  for (std::size_t i = 0; i < samples; ++i) {
    cut_factors(block, shape.form, factors.activations + i * inputs, factors.gradients + i * outputs,
                key.of_sample(i), values.data() + i * size.first,
                values.data() + samples * size.first + i * size.second);
  }
  return values;
}

std::vector<float> fragment_values(const Block& block, const FragmentShape& shape,
                                   const SampleFactors& factors, const FragmentKey& key,
                                   SampleDevice* device) {
  if (shape.form.representation == Representation::kLowRank && shape.floats > 0) {
    SENG_CHECK(factors.samples >= shape.samples, "fewer samples' factors than the fragment of " + block.name);
    return low_rank_fragment(block, shape, factors, key);
  }
  std::vector<float> values(shape.floats);
  if (values.empty()) return values;
  SENG_CHECK(factors.samples >= shape.samples, "fewer samples' factors than the fragment of " + block.name);
  const std::size_t samples = std::size_t(shape.samples);
  const std::size_t outputs = std::size_t(block.m) * std::size_t(block.positions);
  const bool kronecker = shape.form.representation == Representation::kKronecker;
  if (kronecker && kronecker_fragment(block, shape.samples).sums)
    return device != nullptr ? device_kronecker_sums(*device, block, factors, shape.samples)
                             : kronecker_sums(block, factors, shape.samples);
  if (kronecker || shape.form.representation == Representation::kImplicit) {
    const std::size_t inputs = sample_size(block, Representation::kImplicit).first;
    std::copy_n(factors.activations, samples * inputs, values.data());
    std::copy_n(factors.gradients, samples * outputs, values.data() + samples * inputs);
    return values;
  }
  if (block.kind == BlockKind::kBatchNorm) {
    std::copy_n(factors.gradients, samples * block.count, values.data());
    return values;
  }
  const std::size_t inputs = sample_size(block, Representation::kImplicit).first;
  for (std::size_t i = 0; i < samples; ++i) {
    weight_gradient(block, factors.activations + i * inputs, factors.gradients + i * outputs,
                    values.data() + i * block.count);
  }
  return values;
}

}  // namespace

std::vector<float> make_fragment(const Block& block, const FragmentShape& shape, const SampleFactors& factors,
                                 const FragmentKey& key, SampleDevice* device) {
  std::vector<float> values = fragment_values(block, shape, factors, key, device);
  if (shape.wire == Precision::kF32) return values;
  std::vector<float> packed(shape.words);  // bits, not numbers
  narrow(values.data(), reinterpret_cast<Bf16*>(packed.data()), values.size());
  return packed;
}

}  // namespace seng
