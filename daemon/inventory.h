// What this machine offers, as this process may use it: cgroup limits and CPU affinity count.
#pragma once

#include <cstdint>
#include <string>

namespace seng {

struct Inventory {
  std::string node;  // the host's name
  std::uint32_t cores = 1;
  std::uint64_t memory_bytes = 0;  // 0: unknown
  std::string cpu_model;           // empty: unknown
};

// `root` is where /proc and /sys are looked for; tests have their own.
Inventory take_inventory(const std::string& root = "");

}  // namespace seng
