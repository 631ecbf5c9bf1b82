// Any text as a job's file: it is refused or read, and what is read survives being written out.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/spec/job_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The first line is an override, the rest the file.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = text.find('\n');
  const std::string file = end == std::string::npos ? text : text.substr(end + 1);
  std::vector<std::string> overrides;
  if (end != std::string::npos && end > 0) overrides.push_back(text.substr(0, end));
  const auto spec = seng::parse_job_spec(file, "fuzz", overrides);
  if (!spec) return 0;
  const auto again = seng::parse_job_spec(seng::to_yaml(*spec), "again");
  if (!again || !(*again == *spec)) std::abort();
  return 0;
}
