// The compute threads of an actor. A lane is a thread whose kernels are single-threaded; work is cut into
// tasks whose number and content do not depend on the number of lanes, so results do not either.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace seng {

class Lanes {
 public:
  // Starts count - 1 threads: the caller of run() is lane 0. Each lane has OpenMP and BLAS set to one thread.
  explicit Lanes(int count);
  ~Lanes();
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  int count() const;

  // Runs task(i, lane) for every i in [0, tasks), in any order, each on one lane; tasks are taken in
  // ascending order. Returns when all are done. If any throws, the rest that has not begun is skipped and the
  // first exception is rethrown here. Not reentrant; call it from one thread at a time. Waiting lanes sleep.
  void run(std::size_t tasks, const std::function<void(std::size_t task, int lane)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seng
