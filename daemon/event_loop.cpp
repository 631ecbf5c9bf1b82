#include "daemon/event_loop.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace seng {

EventLoop::WatchId EventLoop::watch(const Pollable& channel, Callback callback) {
  const WatchId id = next_id_++;
  watches_[id] = {&channel, -1, std::make_shared<Callback>(std::move(callback))};
  look_at(id, watches_[id]);
  return id;
}

EventLoop::WatchId EventLoop::watch_fd(int fd, Callback callback) {
  const WatchId id = next_id_++;
  watches_[id] = {nullptr, fd, std::make_shared<Callback>(std::move(callback))};
  look_at(id, watches_[id]);
  return id;
}

void EventLoop::look_at(WatchId id, const Watch& watch) {
  if (watch.channel != nullptr) {
    poller_.watch(*watch.channel, id);
  } else {
    poller_.watch_fd(watch.fd, id);
  }
}

void EventLoop::forget(WatchId id) {
  if (held_.erase(id) == 0) poller_.forget(id);
  watches_.erase(id);
}

void EventLoop::hold(WatchId id, double when) {
  if (!watches_.contains(id)) return;
  if (held_.insert_or_assign(id, when).second) poller_.forget(id);
}

void EventLoop::release(WatchId id) {
  if (held_.erase(id) > 0) look_at(id, watches_.at(id));
}

void EventLoop::release_held() {
  const std::map<WatchId, double> held = std::exchange(held_, {});
  for (const auto& [id, when] : held) {
    if (const auto found = watches_.find(id); found != watches_.end()) look_at(id, found->second);
  }
  for (const auto& [id, when] : held) call(id);
}

void EventLoop::call(WatchId id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;  // forgotten by a callback of this round
  const std::shared_ptr<Callback> callback = found->second.callback;
  (*callback)();
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
  for (const auto& [id, when] : held_) wait = std::min(wait, when - clock_.now());
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
  const double now = clock_.now();
  const bool over = std::ranges::any_of(held_, [&](const auto& held) { return held.second <= now; });
  const bool timer = !timers_.empty() && timers_.begin()->first.first <= now;
  if (over || timer || !ready->empty()) release_held();
  // In the order in which they were first watched: one that was held is the poller's last.
  std::ranges::sort(*ready);
  for (const WatchId id : *ready) call(id);
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
