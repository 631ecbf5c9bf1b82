// A thread of low priority that works on what the critical path will want later.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "actors/engine/lanes.h"

namespace seng {

// Tasks are run one after another, each with a single lane. What a task throws is dropped: it may only do
// ahead of time what others do anyway when they find it undone. add() from any thread.
class Background {
 public:
  Background();
  ~Background();  // waits for the task under way; those that have not begun are dropped
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  void add(std::function<void(Lanes&)> task);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void(Lanes&)>> tasks_;  // guarded by mutex_
  bool stopping_ = false;                          // guarded by mutex_
  std::thread thread_;
};

}  // namespace seng
