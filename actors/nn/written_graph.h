// A network that is written in a job (`model.layers`) as a graph.
#pragma once

#include <vector>

#include "actors/nn/graph.h"
#include "protocol/spec/job_spec.h"

namespace seng {

// Not completed. `layers` are as parse_job_spec gives them: types, options and inputs are known. Options that
// only fail beside others (padding beside a kernel) are errors of complete().
Result<Graph> build_from_layers(const std::vector<LayerSpec>& layers, ImageShape input, int classes);

}  // namespace seng
