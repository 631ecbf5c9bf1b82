#include "daemon/remover.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "protocol/base/log.h"

namespace seng {

namespace fs = std::filesystem;

Remover::~Remover() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Remover::remove(std::string directory) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(directory));
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_one();
}

bool Remover::ends() {
  const std::lock_guard lock(mutex_);
  return ends_;
}

void Remover::run() {
  while (true) {
    std::string next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ends_ || !waiting_.empty(); });
      if (ends_) return;
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (!remove_tree(next) && !ends()) log_warning("{} cannot be removed", next);
  }
}

// File by file, so that the daemon's end does not wait for all. Links are removed, not followed.
bool Remover::remove_tree(const std::string& directory) {
  std::error_code failed;
  if (fs::is_directory(fs::symlink_status(directory, failed))) {
    for (auto it = fs::directory_iterator(directory, failed); !failed && it != fs::directory_iterator();
         it.increment(failed)) {
      if (ends() || !remove_tree(it->path().string())) return false;
    }
  }
  if (failed) return false;
  fs::remove(directory, failed);
  return !failed;
}

}  // namespace seng
