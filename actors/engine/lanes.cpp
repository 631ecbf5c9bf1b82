#include "actors/engine/lanes.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "actors/engine/cpu/threads.h"
#include "protocol/base/error.h"

namespace seng {

using Task = std::function<void(std::size_t task, int lane)>;

struct Lanes::State {
  std::mutex mutex;
  std::condition_variable wake;  // a job was opened, or stop
  std::condition_variable left;  // inside fell to 0

  // Guarded by mutex. A lane that wakes too late for a job finds it closed and sleeps on, so that run() waits
  // only for lanes that have really entered.
  const Task* job = nullptr;
  std::size_t tasks = 0;
  std::uint64_t generation = 0;
  int inside = 0;
  bool stop = false;
  std::exception_ptr error;

  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;

  void work(const Task& task, std::size_t count, int lane);
  void loop(int lane);
};

void Lanes::State::work(const Task& task, std::size_t count, int lane) {
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

void Lanes::State::loop(int lane) {
  cpu::use_one_thread();
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex);
  while (true) {
    wake.wait(lock, [&] { return stop || (job != nullptr && generation != seen); });
    if (stop) return;
    seen = generation;
    const Task& task = *job;
    const std::size_t count = tasks;
    ++inside;
    lock.unlock();
    work(task, count, lane);
    lock.lock();
    if (--inside == 0) left.notify_one();
  }
}

Lanes::Lanes(int count) : state_(std::make_unique<State>()) {
  SENG_CHECK(count >= 1, "an actor has at least one lane");
  for (int lane = 1; lane < count; ++lane) {
    state_->threads.emplace_back([state = state_.get(), lane] { state->loop(lane); });
  }
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
  return static_cast<int>(state_->threads.size()) + 1;
}

void Lanes::run(std::size_t tasks, const std::function<void(std::size_t task, int lane)>& task) {
  cpu::use_one_thread();
  State& state = *state_;
  if (tasks <= 1 || state.threads.empty()) {
    for (std::size_t i = 0; i < tasks; ++i) task(i, 0);
    return;
  }
  {
    const std::lock_guard lock(state.mutex);
    state.job = &task;
    state.tasks = tasks;
    state.next.store(0, std::memory_order_relaxed);
    ++state.generation;
  }
  state.wake.notify_all();
  state.work(task, tasks, 0);
  std::unique_lock lock(state.mutex);
  state.job = nullptr;
  state.left.wait(lock, [&] { return state.inside == 0; });
  if (state.error) std::rethrow_exception(std::exchange(state.error, nullptr));
}

}  // namespace seng
