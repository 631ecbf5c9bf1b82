#include "tests/support/emulated_nccl/other_device.h"

#include <mutex>
#include <string>

#include <dlfcn.h>

namespace emulated_nccl {

OtherDevice other_device() {
  static std::mutex looking;
  static OtherDevice found;
  const std::lock_guard lock(looking);
  if (found.owns != nullptr) return found;
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&other_device), &self) == 0) return {};
  const std::string file = self.dli_fname;
  const std::string beside = file.substr(0, file.rfind('/') + 1) + "libseng_cuda.so";
  void* library = dlopen(beside.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) return {};
  found.move = reinterpret_cast<decltype(found.move)>(dlsym(library, "emulated_cuda_move"));
  found.owns = reinterpret_cast<decltype(found.owns)>(dlsym(library, "emulated_cuda_owns"));
  return found;
}

}  // namespace emulated_nccl
