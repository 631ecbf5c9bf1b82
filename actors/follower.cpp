#include "actors/follower.h"

#include <algorithm>

#include "actors/make_group.h"
#include "actors/step_update.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

// As many steps behind make next to no difference: one, or as many as are a message's worth together. So many
// are asked for at a time, and one more.
std::size_t steps_ahead(const Workload& workload) {
  return std::clamp<std::size_t>(kBlobPieceBytes / step_record_bytes(workload), 1, 64);
}

}  // namespace

// Says in the heartbeats that it waits for another's step, which is no standstill of its own.
class Follower::Waiting {
 public:
  explicit Waiting(Gauges& gauges) : gauges_(gauges) { gauges_.activity = kWaiting; }
  ~Waiting() { gauges_.activity = kIdle; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Gauges& gauges_;
};

std::uint64_t Follower::bytes() const {
  return pulled_ + (stream_ ? stream_->bytes() : 0);
}

std::uint64_t Follower::followed() const {
  return followed_;
}

void Follower::interrupt() {
  parts_.transfer->interrupt();
  const std::lock_guard lock(mutex_);
  if (stream_) stream_->interrupt();
}

Follower::End Follower::give_up(std::string why) {
  why_ = std::move(why);
  log_info("the warm-up was given up: {}", why_);
  const std::lock_guard lock(mutex_);
  stream_.reset();
  return End::kGaveUp;
}

Follower::End Follower::run(GroupEpoch epoch, const WarmUp& order, const std::function<bool()>& leave,
                            const std::function<void()>& warm) {
  const bool follows = stream_ && group_.epoch == epoch && source_ == order.source;
  group_ = make_group(parts_.job, parts_.actor, epoch, *parts_.workload, order.members);
  source_ = order.source;
  parts_.transfer->go_on();
  if (leave()) return End::kLeft;
  if (!follows) {
    pulled_ = followed_ = 0;
    if (auto end = begin(order, leave)) return *end;
  }
  const Group future = make_group(parts_.job, parts_.actor, epoch, *parts_.workload, order.future);
  bool told = false, near = follows;
  int rounds = 0;
  while (true) {
    // Steps first: they wait at the source, and of curvature only the newest counts. What takes long to pull
    // leaves it behind again; where every step renews it, once is enough.
    if (near) {
      const std::uint64_t before = pulled_;
      if (auto end = pull_curvature(future, leave)) return *end;
      const bool current = pulled_ == before || ++rounds > 1;
      if (current && !std::exchange(told, true)) warm();
      near = near && told;
    }
    const auto record = [&] {
      const Waiting waiting(*parts_.gauges);
      return stream_->next(near ? -1 : parts_.patience_ms);
    }();
    if (!record) {
      if (leave()) return End::kLeft;
      const ErrorCode code = record.error().code;
      if (code != ErrorCode::kTimeout && code != ErrorCode::kCancelled)
        return give_up(record.error().message);
      near = near || code == ErrorCode::kTimeout;
      continue;
    }
    const std::uint32_t flags = apply(*record);
    near = stream_->newest() <= parts_.state->step + steps_ahead(*parts_.workload);
    if ((flags & (kParkAfterStep | kStopAfterStep)) != 0) return End::kLastStep;
  }
}

// The snapshot, then the first record behind it.
std::optional<Follower::End> Follower::begin(const WarmUp& order, const std::function<bool()>& leave) {
  {
    const std::lock_guard lock(mutex_);
    stream_.reset();
  }
  std::uint64_t step = 0;
  // The source may be in the middle of a long step: others know whether it is alive.
  const auto find = [&] {
    const Waiting waiting(*parts_.gauges);
    return parts_.transfer->find_snapshot(order.number, source_, group_, step);
  };
  auto pulled = find();
  while (!pulled && pulled.error().code == ErrorCode::kTimeout && !leave()) pulled = find();
  if (auto end = judge(pulled, leave)) return end;
  pulled = parts_.transfer->pull_snapshot(step, source_, group_);
  if (auto end = judge(pulled, leave)) return end;
  const auto source =
      std::ranges::find(group_.members, source_, [](const Member& member) { return member.actor; });
  if (source == group_.members.end()) return give_up("the source is no member");
  const std::size_t ahead = steps_ahead(*parts_.workload) + 1;
  auto stream = BlobStream::open({.job = parts_.job,
                                  .epoch = group_.epoch,
                                  .self = parts_.actor,
                                  .token = parts_.token,
                                  .endpoint = source->state_endpoint,
                                  .name = kStepBlob,
                                  .bytes = step_record_bytes(*parts_.workload),
                                  .first = step + 1,
                                  .window = std::max<std::size_t>(6, ahead),
                                  .ahead = ahead});
  if (!stream) return give_up(stream.error().message);
  {
    const std::lock_guard lock(mutex_);
    stream_ = std::move(*stream);
  }
  if (leave()) return End::kLeft;  // asked while there was no stream to interrupt
  return std::nullopt;
}

std::optional<Follower::End> Follower::pull_curvature(const Group& future,
                                                      const std::function<bool()>& leave) {
  const auto pulled = parts_.transfer->pull_curvature_ahead(group_, future);
  // Renewed again before it was here: the record that says so is next.
  if (!pulled && pulled.error().code == ErrorCode::kUnavailable) return std::nullopt;
  return judge(pulled, leave);
}

// What ends the warm-up, if anything does.
std::optional<Follower::End> Follower::judge(const Result<StateTransfer::Outcome>& pulled,
                                             const std::function<bool()>& leave) {
  if (!pulled) return leave() ? End::kLeft : give_up(pulled.error().message);
  if (pulled->lost) return give_up("nobody holds " + pulled->what);
  pulled_ += pulled->bytes;
  if (!pulled->interrupted) return std::nullopt;
  if (leave()) return End::kLeft;
  return give_up("it was interrupted");
}

std::uint32_t Follower::apply(std::span<const std::byte> record) {
  TrainState& state = *parts_.state;
  const Workload& workload = *parts_.workload;
  const StepComplete step = read_step_record(workload, record);
  const AppliedStep applied = apply_step(workload, step, *parts_.lanes, state);
  // What a member does behind a step, without its clock.
  state.tally.add(applied.loss, applied.accuracy);
  if (workload.evaluates(state.step) || workload.ends_epoch(state.step)) state.tally.closed = true;
  parts_.gauges->counter.fetch_add(1, std::memory_order_relaxed);
  ++followed_;
  return step.flags;
}

}  // namespace seng
