// What an actor does, as its heartbeats tell.
#pragma once

#include <atomic>
#include <cstdint>

#include "protocol/messages/lifecycle.h"

namespace seng {

// Written by the driver and the lanes, read by any thread.
struct Gauges {
  std::atomic<std::uint64_t> counter{0};  // grows with every micro-batch, block and batch of evaluation done
  std::atomic<std::uint64_t> micro_batches{0};
  std::atomic<std::uint64_t> compute_ns{0};       // that the micro-batches took, all lanes together
  std::atomic<std::uint64_t> curvature_bytes{0};  // held
  std::atomic<std::uint8_t> activity{kIdle};
  // Forms a block's curvature, or waits for it: it tells kSaving meanwhile, and awaits nobody, since the
  // counter may stand still for seconds.
  std::atomic<bool> forms{false};
};

}  // namespace seng
