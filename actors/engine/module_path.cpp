#include "actors/engine/module_path.h"

#include <filesystem>

namespace seng {

std::string module_path(const char* file) {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto beside = program.parent_path() / file;
  const auto library = program.parent_path().parent_path() / "lib" / file;
  return !std::filesystem::exists(beside, ignored) && std::filesystem::exists(library, ignored)
             ? library.string()
             : beside.string();
}

}  // namespace seng
