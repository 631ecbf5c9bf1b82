// What the emulated GPU has counted in this process.
#pragma once

#include <cstdint>

namespace seng::testing {

// A name of Counts (tests/support/emulated_cuda/stream.h); only where emulated().
std::uint64_t emulated_count(const char* what);
// Bytes that the emulated NCCL beside has brought to the host.
std::uint64_t emulated_link_bytes_to_host();

}  // namespace seng::testing
