#include "daemon/leftovers.h"

#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

namespace seng {
namespace {

namespace fs = std::filesystem;

const std::string kSetAside = ".deleted-";

std::optional<std::pair<JobId, ActorId>> owner_of(const std::string& name) {
  if (name.size() < 4 || (name[0] != 'a' && name[0] != 's')) return std::nullopt;
  const char* const end = name.data() + name.size();
  JobId job = 0;
  const auto first = std::from_chars(name.data() + 1, end, job);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return std::nullopt;
  ActorId actor = 0;
  const auto second = std::from_chars(first.ptr + 1, end, actor);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return std::pair{job, actor};
}

// Whose names `chosen` takes. What cannot be read or removed stays.
int remove_entries(const std::string& directory,
                   const std::function<bool(const fs::directory_entry&)>& chosen) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (auto it = fs::directory_iterator(directory, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    if (chosen(*it)) found.push_back(it->path());
  }
  int removed = 0;
  for (const fs::path& path : found) {
    fs::remove_all(path, failed);
    if (!failed) ++removed;
  }
  return removed;
}

}  // namespace

int remove_sockets(const std::string& directory, const std::function<bool(JobId, ActorId)>& lives) {
  return remove_entries(directory, [&](const fs::directory_entry& entry) {
    std::error_code failed;
    const auto owner = owner_of(entry.path().filename().string());
    return owner && entry.is_socket(failed) && !lives(owner->first, owner->second);
  });
}

Result<std::string> set_aside_job_files(const std::string& job_dir, bool checkpoints) {
  std::error_code failed;
  std::vector<fs::path> found;
  for (auto it = fs::directory_iterator(job_dir, failed); !failed && it != fs::directory_iterator();
       it.increment(failed))
    found.push_back(it->path());
  const auto stays = [&](const fs::path& path) {
    return fail(ErrorCode::kIo, "cannot remove " + path.string() + ": " + failed.message());
  };
  if (failed == std::errc::no_such_file_or_directory) return std::string();
  if (failed) return stays(job_dir);
  const fs::path directory(job_dir);
  fs::path aside;
  for (int number = 0; aside.empty(); ++number) {
    const fs::path free =
        directory.parent_path() / (kSetAside + directory.filename().string() + "-" + std::to_string(number));
    if (fs::create_directory(free, failed)) aside = free;
    if (failed) return stays(job_dir);
  }
  bool kept = false;
  for (const fs::path& path : found) {
    std::error_code unknown;
    const bool keeps = path.filename() == "checkpoints" && !checkpoints && !fs::is_empty(path, unknown);
    kept = kept || keeps;
    if (!keeps) fs::rename(path, aside / path.filename(), failed);
    if (failed == std::errc::cross_device_link) fs::remove_all(path, failed);
    if (failed) return stays(path);
  }
  if (!kept) fs::remove(job_dir, failed);
  if (failed) return stays(job_dir);
  return aside.string();
}

std::vector<std::string> set_aside_in(const std::string& jobs_dir) {
  std::vector<std::string> out;
  std::error_code failed;
  for (auto it = fs::directory_iterator(jobs_dir, failed); !failed && it != fs::directory_iterator();
       it.increment(failed)) {
    if (it->path().filename().string().starts_with(kSetAside)) out.push_back(it->path().string());
  }
  return out;
}

int remove_unfinished_checkpoints(const std::string& job_dir) {
  return remove_entries(job_dir + "/checkpoints", [](const fs::directory_entry& entry) {
    std::error_code failed;
    return entry.path().filename().string().starts_with(".step-") && entry.is_directory(failed) &&
           !entry.is_symlink(failed);
  });
}

}  // namespace seng
