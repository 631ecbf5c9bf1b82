// The specification's reader: YAML up to the first zero byte, one override per zero-ended string behind it.
// What it accepts must come back the same from what it writes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/spec/job_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string all(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= all.size();) {
    const std::size_t end = std::min(all.find('\0', at), all.size());
    parts.push_back(all.substr(at, end - at));
    at = end + 1;
  }
  const std::vector<std::string> overrides(parts.begin() + 1, parts.end());
  const auto spec = seng::parse_job_spec(parts[0], "fuzz.yaml", overrides);
  if (!spec) {
    if (spec.error().message.empty()) std::abort();
    return 0;
  }
  const std::string written = seng::to_yaml(*spec);
  const auto again = seng::parse_job_spec(written, "written.yaml");
  if (!again || seng::to_yaml(*again) != written) std::abort();
  return 0;
}
