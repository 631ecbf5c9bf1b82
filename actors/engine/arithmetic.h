// What a device multiplies in; a job's `engine.precision`.
#pragma once

#include <optional>
#include <string_view>

namespace seng {

// kTf32 rounds the operands of convolutions and linear layers to 10 bits behind the point, and nothing else.
// kBf16 and kF16 are mixed precision: convolutions and linear layers multiply 16-bit operands, and the
// tensors between layers of images are kept so. Sums within kernels, parameters and their gradients, batch
// norm's statistics, plain tensors, losses and curvature factors are floats all the same. kF16 has little
// room below 1: the loss is scaled (actors/optim/loss_scale.h).
enum class Arithmetic { kF32, kTf32, kBf16, kF16 };

inline constexpr Arithmetic kArithmetics[] = {Arithmetic::kF32, Arithmetic::kTf32, Arithmetic::kBf16,
                                              Arithmetic::kF16};

constexpr const char* arithmetic_name(Arithmetic arithmetic) {
  constexpr const char* kNames[] = {"f32", "tf32", "bf16", "f16"};
  return kNames[static_cast<int>(arithmetic)];
}

constexpr std::optional<Arithmetic> arithmetic_of(std::string_view name) {
  for (const Arithmetic each : kArithmetics)
    if (name == arithmetic_name(each)) return each;
  return std::nullopt;
}

}  // namespace seng
