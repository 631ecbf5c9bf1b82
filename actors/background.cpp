#include "actors/background.h"

#include <exception>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "protocol/base/log.h"

namespace seng {
namespace {

// Behind the lanes where cores are short, but not so far that a busy machine starves it: the step after the
// next waits for it.
constexpr int kNicer = 5;

}  // namespace

Background::Background() : thread_([this] { run(); }) {}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Background::add(std::function<void(Lanes&)> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_one();
}

void Background::run() {
  const auto self = static_cast<id_t>(gettid());
  if (setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + kNicer) != 0)
    log_warning("a background thread keeps the usual priority");
  Lanes alone(1);
  while (true) {
    std::function<void(Lanes&)> task;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    try {
      task(alone);
    } catch (const std::exception& error) {
      log_warning("work ahead of time failed and is left to the step that needs it: {}", error.what());
    }
  }
}

}  // namespace seng
