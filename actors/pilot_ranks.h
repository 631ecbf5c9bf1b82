// `optimizer.curvature.rank: auto`: the rank of each convolution's factors, chosen before the job begins.
#pragma once

#include <vector>

#include "actors/data/dataset.h"
#include "actors/nn/network.h"
#include "protocol/spec/job_spec.h"

namespace seng {

// Per block: for a convolution the smallest p at which the leading p directions of the samples' G_i hold
// `rank_energy` of sum |G_i|^2, at most `rank_max`; 0 for the others. Measured on the first samples of the
// job with the seed's weights, on the CPU, so that every actor of the job, and `seng-actor plan`, comes to
// the same ranks. They stay for the whole job: fragments, stores and checkpoints have one size.
Result<std::vector<int>> pilot_ranks(const JobSpec& spec, const Network& network, const Dataset& data);

}  // namespace seng
