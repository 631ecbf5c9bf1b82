// Any bytes as an IDX file: refused by name, or as many values as its dimensions say.
#include <cstdint>
#include <cstdlib>

#include "actors/data/idx.h"
#include "tests/support/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const seng::testing::FuzzFile file(data + 1, size - 1);
  const std::size_t rank = 1 + data[0] % 3;
  const auto array = seng::read_idx(file.path(), rank);
  if (!array) {
    if (array.error().message.find(file.path()) == std::string::npos) std::abort();
    return 0;
  }
  std::size_t count = 1;
  for (const std::uint32_t dimension : array->dimensions) count *= dimension;
  if (array->dimensions.size() != rank || array->values.size() != count) std::abort();
  return 0;
}
