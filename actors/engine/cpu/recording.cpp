#include <cstring>
#include <utility>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class Repetition final : public Recording {
 public:
  explicit Repetition(std::function<void()> calls) : calls_(std::move(calls)) {}
  void run() override { calls_(); }
  const std::string& shortfall() const override { return none_; }

 private:
  std::function<void()> calls_;
  std::string none_;
};

// Calls that have been made are done: nobody reads the memory any more.
class Copy final : public Feed {
 public:
  explicit Copy(void* memory) : memory_(memory) {}
  void put(const void* host, std::size_t bytes) override { std::memcpy(memory_, host, bytes); }
  void take() override {}

 private:
  void* memory_;
};

}  // namespace

std::unique_ptr<Recording> CpuBackend::record(std::function<void()> calls) {
  return std::make_unique<Repetition>(std::move(calls));
}

std::unique_ptr<Feed> CpuBackend::plan_feed(void* memory, std::size_t) {
  return std::make_unique<Copy>(memory);
}

}  // namespace seng::cpu
