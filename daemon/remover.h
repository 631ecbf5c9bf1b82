// Removes directories that nobody needs any more on a thread of its own, one after another: a large one takes
// seconds, and who decides must not wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

namespace seng {

class Remover {
 public:
  Remover() = default;
  // What is not removed by then stays.
  ~Remover();
  Remover(const Remover&) = delete;
  Remover& operator=(const Remover&) = delete;

  // From one thread. The first call starts the thread. What cannot be removed is logged and stays.
  void remove(std::string directory);

 private:
  void run();
  bool remove_tree(const std::string& directory);
  bool ends();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace seng
