// Any text as a checkpoint's manifest: refused, or it survives being written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "actors/checkpoint/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto manifest = seng::parse_manifest(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
  if (!manifest) return 0;
  const std::string json = seng::to_json(*manifest);
  const auto again = seng::parse_manifest(json, "again");
  if (!again || seng::to_json(*again) != json) std::abort();
  return 0;
}
