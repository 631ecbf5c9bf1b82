// Columns of samples' gradients that a device other than the CPU multiplies, and keeps there.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "actors/engine/backend.h"
#include "actors/optim/gradient_columns.h"

namespace seng {

// What the curvature of all blocks shares. One thread at a time uses the device, whichever; others wait, also
// for one that takes it for several calls.
struct SampleDevice {
  explicit SampleDevice(std::unique_ptr<Backend> made) : backend(std::move(made)) {}

  // Until all that was asked of it is done.
  void wait() {
    const std::lock_guard lock(mutex);
    backend->wait();
  }

  std::recursive_mutex mutex;
  std::unique_ptr<Backend> backend;  // guarded by mutex
};

// Not for kScale and kKronecker (device_kronecker.h). `block` and `store` as make_columns() has
// them; with `buckets` R b is estimated. The samples are taken to the device when they are first asked for;
// nobody may write to them after.
std::unique_ptr<GradientColumns> device_columns(std::shared_ptr<SampleDevice> device, const Block& block,
                                                const CurvatureForm& form, const SampleStore& store,
                                                std::optional<SampleBuckets> buckets = {});
// Of samples that are no block's: sketched ones.
std::unique_ptr<GradientColumns> device_columns(std::shared_ptr<SampleDevice> device, const SamplesPlan& plan,
                                                const SampleStore& store);

}  // namespace seng
