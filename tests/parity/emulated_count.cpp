#include "tests/parity/emulated_count.h"

#include <dlfcn.h>

#include "actors/engine/cuda_module.h"

namespace seng::testing {

std::uint64_t emulated_count(const char* what) {
  void* library = dlopen(cuda::default_module_path().c_str(), RTLD_NOW);
  auto* count = reinterpret_cast<std::uint64_t (*)(const char*)>(dlsym(library, "emulated_cuda_count"));
  return count(what);
}

}  // namespace seng::testing
