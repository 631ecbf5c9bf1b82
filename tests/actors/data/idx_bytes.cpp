#include "tests/actors/data/idx_bytes.h"

#include <stdexcept>

#include "tests/actors/data/scratch_directory.h"

namespace seng {

std::string idx_bytes(const std::vector<std::uint32_t>& dimensions, const std::string& values) {
  std::string bytes = {0, 0, 8, static_cast<char>(dimensions.size())};
  for (const std::uint32_t dimension : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(dimension >> shift);
  }
  return bytes + values;
}

std::string gzip(const std::string& bytes) {
  const ScratchDirectory scratch;
  put_file(scratch / "plain", bytes);
  const std::string command = "gzip -n " + (scratch / "plain");
  if (std::system(command.c_str()) != 0) throw std::runtime_error("gzip failed");
  return get_file(scratch / "plain.gz");
}

}  // namespace seng
