// Driver: what it trains from when nobody has a state.
#include <chrono>
#include <thread>

#include "actors/driver.h"
#include "actors/restore.h"

namespace seng {
namespace {

// Checkpoints that cannot be read now are looked at again, with doubled pauses: 1.5 s in all.
constexpr int kLooksAtCheckpoints = 5;
constexpr std::chrono::milliseconds kLookAgain(50);

}  // namespace

// The leader reads what there is, the others take it from it. Only the job's beginning they all make
// themselves.
Status Driver::restore() {
  session_.forget_steps();
  divergence_.clear();
  state_.curvature.clear();
  const bool from_checkpoint = !workload_->spec.initial_checkpoint.empty();
  if (!leads() && from_checkpoint) {
    state_ = TrainState::initial(*workload_);
    return {};
  }
  Result<RestoredState> restored = fail(ErrorCode::kNotFound, "");
  if (leads()) {
    restored = newest_restorable(
        *workload_, checkpoints_dir_,
        [this](const std::string& directory, const Error& error) {
          event(Severity::kWarning, "CheckpointRefused", directory + ": " + error.message);
        },
        [this](int looks) {
          if (looks >= kLooksAtCheckpoints || must_leave()) return false;
          std::this_thread::sleep_for(kLookAgain * (1 << looks));
          return true;
        });
    if (!restored && restored.error().code != ErrorCode::kNotFound) return fail(restored.error());
  }
  if (!restored) restored = beginning(*workload_, initial_sha256_);
  if (!restored) return fail(restored.error());
  if (leads() && restored->step > 0)
    event(Severity::kInfo, "Restored",
          "step " + std::to_string(restored->step) + " from " + restored->source);
  auto state = to_train_state(*workload_, std::move(*restored));
  if (!state) return fail(state.error());
  state_ = std::move(*state);
  return {};
}

}  // namespace seng
