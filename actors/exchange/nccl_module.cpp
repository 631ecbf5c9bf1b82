#include "actors/exchange/nccl_module.h"

#include <cstring>
#include <filesystem>

#include <dlfcn.h>

#include "actors/engine/module_path.h"

namespace seng::link {
namespace {

constexpr char kFile[] = "libseng_nccl.so";

tl::unexpected<Error> missing(const std::string& what) {
  return fail(ErrorCode::kUnsupported, "no NCCL: " + what);
}

}  // namespace

std::string default_module_path() {
  return module_path(kFile);
}

Result<const Module*> open_module(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return missing("this program was built without it: nccl.h was not there (" + path + " is not there)");
  // It stays open: vendors' libraries do not survive being closed.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* why = dlerror();
    return missing("the library cannot be loaded: " + std::string(why == nullptr ? path : why) +
                   "; it needs libnccl.so.2: LD_LIBRARY_PATH may say where it is");
  }
  const auto* module = static_cast<const Module*>(dlsym(library, kModuleSymbol));
  if (module == nullptr) return missing(path + " is not SENG's (it has no " + kModuleSymbol + ")");
  if (std::strcmp(module->interface, kInterface) != 0)
    return missing(path + " belongs to another build (interface " + module->interface +
                   ", this program has " + kInterface + "): build and install both together");
  return module;
}

Ability ability_of(const Result<const Module*>& module) {
  if (!module) return {.version = 0, .gpu = {}, .why = module.error().message};
  try {
    return {.version = (*module)->version(), .gpu = (*module)->gpu(), .why = {}};
  } catch (const VendorError& error) {
    return {.version = 0, .gpu = {}, .why = error.what()};
  }
}

}  // namespace seng::link
