// Any bytes as a safetensors file: refused, or every tensor that it announces can be read whole.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "actors/checkpoint/safetensors.h"
#include "tests/support/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const seng::testing::FuzzFile written(data, size);
  const auto file = seng::SafetensorsFile::open(written.path());
  if (!file) return 0;
  for (const seng::TensorInfo& tensor : file->tensors()) {
    if (tensor.end > size || file->find(tensor.name) == nullptr) std::abort();
    if (tensor.type == seng::TensorType::kF32) {
      std::vector<float> values(tensor.count);
      if (!file->read(tensor, values)) std::abort();
    } else if (tensor.type == seng::TensorType::kI64) {
      std::vector<std::int64_t> values(tensor.count);
      if (!file->read(tensor, values)) std::abort();
    }
  }
  return 0;
}
