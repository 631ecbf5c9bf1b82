#include "actors/engine/cuda_module.h"

#include <cstring>
#include <filesystem>
#include <string>

#include <dlfcn.h>

#include "actors/engine/cuda_interface.h"
#include "actors/engine/module_path.h"

namespace seng::cuda {
namespace {

constexpr char kFile[] = "libseng_cuda.so";

tl::unexpected<Error> missing(const std::string& what) {
  return fail(ErrorCode::kUnsupported, "no CUDA device: " + what);
}

Result<const Module*> open_module(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return missing(
        "this program was built without the CUDA backend, which needs the CUDA Toolkit and cuDNN 9 " +
        std::string("where it is built (") + path + " is not there); run on the cpu device");
  // It stays open: vendors' libraries do not survive being closed.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* why = dlerror();
    return missing("the CUDA backend cannot be loaded: " + std::string(why == nullptr ? path : why) +
                   "; it needs cuBLAS 13 and cuSOLVER 12 of the CUDA Toolkit, and cuDNN 9: LD_LIBRARY_PATH "
                   "may say where they are");
  }
  const auto* module = static_cast<const Module*>(dlsym(library, kModuleSymbol));
  if (module == nullptr)
    return missing(path + " is no CUDA backend of SENG (it has no " + kModuleSymbol + ")");
  if (std::strcmp(module->interface, kInterface) != 0)
    return missing(path + " belongs to another build (interface " + module->interface +
                   ", this program has " + kInterface + "): build and install both together");
  return module;
}

}  // namespace

std::string default_module_path() {
  return module_path(kFile);
}

Result<std::unique_ptr<Backend>> make_backend_from(const std::string& path, Arithmetic precision,
                                                   ConvolutionChooser* chooser) {
  const auto module = open_module(path);
  if (!module) return fail(module.error());
  try {
    return (*module)->make_backend(precision, chooser);
  } catch (const VendorError& error) {
    return fail(ErrorCode::kUnsupported, std::string("the cuda device cannot be used: ") + error.what());
  }
}

Result<std::unique_ptr<Backend>> make_backend(Arithmetic precision, ConvolutionChooser* chooser) {
  return make_backend_from(default_module_path(), precision, chooser);
}

}  // namespace seng::cuda
