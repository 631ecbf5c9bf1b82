// Where data sets are looked for.
#pragma once

#include <string>
#include <vector>

namespace seng {

// The environment that the search depends on, so that tests can give their own.
struct DataPlaces {
  std::string seng_data, xdg_data_home, home;  // $SENG_DATA, ...; empty: unset
  std::string system = "/usr/share/datasets";
  std::string xdg_cache_home;
};
DataPlaces process_data_places();

// The directories that may hold a set, in the order of the search: `below` each place. root: "auto" or a
// directory, which is tried itself first.
std::vector<std::string> candidate_directories(const std::vector<std::string>& below, const std::string& root,
                                               const DataPlaces& places);

// The directory for a message that nothing is in it: " (Permission denied)" behind it if it cannot be told.
std::string searched(const std::string& directory);

// Where what is made of a data set is kept: $XDG_CACHE_HOME/seng, ~/.cache/seng; empty: there is no such
// place.
std::string cache_directory(const DataPlaces& places);

}  // namespace seng
