#include "tests/parity/emulated_count.h"

#include <string>

#include <dlfcn.h>

#include "actors/engine/cuda_module.h"
#include "actors/exchange/nccl_module.h"

namespace seng::testing {
namespace {

template <class Function>
Function* find(const std::string& path, const char* name) {
  return reinterpret_cast<Function*>(dlsym(dlopen(path.c_str(), RTLD_NOW), name));
}

}  // namespace

std::uint64_t emulated_count(const char* what) {
  return find<std::uint64_t(const char*)>(cuda::default_module_path(), "emulated_cuda_count")(what);
}

std::uint64_t emulated_link_bytes_to_host() {
  return find<std::uint64_t()>(link::default_module_path(), "emulated_nccl_bytes_to_host")();
}

}  // namespace seng::testing
