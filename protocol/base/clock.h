// Time, passed in so that whoever decides by it can be tested with a clock of the test's own.
#pragma once

namespace seng {

class Clock {
 public:
  virtual ~Clock() = default;
  // Seconds since an arbitrary moment; never goes back, also when the machine's date is set. For all
  // timeouts.
  virtual double now() const = 0;
  // Seconds since 1970 UTC, as records show it; may jump.
  virtual double wall() const = 0;
};

// The machine's clocks. Thread-safe.
class SystemClock final : public Clock {
 public:
  double now() const override;
  double wall() const override;
};

}  // namespace seng
