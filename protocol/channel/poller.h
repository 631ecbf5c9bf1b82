// Waits for channels and file descriptors (signalfd, timerfd, eventfd, pidfd, pipes) together.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/channel/channel.h"

namespace seng {

// Belongs to one thread, that of its channels. What it watches must outlive the watching.
class Poller {
 public:
  using Token = std::uint64_t;  // the caller's name for a source

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // A token may watch one source at a time.
  void watch(const Pollable& channel, Token token);
  void watch_fd(int fd, Token token);
  void forget(Token token);  // does nothing for an unknown one

  // The tokens whose source can be read (or has failed or been closed at its other end), in the order of
  // watching. Level-triggered: a source that is not read dry is reported again. Waits until there is one, at
  // most timeout_ms
  // (-1: for ever); empty on timeout, and when a signal came. The error is the system's, or a descriptor that
  // is closed.
  Result<std::vector<Token>> wait(int timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seng
