#include "actors/engine/lanes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "actors/engine/cpu/threads.h"
#include "protocol/base/error.h"

namespace seng {

using Task = std::function<void(std::size_t task, int lane)>;

namespace {

// Runs follow each other closely in some parts of a step, and a sleeping thread takes tens of microseconds to
// wake, more on a virtual machine: a lane looks for so long before it sleeps.
constexpr std::chrono::microseconds kLooks{50};

// Returns when `condition` is true, or after a while.
template <class Condition>
void look(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kLooks;
  while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

// Tasks that lanes take, and the first exception of one.
struct Work {
  const Task& task;
  const std::size_t count;
  std::atomic<std::size_t> next{0};
  std::exception_ptr error = nullptr;  // guarded by the mutex that take() is given

  void take(int lane, std::mutex& mutex) {
    while (true) {
      const std::size_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      try {
        task(i, lane);
      } catch (...) {
        next.store(count, std::memory_order_relaxed);
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
  }
};

}  // namespace

// The lanes of a run_jobs(). A job's own runs are open to lanes that have no job any more.
class Lanes::Crew {
 public:
  Crew(int lanes, std::size_t jobs) : lanes_(lanes), jobs_(jobs), jobs_left_(jobs) {}

  int lanes() const { return lanes_; }

  // A lane's part: jobs, then what others share, until all is done.
  void work(int lane, const std::function<void(std::size_t job, Lanes& lanes)>& job) {
    Lanes own(*this, lane);
    for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < jobs_;) {
      std::exception_ptr error;
      try {
        if (!failed_.load(std::memory_order_relaxed)) job(i, own);
      } catch (...) {
        failed_ = true;
        error = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      if (error && !error_) error_ = error;
      if (--jobs_left_ == 0) change();
    }
    help(lane);
  }

  // A job's run.
  void share(std::size_t tasks, const Task& task, int lane) {
    Shared shared{{task, tasks}};
    {
      const std::lock_guard lock(mutex_);
      open_.push_back(&shared);
      change();
    }
    shared.work.take(lane, mutex_);
    std::unique_lock lock(mutex_);
    std::erase(open_, &shared);
    while (shared.helpers > 0) wait(lock);
    if (shared.work.error) std::rethrow_exception(shared.work.error);
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Shared {
    Work work;
    int helpers = 0;
  };

  void help(int lane) {
    std::unique_lock lock(mutex_);
    while (jobs_left_ > 0) {
      const auto found = std::ranges::find_if(open_, [](const Shared* shared) {
        return shared->work.next.load(std::memory_order_relaxed) < shared->work.count;
      });
      if (found == open_.end()) {
        wait(lock);
        continue;
      }
      Shared& shared = **found;
      ++shared.helpers;
      lock.unlock();
      shared.work.take(lane, mutex_);
      lock.lock();
      if (--shared.helpers == 0) change();
    }
  }

  // With the mutex held.
  void change() {
    changes_.fetch_add(1, std::memory_order_relaxed);
    changed_.notify_all();
  }
  void wait(std::unique_lock<std::mutex>& lock) {
    const std::uint64_t seen = changes_.load(std::memory_order_relaxed);
    const auto has_changed = [&] { return changes_.load(std::memory_order_relaxed) != seen; };
    lock.unlock();
    look(has_changed);
    lock.lock();
    changed_.wait(lock, has_changed);
  }

  const int lanes_;
  const std::size_t jobs_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> changes_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::size_t jobs_left_;
  std::vector<Shared*> open_;
  std::exception_ptr error_;
};

struct Lanes::State {
  std::mutex mutex;
  std::condition_variable wake;  // work was opened, or stop
  std::condition_variable left;  // inside fell to 0

  // Guarded by mutex. A lane that wakes too late for the work finds it closed and sleeps on, so that run()
  // waits only for lanes that have really entered.
  Work* open = nullptr;
  std::uint64_t generation = 0;
  int inside = 0;
  bool stop = false;

  std::atomic<std::uint64_t> opened{0};  // generation, for lanes that look without the mutex
  std::atomic<int> working{0};           // inside, likewise
  std::vector<std::thread> threads;

  // Of a job's own lanes.
  Crew* crew = nullptr;
  int lane = 0;

  void loop(int lane);
};

void Lanes::State::loop(int lane) {
  cpu::use_one_thread();
  std::uint64_t seen = 0;
  while (true) {
    look([&] { return opened.load(std::memory_order_relaxed) != seen; });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return stop || (open != nullptr && generation != seen); });
    if (stop) return;
    seen = generation;
    Work& work = *open;
    working.store(++inside, std::memory_order_relaxed);
    lock.unlock();
    work.take(lane, mutex);
    lock.lock();
    working.store(--inside, std::memory_order_relaxed);
    if (inside == 0) left.notify_one();
  }
}

Lanes::Lanes(int count) : state_(std::make_unique<State>()) {
  SENG_CHECK(count >= 1, "an actor has at least one lane");
  for (int lane = 1; lane < count; ++lane) {
    state_->threads.emplace_back([state = state_.get(), lane] { state->loop(lane); });
  }
}

Lanes::Lanes(Crew& crew, int lane) : state_(std::make_unique<State>()) {
  state_->crew = &crew;
  state_->lane = lane;
}

Lanes::~Lanes() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

int Lanes::count() const {
  return state_->crew != nullptr ? state_->crew->lanes() : static_cast<int>(state_->threads.size()) + 1;
}

void Lanes::run(std::size_t tasks, const std::function<void(std::size_t task, int lane)>& task) {
  cpu::use_one_thread();
  State& state = *state_;
  if (tasks > 1 && state.crew != nullptr) return state.crew->share(tasks, task, state.lane);
  if (tasks <= 1 || state.threads.empty()) {
    for (std::size_t i = 0; i < tasks; ++i) task(i, state.lane);
    return;
  }
  Work work{task, tasks};
  {
    const std::lock_guard lock(state.mutex);
    state.open = &work;
    state.opened.store(++state.generation, std::memory_order_relaxed);
  }
  state.wake.notify_all();
  work.take(0, state.mutex);
  {
    const std::lock_guard lock(state.mutex);
    state.open = nullptr;
  }
  look([&] { return state.working.load(std::memory_order_relaxed) == 0; });
  std::unique_lock lock(state.mutex);
  state.left.wait(lock, [&] { return state.inside == 0; });
  if (work.error) std::rethrow_exception(work.error);
}

void Lanes::run_jobs(std::size_t jobs, const std::function<void(std::size_t job, Lanes& lanes)>& job) {
  if (jobs <= 1 || state_->threads.empty()) {
    for (std::size_t i = 0; i < jobs; ++i) job(i, *this);
    return;
  }
  Crew crew(count(), jobs);
  run(static_cast<std::size_t>(count()), [&](std::size_t, int lane) { crew.work(lane, job); });
  crew.rethrow();
}

}  // namespace seng
