#include "actors/data/places.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace seng {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

DataPlaces process_data_places() {
  DataPlaces places;
  places.seng_data = environment("SENG_DATA");
  places.xdg_data_home = environment("XDG_DATA_HOME");
  places.xdg_cache_home = environment("XDG_CACHE_HOME");
  places.home = environment("HOME");
  return places;
}

std::vector<std::string> candidate_directories(const std::vector<std::string>& below, const std::string& root,
                                               const DataPlaces& places) {
  std::vector<fs::path> bases;
  std::vector<std::string> result;
  if (root != "auto") {
    std::error_code error;
    const fs::path base = fs::absolute(root, error);
    result.push_back(base.string());
    bases.push_back(base);
  } else {
    if (!places.seng_data.empty()) bases.emplace_back(places.seng_data);
    if (!places.xdg_data_home.empty()) bases.push_back(fs::path(places.xdg_data_home) / "seng");
    if (!places.home.empty()) bases.push_back(fs::path(places.home) / ".local/share/seng");
    if (!places.system.empty()) bases.emplace_back(places.system);
  }
  for (const fs::path& base : bases) {
    for (const std::string& folder : below) {
      const std::string path = (base / folder).string();
      if (std::find(result.begin(), result.end(), path) == result.end()) result.push_back(path);
    }
  }
  return result;
}

std::string searched(const std::string& directory) {
  std::error_code error;
  [[maybe_unused]] const fs::file_status status = fs::status(fs::path(directory) / ".", error);
  return error == std::errc::permission_denied ? directory + " (" + error.message() + ")" : directory;
}

std::string cache_directory(const DataPlaces& places) {
  if (!places.xdg_cache_home.empty()) return places.xdg_cache_home + "/seng";
  return places.home.empty() ? "" : places.home + "/.cache/seng";
}

}  // namespace seng
