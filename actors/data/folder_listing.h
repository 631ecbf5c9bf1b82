// Which pictures lie in a folder of class folders, in a fixed order; compact, since there may be millions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/sha256.h"

namespace seng {

class FolderListing {
 public:
  // Files that end in .jpg, .jpeg or .png, in any case of letters; others, hidden ones and folders within a
  // class are left out. A class without any is an error, as are a folder without classes and a link to
  // nothing.
  static Result<FolderListing> read(const std::string& directory);

  std::uint32_t size() const { return static_cast<std::uint32_t>(starts_.size() - 1); }
  const std::vector<std::string>& classes() const { return classes_; }  // sorted
  std::int32_t label(std::uint32_t index) const;
  std::uint32_t class_begin(std::int32_t label) const { return class_begins_[label]; }
  std::string path(std::uint32_t index) const;
  std::size_t bytes() const;

  // Of `about`, the names, and every file's size and time of change.
  Result<Digest> fingerprint(std::string_view about) const;

 private:
  std::string directory_;
  std::vector<std::string> classes_;
  std::vector<std::uint32_t> class_begins_;  // and the number of all, as the last
  std::string names_;                        // of all files, one after another
  std::vector<std::uint64_t> starts_;        // in names_; and its length, as the last
};

}  // namespace seng
