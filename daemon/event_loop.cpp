#include "daemon/event_loop.h"

#include <cmath>
#include <utility>

namespace seng {

EventLoop::WatchId EventLoop::watch(const Pollable& channel, Callback callback) {
  const WatchId id = next_id_++;
  poller_.watch(channel, id);
  watches_[id] = std::make_shared<Callback>(std::move(callback));
  return id;
}

EventLoop::WatchId EventLoop::watch_fd(int fd, Callback callback) {
  const WatchId id = next_id_++;
  poller_.watch_fd(fd, id);
  watches_[id] = std::make_shared<Callback>(std::move(callback));
  return id;
}

void EventLoop::forget(WatchId id) {
  poller_.forget(id);
  watches_.erase(id);
}

EventLoop::TimerId EventLoop::at(double when, Callback callback) {
  const TimerId id = next_id_++;
  timers_[{when, id}] = std::move(callback);
  timer_times_[id] = when;
  return id;
}

void EventLoop::cancel(TimerId id) {
  const auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, id});
  timer_times_.erase(found);
}

int EventLoop::wait_ms(double max_wait_s) const {
  double wait = max_wait_s < 0 ? HUGE_VAL : max_wait_s;
  if (!timers_.empty()) wait = std::min(wait, timers_.begin()->first.first - clock_.now());
  if (wait <= 0) return 0;
  // Rounded up: waking a little early would only mean to sleep again.
  return wait > 3600 * 24 ? (std::isinf(wait) ? -1 : 3600 * 24 * 1000)
                          : static_cast<int>(std::ceil(wait * 1000));
}

void EventLoop::run_due_timers() {
  const double now = clock_.now();
  // Timers that callbacks add are for the next round, so that one that renews itself cannot keep the loop
  // here.
  const std::uint64_t newest = next_id_;
  for (auto it = timers_.begin(); it != timers_.end() && it->first.first <= now;) {
    if (it->first.second >= newest) {
      ++it;
      continue;
    }
    const Callback callback = std::move(it->second);
    timer_times_.erase(it->first.second);
    timers_.erase(it);
    callback();
    it = timers_.begin();  // the callback may have changed the map
  }
}

Status EventLoop::turn(double max_wait_s) {
  auto ready = poller_.wait(wait_ms(max_wait_s));
  if (!ready) return fail(std::move(ready).error());
  for (const WatchId id : *ready) {
    const auto found = watches_.find(id);
    if (found == watches_.end()) continue;  // forgotten by a callback of this round
    const std::shared_ptr<Callback> callback = found->second;
    (*callback)();
  }
  run_due_timers();
  if (before_sleep_) before_sleep_();
  return {};
}

Status EventLoop::run() {
  stopped_ = false;
  while (!stopped_) SENG_TRY(turn());
  return {};
}

}  // namespace seng
