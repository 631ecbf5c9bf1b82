// The streams of a GPU on which curvature's samples are multiplied. A direction is a row of small kernels
// that leave most of the GPU idle, and so is a Cholesky factor: those of blocks on different streams run side
// by side. No bits depend on which block is where.
#pragma once

#include <cstdint>
#include <vector>

#include "actors/workload.h"

namespace seng {

// How many a job's actor takes: of K-FAC one, whose memory for a decomposition is large.
int sample_streams(const Workload& workload);

// Per block the number of its stream, so that all have about as much to do: dearest first, each to the one
// with the least.
std::vector<std::uint32_t> share_blocks(const Workload& workload, int streams);

// Fills Workload::sample_devices with backends of that device. First-order jobs have none.
Status make_sample_devices(Workload& workload, Device device);

}  // namespace seng
