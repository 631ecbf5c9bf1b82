// The daemon's one thread: sleeps until a channel or descriptor can be read or a timer is due, and calls
// back. Nothing ticks: without events and timers it sleeps for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "protocol/base/clock.h"
#include "protocol/base/error.h"
#include "protocol/channel/poller.h"

namespace seng {

class EventLoop {
 public:
  using Callback = std::function<void()>;
  using WatchId = Poller::Token;
  using TimerId = std::uint64_t;

  // `clock` outlives the loop.
  explicit EventLoop(const Clock& clock) : clock_(clock) {}
  const Clock& clock() const { return clock_; }

  // Called while the source can be read (level-triggered). A callback may watch and forget, itself too.
  WatchId watch(const Pollable& channel, Callback callback);
  WatchId watch_fd(int fd, Callback callback);
  void forget(WatchId id);
  // From its own callback: the source is not looked at again before `when`, or before anything else wakes the
  // loop; then it is called first, and whether or not there is something to read. For one that says much that
  // can wait, so that much of it is seen to at once.
  void hold(WatchId id, double when);
  // It is looked at again from the next round on.
  void release(WatchId id);

  // Called once, at Clock::now() >= `when`.
  TimerId at(double when, Callback callback);
  void cancel(TimerId id);

  // Called after every round of callbacks, before the loop sleeps.
  void before_sleep(Callback callback) { before_sleep_ = std::move(callback); }

  // Runs until stop(). The error is the poller's.
  Status run();
  void stop() { stopped_ = true; }
  // One round: waits at most `max_wait_s` (negative: as long as it takes).
  Status turn(double max_wait_s = -1);

 private:
  struct Watch {
    const Pollable* channel = nullptr;  // else the descriptor
    int fd = -1;
    std::shared_ptr<Callback> callback;
  };
  int wait_ms(double max_wait_s) const;
  void look_at(WatchId id, const Watch& watch);
  void release_held();
  void call(WatchId id);
  void run_due_timers();

  const Clock& clock_;
  Poller poller_;
  std::uint64_t next_id_ = 1;
  std::map<WatchId, Watch> watches_;
  std::map<WatchId, double> held_;                         // until when
  std::map<std::pair<double, TimerId>, Callback> timers_;  // by time
  std::map<TimerId, double> timer_times_;
  Callback before_sleep_;
  bool stopped_ = false;
};

}  // namespace seng
