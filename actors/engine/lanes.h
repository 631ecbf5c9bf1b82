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
  // first exception is rethrown here. Not reentrant; call it from one thread at a time. A lane that waits
  // sleeps after a moment.
  void run(std::size_t tasks, const std::function<void(std::size_t task, int lane)>& task);

  // Runs job(i, lanes of it) for every i in [0, jobs), each begun by one lane, in ascending order. What a job
  // runs on its lanes is shared with those that have no job any more: no lane waits while there is work,
  // whatever the jobs' sizes. Else as run(); a job's lanes are for that job alone.
  void run_jobs(std::size_t jobs, const std::function<void(std::size_t job, Lanes& lanes)>& job);

 private:
  class Crew;
  struct State;
  Lanes(Crew& crew, int lane);

  std::unique_ptr<State> state_;
};

}  // namespace seng
