// The CUDA backend is a library of its own, libseng_cuda.so beside the program, opened when a job asks for
// it: so the program starts on machines without CUDA's libraries, without a driver and without a GPU.
#pragma once

#include <string>

#include "actors/engine/backend.h"

namespace seng::cuda {

// Beside the running program, or in ../lib from there.
std::string default_module_path();

// Makes a backend out of the library at `path`, which stays open until the process ends. kUnsupported says in
// words what is missing: the library itself, one of CUDA's that it needs, the driver, a GPU; or that it
// belongs to another build.
Result<std::unique_ptr<Backend>> make_backend_from(const std::string& path, Arithmetic precision,
                                                   ConvolutionChooser* chooser = nullptr);

// From the default path.
Result<std::unique_ptr<Backend>> make_backend(Arithmetic precision, ConvolutionChooser* chooser);

}  // namespace seng::cuda
