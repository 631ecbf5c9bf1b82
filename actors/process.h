// What the kernel knows of this process.
#pragma once

#include <cstdint>

namespace seng {

// Field 22 of /proc/self/stat: with the pid it names this process for ever. 0 if it cannot be read.
std::uint64_t process_start_time_ticks();
// Resident memory now; 0 if it cannot be read.
std::uint64_t process_resident_bytes();

}  // namespace seng
