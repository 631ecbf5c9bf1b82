// Cutting work into tasks whose number and content follow from shapes alone, so that results do not depend on
// the number of lanes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include "actors/engine/lanes.h"

namespace seng {

struct Cut {
  std::size_t total = 0, chunk = 1;
  std::size_t tasks() const { return (total + chunk - 1) / chunk; }
  std::size_t begin(std::size_t task) const { return task * chunk; }
  std::size_t size(std::size_t task) const { return std::min(chunk, total - begin(task)); }
};

// Chunks of about `target`, as even as multiples of `multiple` allow.
inline Cut even_cut(std::size_t total, std::size_t target, std::size_t multiple) {
  const std::size_t pieces = std::max<std::size_t>(1, (total + target - 1) / target);
  const std::size_t even = (total + pieces - 1) / pieces;
  return {total, std::max(multiple, (even + multiple - 1) / multiple * multiple)};
}

// Runs the tasks on the lanes, or here when the work (multiplications in all) is not worth waking them.
inline void run_tasks(Lanes& lanes, std::size_t tasks, double work,
                      const std::function<void(std::size_t)>& task) {
  constexpr double kWorthWaking = 1e5;  // about 10 us of one lane; waking one takes about 5
  if (work < kWorthWaking) {
    for (std::size_t i = 0; i < tasks; ++i) task(i);
  } else {
    lanes.run(tasks, [&](std::size_t i, int) { task(i); });
  }
}

}  // namespace seng
