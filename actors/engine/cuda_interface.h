// What libseng_cuda.so gives to the program that opens it. The two are built from the same interface or not
// used together: the first thing compared is kInterface, a hash of the headers that both include.
#pragma once

#include "actors/engine/backend.h"

namespace seng::cuda {

#ifndef SENG_BACKEND_INTERFACE
#error "the build defines SENG_BACKEND_INTERFACE, the hash of backend.h and what it includes"
#endif
inline constexpr char kInterface[] = SENG_BACKEND_INTERFACE;
inline constexpr char kModuleSymbol[] = "seng_cuda_module";

// Never changes its first member. A failure to make a backend is a VendorError.
struct Module {
  const char* interface;
  std::unique_ptr<Backend> (*make_backend)(Arithmetic precision, ConvolutionChooser* chooser);
};

}  // namespace seng::cuda
