// `seng-actor plan`: what a job would need, asked of the binary beside sengctl.
#pragma once

#include <string>

#include "protocol/base/error.h"

namespace seng {

// The JSON that it prints (README.md of actors/ lists its fields), also where it refuses the job. kNotFound:
// there is no seng-actor in the directory; kTimeout, kIo or kInternal: it did not do its work, with its last
// words.
Result<std::string> run_plan(const std::string& binary_directory, const std::string& spec_yaml,
                             int timeout_ms = 120'000);

}  // namespace seng
