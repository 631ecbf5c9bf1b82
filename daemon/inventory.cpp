#include "daemon/inventory.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include "protocol/base/file.h"

namespace seng {
namespace {

std::string content(const std::string& path) {
  return read_file(path, 1 << 20).value_or("");
}

std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !std::isfinite(value) || value < 0) return std::nullopt;
  return value;
}

// The process's directories in the hierarchies "" (version 2) and `controller` (version 1), from its own up
// to the root: a limit of any of them counts. In a container the path may not exist below the mount; its root
// then does.
std::vector<std::string> cgroup_dirs(const std::string& root, const std::string& controller) {
  std::vector<std::string> out;
  std::istringstream lines(content(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    std::string mount;
    if (controllers == ",,") {
      mount = root + "/sys/fs/cgroup";
    } else if (controllers.find("," + controller + ",") != std::string::npos) {
      mount = root + "/sys/fs/cgroup/" + controller;
    } else {
      continue;
    }
    for (std::string path = line.substr(second + 1);; path = path.substr(0, path.rfind('/'))) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      out.push_back(mount + path);
      if (path.empty()) break;
    }
  }
  return out;
}

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> least;
  const auto take = [&](std::optional<double> quota, std::optional<double> period) {
    if (!quota || !period || *period <= 0 || *quota <= 0) return;
    least = std::min(least.value_or(HUGE_VAL), *quota / *period);
  };
  for (const std::string& dir : cgroup_dirs(root, "cpu")) {
    const std::string text = content(dir + "/cpu.max");  // "150000 100000", "max 100000"
    if (const std::size_t space = text.find(' '); space != std::string::npos) {
      if (text.compare(0, 3, "max") != 0) take(number(text), number(text.substr(space)));
    }
    take(number(content(dir + "/cpu.cfs_quota_us")), number(content(dir + "/cpu.cfs_period_us")));
  }
  return least;
}

std::uint64_t memory(const std::string& root) {
  double least = HUGE_VAL;
  const std::string info = content(root + "/proc/meminfo");
  if (const std::size_t at = info.find("MemTotal:"); at != std::string::npos) {
    if (const auto kib = number(info.substr(at + 9))) least = *kib * 1024;
  }
  for (const std::string& dir : cgroup_dirs(root, "memory")) {
    for (const char* file : {"/memory.max", "/memory.limit_in_bytes"}) {
      const std::string text = content(dir + file);
      if (text.compare(0, 3, "max") == 0) continue;
      if (const auto limit = number(text); limit && *limit > 0) least = std::min(least, *limit);
    }
  }
  return std::isinf(least) ? 0 : static_cast<std::uint64_t>(least);
}

std::string cpu_model(const std::string& root) {
  std::istringstream lines(content(root + "/proc/cpuinfo"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

std::uint32_t usable_cores() {
  // As large as the kernel may ask for: with more than 1024 possible processors cpu_set_t is too small.
  for (int possible = 1024; possible <= 1 << 20; possible *= 4) {
    cpu_set_t* set = CPU_ALLOC(possible);
    const bool known = sched_getaffinity(0, CPU_ALLOC_SIZE(possible), set) == 0;
    const int count = known ? CPU_COUNT_S(CPU_ALLOC_SIZE(possible), set) : 0;
    CPU_FREE(set);
    if (known) return static_cast<std::uint32_t>(std::max(count, 1));
  }
  return 1;
}

}  // namespace

Inventory take_inventory(const std::string& root) {
  Inventory out;
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) == 0) out.node = name;
  if (out.node.empty()) out.node = "localhost";
  out.cores = usable_cores();
  if (const auto quota = cpu_quota(root)) {
    // A quota of 1.5 cores keeps two threads busy part of the time: one and a half slots are one.
    out.cores = std::clamp<std::uint32_t>(static_cast<std::uint32_t>(*quota), 1, out.cores);
  }
  out.memory_bytes = memory(root);
  out.cpu_model = cpu_model(root);
  return out;
}

}  // namespace seng
