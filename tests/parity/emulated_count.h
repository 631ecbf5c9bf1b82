// What the emulated GPU has counted in this process.
#pragma once

#include <cstdint>

namespace seng::testing {

// A name of Counts (tests/support/emulated_cuda/stream.h); only where emulated().
std::uint64_t emulated_count(const char* what);

}  // namespace seng::testing
