// Where a module that is loaded while a program runs lies: the CUDA backend's, and the one of NCCL.
#pragma once

#include <string>

namespace seng {

// `file` beside the program, else in ../lib, where scripts/bundle.sh puts it; the former if it is at neither
// place.
std::string module_path(const char* file);

}  // namespace seng
