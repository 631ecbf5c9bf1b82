// Where in a job's text a key stands: for problems that are found after it has been read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seng {

// "SOURCE:LINE:COL" of the key path's own key, or of the nearest group around it that the text has;
// "--set key.path=value" if it was set there; else `source`. The text and the overrides are those that
// parse_job_spec() has taken.
std::string place_of(std::string_view key_path, const std::string& yaml_text, const std::string& source,
                     const std::vector<std::string>& overrides);

// The message with its place before it, once: a place in `source` that it brings along, of a text made of
// this one, goes. A message that begins with "key.path: " is about that key, or about the first one below it
// that its first line names; about `data` or `model` as a whole it is about what --set chose in it, if that
// did.
std::string with_place(const std::string& message, const std::string& yaml_text, const std::string& source,
                       const std::vector<std::string>& overrides);

}  // namespace seng
