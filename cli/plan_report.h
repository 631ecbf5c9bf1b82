// What `seng-actor plan` said, for people. Fields that are missing or of another type are left out.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/console.h"

namespace seng {

// Parameters, steps, samples, memory per actor and its parts.
void print_plan_summary(const nlohmann::ordered_json& plan, Console& console);
// A row per layer block.
void print_plan_blocks(const nlohmann::ordered_json& plan, Console& console);

}  // namespace seng
