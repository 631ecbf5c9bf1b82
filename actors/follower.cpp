#include "actors/follower.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "actors/make_group.h"
#include "actors/step_update.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

// As many steps behind make next to no difference: one, or as many as are a message's worth together. So many
// are asked for at a time, and one more.
std::size_t steps_ahead(const Workload& workload) {
  return std::clamp<std::size_t>(kBlobPieceBytes / step_record_bytes(workload), 1, kMostPiecesAsked - 1);
}

// So often a refresh may come before its curvature is pulled; then the group is told all the same, and what
// is lacking is pulled when it takes the newcomer in.
constexpr int kMostRenewals = 4;

// So often a source may refuse the snapshot, within the patience.
constexpr int kMostRefusals = 10;

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

void Follower::end() {
  const std::lock_guard lock(mutex_);
  if (stream_) pulled_ += stream_->bytes();
  stream_.reset();
}

Follower::End Follower::give_up(std::string why) {
  why_ = std::move(why);
  log_info("the warm-up was given up: {}", why_);
  end();
  return End::kGaveUp;
}

Follower::End Follower::run(GroupEpoch epoch, const WarmUp& order, const std::function<bool()>& leave,
                            const std::function<void()>& warm) {
  const bool follows = stream_ && group_.epoch == epoch && source_ == order.source;
  group_ = make_group(parts_.job, parts_.actor, epoch, *parts_.workload, order.members);
  source_ = order.source;
  parts_.transfer->go_on();
  if (leave()) return End::kLeft;
  if (!follows)
    if (auto end = begin(order, leave)) return *end;
  const Group future = make_group(parts_.job, parts_.actor, epoch, *parts_.workload, order.future);
  bool told = false, near = follows;
  int rounds = 0, renewals = 0;
  while (true) {
    // Steps first: they wait at the source, and of curvature only the newest counts. What takes long to pull
    // leaves it behind again; where every step renews it, once is enough.
    if (near) {
      const std::uint64_t before = pulled_;
      Curvatures found = Curvatures::kWhole;
      if (auto end = pull_curvature(future, leave, found)) return *end;
      const bool current = found == Curvatures::kWhole     ? pulled_ == before || ++rounds > 1
                           : found == Curvatures::kRenewed ? ++renewals >= kMostRenewals
                                                           : false;
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
  end();
  pulled_ = followed_ = 0;
  std::uint64_t step = 0;
  // The source may be in the middle of a long step: others know whether it is alive.
  const auto find = [&] {
    const Waiting waiting(*parts_.gauges);
    return parts_.transfer->find_snapshot(order.number, source_, group_, step);
  };
  auto pulled = attempt(find, leave);
  for (int refusals = 0; !pulled && !leave(); pulled = attempt(find, leave)) {
    const ErrorCode code = pulled.error().code;
    if (code == ErrorCode::kTimeout) continue;
    // One that was told of the membership later than this newcomer still offers what went before it.
    if (code != ErrorCode::kUnavailable || ++refusals > kMostRefusals) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(parts_.patience_ms) / kMostRefusals);
  }
  if (auto end = judge(pulled, leave)) return end;
  pulled = attempt([&] { return parts_.transfer->pull_snapshot(step, source_, group_); }, leave);
  if (auto end = judge(pulled, leave)) return end;
  if (parts_.followed) parts_.followed();
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
                                  .ahead = ahead,
                                  .pieces_counter = &parts_.gauges->counter});
  if (!stream) return give_up(stream.error().message);
  {
    const std::lock_guard lock(mutex_);
    stream_ = std::move(*stream);
  }
  if (leave()) return End::kLeft;  // asked while there was no stream to interrupt
  return std::nullopt;
}

std::optional<Follower::End> Follower::pull_curvature(const Group& future, const std::function<bool()>& leave,
                                                      Curvatures& found) {
  const auto pulled = attempt([&] { return parts_.transfer->pull_curvature_ahead(group_, future); }, leave);
  if (!pulled && pulled.error().code == ErrorCode::kUnavailable) found = Curvatures::kRenewed;
  if (!pulled && pulled.error().code == ErrorCode::kTimeout) found = Curvatures::kNotYet;
  if (found != Curvatures::kWhole && !leave()) return std::nullopt;
  return judge(pulled, leave);
}

// An interruption that asks nothing of this actor, or whose command is still to come, does not end a pull:
// that command interrupts again.
Follower::Pulled Follower::attempt(const std::function<Pulled()>& pull, const std::function<bool()>& leave) {
  while (true) {
    auto pulled = pull();
    if (!pulled || !pulled->interrupted) return pulled;
    parts_.transfer->go_on();
    if (leave()) return pulled;
  }
}

// What ends the warm-up, if anything does.
std::optional<Follower::End> Follower::judge(const Pulled& pulled, const std::function<bool()>& leave) {
  if (!pulled) return leave() ? End::kLeft : give_up(pulled.error().message);
  if (pulled->lost) return give_up("nobody holds " + pulled->what);
  pulled_ += pulled->bytes;
  if (!pulled->interrupted) return std::nullopt;
  return End::kLeft;  // attempt() has seen to it
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
  if (parts_.followed) parts_.followed();
  return step.flags;
}

}  // namespace seng
