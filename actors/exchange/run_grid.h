// A long vector travels and is added in runs, cut at fixed places, the same on every actor: the peer format's
// offsets are multiples of the run length, and every run but the last of a vector is full.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace seng {

inline constexpr std::size_t kRunFloats = std::size_t{1} << 18;  // 1 MiB: where ZeroMQ is fastest

struct RunGrid {
  std::size_t floats = 0;  // of the vector
  std::size_t run_floats = kRunFloats;

  std::uint32_t runs() const { return static_cast<std::uint32_t>((floats + run_floats - 1) / run_floats); }
  std::size_t offset(std::uint32_t run) const { return run * run_floats; }
  std::size_t count(std::uint32_t run) const { return std::min(run_floats, floats - offset(run)); }
  // The run that starts at `offset` and has `count` floats, if there is one.
  std::optional<std::uint32_t> find(std::uint64_t offset, std::uint64_t count) const {
    if (offset >= floats || offset % run_floats != 0) return std::nullopt;
    const auto run = static_cast<std::uint32_t>(offset / run_floats);
    return count == this->count(run) ? std::optional(run) : std::nullopt;
  }
};

}  // namespace seng
