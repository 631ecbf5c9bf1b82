// Whether there is a CUDA device to test on.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "actors/engine/backend.h"
#include "actors/engine/cuda_module.h"

namespace seng::testing {

// This program lies beside the emulated backend.
inline bool emulated() {
  return cuda::default_module_path().find("/emulated/") != std::string::npos;
}

}  // namespace seng::testing

// Skips the test, with the reason, where there is none; the emulated one is always there.
#define SENG_REQUIRE_CUDA(precision)                                                          \
  do {                                                                                        \
    const auto seng_backend = ::seng::make_backend(::seng::Device::kCuda, precision);         \
    if (!seng_backend && ::seng::testing::emulated()) FAIL() << seng_backend.error().message; \
    if (!seng_backend) GTEST_SKIP() << seng_backend.error().message;                          \
  } while (0)
