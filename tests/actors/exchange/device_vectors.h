// A member's device, real or none, as far as its vectors are kept there: what the driver of a step hands in
// and reads of them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/vector_memory.h"

namespace seng::testing {

// Thread-safe. The driver's own work goes beside the exchange's (VectorMemory), as passes do: nothing here
// waits for what that has queued, but forget().
class DeviceVectors {
 public:
  virtual ~DeviceVectors() = default;
  virtual const std::shared_ptr<VectorMemory>& memory() const = 0;
  // A copy there, until forget().
  virtual std::span<const float> put(std::span<const float> values) = 0;
  // As it is now, whatever the exchange has still to do to it.
  virtual std::vector<float> get(std::span<const float> there) = 0;
  // The exchange is done with what was put, which becomes not-a-number.
  virtual void forget() = 0;
};

// `library`: the backend's. Of this process, which must not have been on a device before it was forked.
std::shared_ptr<DeviceVectors> make_device_vectors(const std::string& library);

}  // namespace seng::testing
