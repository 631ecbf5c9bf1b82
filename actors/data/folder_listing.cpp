#include "actors/data/folder_listing.h"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>

namespace seng {
namespace {

namespace fs = std::filesystem;

bool is_picture(const std::string& name) {
  if (name.starts_with('.')) return false;
  std::string end = fs::path(name).extension().string();
  for (char& c : end) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return end == ".jpg" || end == ".jpeg" || end == ".png";
}

template <class Wanted>
Result<std::vector<std::string>> sorted_names(const std::string& directory, Wanted&& wanted) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator each(directory, error);
  for (; !error && each != fs::directory_iterator(); each.increment(error)) {
    std::string name = each->path().filename().string();
    if (wanted(*each, name)) names.push_back(std::move(name));
  }
  if (error) return fail(ErrorCode::kIo, "cannot list " + directory + ": " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<FolderListing> FolderListing::read(const std::string& directory) {
  FolderListing listing;
  listing.directory_ = directory;
  auto classes = sorted_names(directory, [](const fs::directory_entry& entry, const std::string& name) {
    std::error_code error;
    return !name.starts_with('.') && entry.is_directory(error);
  });
  if (!classes) return fail(classes.error());
  if (classes->empty()) return fail(ErrorCode::kNotFound, directory + ": no class folders");
  listing.classes_ = std::move(*classes);
  listing.starts_.push_back(0);
  for (const std::string& name : listing.classes_) {
    listing.class_begins_.push_back(listing.size());
    const std::string folder = directory + "/" + name;
    std::string dangling, unknown;
    const auto files = sorted_names(folder, [&](const fs::directory_entry& entry, const std::string& file) {
      std::error_code error;
      if (!is_picture(file)) return false;
      if (entry.is_regular_file(error)) return true;
      const bool found = !error || error == std::errc::no_such_file_or_directory;
      // One that this machine alone cannot look at would be missing from its list, and all behind it be
      // others.
      if (!found) unknown = folder + "/" + file + ": " + error.message();
      if (found && entry.is_symlink(error) && !entry.exists(error)) dangling = folder + "/" + file;
      return false;
    });
    if (!files) return fail(files.error());
    if (!unknown.empty()) return fail(ErrorCode::kIo, unknown);
    if (!dangling.empty()) return fail(ErrorCode::kNotFound, dangling + ": a link to nothing");
    if (files->empty())
      return fail(ErrorCode::kNotFound, folder + ": no pictures (files that end in .jpg, .jpeg or .png)");
    for (const std::string& file : *files) {
      listing.names_ += file;
      listing.starts_.push_back(listing.names_.size());
    }
    if (listing.starts_.size() > std::size_t{0xffffffff})
      return fail(ErrorCode::kExhausted, directory + ": more pictures than 32 bits number");
  }
  listing.class_begins_.push_back(listing.size());
  return listing;
}

std::int32_t FolderListing::label(std::uint32_t index) const {
  const auto after = std::upper_bound(class_begins_.begin(), class_begins_.end(), index);
  return static_cast<std::int32_t>(after - class_begins_.begin()) - 1;
}

std::string FolderListing::path(std::uint32_t index) const {
  return directory_ + "/" + classes_[label(index)] + "/" +
         names_.substr(starts_[index], starts_[index + 1] - starts_[index]);
}

std::size_t FolderListing::bytes() const {
  return names_.capacity() + starts_.capacity() * sizeof(starts_[0]) + sizeof(*this);
}

Result<Digest> FolderListing::fingerprint(std::string_view about) const {
  Sha256 hash;
  const auto add = [&](std::string_view text) {
    const std::uint64_t size = text.size();
    hash.update(&size, sizeof size);
    hash.update(text.data(), text.size());
  };
  add(about);
  for (std::uint32_t i = 0; i < size(); ++i) {
    const std::string file = path(i);
    struct stat status {};
    if (stat(file.c_str(), &status) != 0) return fail(errno_error("cannot look at " + file));
    add(std::string_view(file).substr(directory_.size()));
    const std::int64_t facts[] = {status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
    hash.update(facts, sizeof facts);
  }
  return hash.finish();
}

}  // namespace seng
