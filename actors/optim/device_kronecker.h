// Kronecker factors that a device other than the CPU multiplies and decomposes, and whose eigenvectors it
// keeps. What is state (sums, running means) is the host's, as kronecker.h has it. The device's products are
// other bits than the lanes'; each call takes the device, and gives the same on equal devices.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "actors/optim/device_columns.h"
#include "actors/optim/kronecker.h"

namespace seng {

KroneckerPlan kronecker_plan(const Block& block);  // linear layers and convolutions

// kronecker_sums()
std::vector<float> device_kronecker_sums(SampleDevice& device, const Block& block,
                                         const SampleFactors& factors, int samples);
// fold_factors()
void device_fold_factors(SampleDevice& device, const Block& block, const SampleStore& arrived,
                         const KroneckerRefresh& refresh, std::span<float> a, std::span<float> g);
// KroneckerBasis::form()
Result<std::shared_ptr<const KroneckerBasis>> form_device_basis(std::shared_ptr<SampleDevice> device,
                                                                const Block& block, std::span<const float> a,
                                                                std::span<const float> g);

}  // namespace seng
