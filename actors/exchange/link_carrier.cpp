#include "actors/exchange/link_carrier.h"

#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "actors/exchange/step_exchange.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

using Kind = link::Transfer::Kind;

// Between two looks at a link on which something is under way: short beside a round of kRoundBytes.
constexpr std::chrono::microseconds kPause{50};

// Of what is in an operation, where (round_plan.h): two builds that differ in it take nothing of each other.
constexpr std::uint64_t kLayout = std::uint64_t{2} << 56;

// Of the device, as long as somebody holds it.
std::shared_ptr<std::byte> take_device_memory(const std::shared_ptr<VectorMemory>& vectors,
                                              std::size_t bytes) {
  const std::size_t floats = (bytes + sizeof(float) - 1) / sizeof(float);
  float* memory = vectors->allocate(floats);
  std::shared_ptr<std::byte> held(reinterpret_cast<std::byte*>(memory), [vectors](std::byte* bytes_of) {
    vectors->free(reinterpret_cast<float*>(bytes_of));
  });
  vectors->clear(memory, floats);  // what lies between pieces travels too
  return held;
}

}  // namespace

struct LinkCarrier::Open {
  std::uint64_t generation = 0;
  std::shared_ptr<RoundQueue> queue;  // guarded by mutex_, but for its plan
  std::shared_ptr<std::byte> device;  // memory that is the link's too; null: vectors are the host's
  std::unique_ptr<link::Link> link;
  std::shared_ptr<std::byte> staging;
  link::Link::Progress progress;
  std::vector<std::vector<link::Transfer>> meeting;  // the first rounds
  std::size_t met = 0;                               // of them posted
  bool open = false;                                 // they are through
  std::optional<RoundQueue::Ready> next;             // waits for its place in the staging memory
  std::deque<RoundQueue::Ready> in_flight;           // posted
  std::uint64_t delivered = 0;

  const RoundPlan& plan() const { return queue->plan(); }
  VectorMemory& vectors() const { return *plan().group().group().vectors; }
  void write(const RoundQueue::Ready& round) const;
  Frame values(std::uint32_t block, std::size_t offset) const;
  RoundMark mark(const RoundQueue::Ready& round, int from) const {
    const GroupEpoch& epoch = plan().group().group().epoch;
    return {epoch.incarnation ^ kLayout, epoch.counter, round.step, round.round->number,
            static_cast<std::uint32_t>(from)};
  }
  void write_mark(const RoundQueue::Ready& round, const link::Transfer& wire) const;
  void check_mark(const RoundQueue::Ready& round, const link::Transfer& wire) const;
};

// All that this rank sends in the round, in its place. What earlier rounds brought to the device has been
// used when that is done.
void LinkCarrier::Open::write(const RoundQueue::Ready& round) const {
  for (const PlannedTransfer& transfer : round.round->transfers)
    if (link::sends(transfer.wire, plan().rank())) write_mark(round, transfer.wire);
  for (const RoundQueue::Piece& piece : round.pieces) {
    if (!piece.on_device)
      std::memcpy(staging.get() + piece.offset, piece.bytes.data(), piece.bytes.size());
    else
      vectors().copy(reinterpret_cast<const float*>(piece.bytes.data()),
                     reinterpret_cast<float*>(device.get() + piece.offset),
                     piece.bytes.size() / sizeof(float));
  }
  if (device) vectors().wait();
}

Frame LinkCarrier::Open::values(std::uint32_t block, std::size_t offset) const {
  const auto& memory = plan().group().on_device(block) ? device : staging;
  return {memory, memory.get() + offset, plan().group().grid(block).floats * sizeof(float)};
}

void LinkCarrier::Open::write_mark(const RoundQueue::Ready& round, const link::Transfer& wire) const {
  std::byte* at = staging.get() + wire.offset;
  const RoundMark own = mark(round, plan().rank());
  if (wire.kind != Kind::kReduce) return (void)std::memcpy(at, &own, sizeof own);
  // Whoever has no micro-batches hands in nothing; what lies here is an earlier step's.
  if (plan().group().own_range().size() == 0) {
    const std::size_t staged = wire.bytes - wire.unstaged;
    std::memset(at, 0, staged);
    if (wire.unstaged > 0)
      vectors().clear(reinterpret_cast<float*>(device.get() + wire.offset + staged),
                      wire.unstaged / sizeof(float));
  }
  const SumMark sum = sum_mark(own, 1);
  std::memcpy(at, sum.data(), sizeof sum);
}

// Throws VendorError where the bytes are not those that were to come.
void LinkCarrier::Open::check_mark(const RoundQueue::Ready& round, const link::Transfer& wire) const {
  const std::byte* at = staging.get() + wire.offset;
  if (wire.kind == Kind::kReduce) {
    SumMark sum;
    std::memcpy(sum.data(), at, sizeof sum);
    if (sum == sum_mark(mark(round, 0), plan().ranks())) return;
    throw VendorError(fmt::format("NCCL: round {} of step {} was not added up of all {} ranks' parts of it",
                                  round.round->number, round.step, plan().ranks()));
  }
  RoundMark came;
  std::memcpy(&came, at, sizeof came);
  if (came == mark(round, wire.peer)) return;
  throw VendorError(fmt::format(
      "NCCL: round {} of step {} came from rank {} where round {} of step {} of rank {} was to come",
      came.round, came.step, came.from, round.round->number, round.step, wire.peer));
}

LinkCarrier::LinkCarrier(const link::Module& module, Ends ends, std::size_t round_bytes)
    : module_(module), ends_(std::move(ends)), round_bytes_(round_bytes), thread_([this] { run(); }) {}

LinkCarrier::~LinkCarrier() {
  close();
}

void LinkCarrier::close() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LinkCarrier::join(std::shared_ptr<const GroupView> group) {
  auto plan = std::make_shared<const RoundPlan>(std::move(group), round_bytes_);
  {
    const std::lock_guard lock(mutex_);
    queue_ = std::make_shared<RoundQueue>(std::move(plan));
    identity_.clear();
    traffic_ = {};
    joined_ = ++generation_;
  }
  changed_.notify_all();
}

void LinkCarrier::leave() {
  {
    const std::lock_guard lock(mutex_);
    queue_.reset();
    identity_.clear();
    ++generation_;
  }
  changed_.notify_all();
}

Status LinkCarrier::wait_open() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return opened_ == joined_ || generation_ != joined_ || !queue_ || stop_; });
  if (failed_ == joined_)
    return fail(ErrorCode::kUnavailable, failure_ + " (exchange: zmq does without NCCL)");
  return {};
}

std::optional<std::string> LinkCarrier::failure() const {
  const std::lock_guard lock(mutex_);
  if (failed_ == joined_ && joined_ != 0) return failure_;
  if (generation_ != joined_) return "the link between the members was left";
  return {};
}

void LinkCarrier::wait_left() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !holds_link_ || stop_; });
}

void LinkCarrier::meet(const std::string& identity) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_ && identity_.empty()) identity_ = identity;
  }
  changed_.notify_all();
}

void LinkCarrier::begin_step(std::uint64_t step) {
  {
    const std::lock_guard lock(mutex_);
    traffic_ = {};
    if (queue_) queue_->begin_step(step);
  }
  changed_.notify_all();
}

void LinkCarrier::add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t run, PooledFloats values) {
  const void* data = values.data();
  {
    const std::lock_guard lock(mutex_);
    if (!queue_) return;  // what was left
    const std::size_t bytes = queue_->plan().group().grid(block).count(run) * sizeof(float);
    queue_->add_sum(block, node, run, Frame(std::move(values).share(), data, bytes));
    traffic_.sum_bytes = queue_->plan().sum_bytes();
  }
  changed_.notify_all();
}

void LinkCarrier::add_direction(std::uint32_t block, const PublishWord& word, std::vector<Frame> runs) {
  {
    const std::lock_guard lock(mutex_);
    if (!queue_) return;
    queue_->add_direction(block, word, std::move(runs));
    traffic_.direction_bytes = queue_->plan().direction_bytes();
  }
  changed_.notify_all();
}

StepTraffic LinkCarrier::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

void LinkCarrier::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    renew(lock);
    if (!open_) {
      if (!stop_ && !(queue_ && !identity_.empty())) changed_.wait(lock);
      continue;
    }
    lock.unlock();
    turn();
    lock.lock();
    if (!open_ || stop_ || open_->generation != generation_) continue;
    if (moves()) {
      changed_.wait_for(lock, kPause);
    } else if (auto round = open_->queue->take()) {
      open_->next = std::move(round);
    } else {
      changed_.wait(lock);
    }
  }
  lock.unlock();
  open_.reset();
}

// Something is under way that only polling shows.
bool LinkCarrier::moves() const {
  return !open_->open || !open_->progress.accepts || open_->next || !open_->in_flight.empty();
}

// The link that is open is that of the membership in hand, or there is none.
void LinkCarrier::renew(std::unique_lock<std::mutex>& lock) {
  if (open_ && open_->generation != generation_) {
    std::unique_ptr<Open> old = std::move(open_);
    lock.unlock();
    old.reset();
    lock.lock();
    holds_link_ = false;
    changed_.notify_all();
  }
  if (!open_ && queue_ && !identity_.empty() && !stop_) begin(lock);
}

void LinkCarrier::begin(std::unique_lock<std::mutex>& lock) {
  auto open = std::make_unique<Open>();
  open->generation = generation_;
  open->queue = queue_;
  const RoundPlan& plan = open->plan();
  open->meeting = meeting_rounds(plan.rank(), plan.ranks(), plan.group().fast());
  link::Options options{plan.rank(), plan.ranks(), identity_, plan.staging_bytes()};
  holds_link_ = true;
  lock.unlock();
  open_ = std::move(open);
  try {
    if (const auto& vectors = open_->plan().group().group().vectors)
      open_->device = take_device_memory(vectors, options.staging_bytes);
    options.device = open_->device.get();
    open_->link = module_.open(options);
    open_->staging = open_->link->staging();
  } catch (const std::exception& error) {
    drop(error.what());
  }
  lock.lock();
}

void LinkCarrier::turn() {
  try {
    open_->progress = open_->link->poll();
    if (!open_->progress.lost.empty()) {
      log_warning("{}; waiting for the daemon's word", open_->progress.lost);
      return drop({});
    }
    if (!open_->open && !has_met()) return;
    const std::uint64_t finished = open_->progress.finished - open_->meeting.size();
    for (; open_->delivered < finished; ++open_->delivered) {
      deliver(open_->in_flight.front());
      open_->in_flight.pop_front();
    }
    while (open_->progress.accepts && post_next()) open_->progress.accepts = open_->link->poll().accepts;
  } catch (const std::exception& error) {
    drop(error.what());
  }
}

// Posts the first rounds, one after another. True once they are through.
bool LinkCarrier::has_met() {
  if (open_->met < open_->meeting.size()) {
    if (open_->progress.accepts) open_->link->post(open_->meeting[open_->met++]);
    return false;
  }
  if (open_->progress.finished < open_->meeting.size()) return false;
  open_->open = true;
  {
    const std::lock_guard lock(mutex_);
    opened_ = open_->generation;
  }
  changed_.notify_all();
  return true;
}

bool LinkCarrier::post_next() {
  if (!open_->next) {
    const std::lock_guard lock(mutex_);
    if (open_->generation != generation_) return false;
    open_->next = open_->queue->take();
  }
  const RoundPlan& plan = open_->plan();
  if (!open_->next || open_->next->number >= open_->delivered + plan.rounds().size()) return false;
  RoundQueue::Ready round = *std::exchange(open_->next, std::nullopt);
  std::vector<link::Transfer> transfers;
  for (const PlannedTransfer& transfer : round.round->transfers) transfers.push_back(transfer.wire);
  open_->write(round);
  round.pieces.clear();
  open_->link->post(transfers);
  open_->in_flight.push_back(std::move(round));
  return true;
}

void LinkCarrier::deliver(const RoundQueue::Ready& round) {
  const RoundPlan& plan = open_->plan();
  const GroupEpoch epoch = plan.group().group().epoch;
  for (const PlannedTransfer& transfer : round.round->transfers) {
    if (!link::receives(transfer.wire, plan.rank())) continue;
    open_->check_mark(round, transfer.wire);
    for (const PlannedPart& part : transfer.parts) {
      const Frame values = open_->values(part.block, part.offset);
      const Status taken =
          part.direction()
              ? ends_.core->receive_direction(epoch, round.step, part.block,
                                              read_word(open_->staging.get() + part.word), values)
              : ends_.core->receive_sum(epoch, round.step, part.block, part.node, values);
      if (!taken) throw VendorError("NCCL: " + taken.error().message);
    }
  }
  ends_.arrived();
}

// The link is of no more use in this membership. `words`: why this rank gives it up; empty: another has gone.
void LinkCarrier::drop(const std::string& words) {
  bool current = false;
  {
    const std::lock_guard lock(mutex_);
    current = open_->generation == generation_;
    if (current) {
      queue_.reset();
      identity_.clear();
      if (!words.empty()) failed_ = generation_, failure_ = words;
    }
  }
  changed_.notify_all();
  open_.reset();
  {
    const std::lock_guard lock(mutex_);
    holds_link_ = false;
  }
  changed_.notify_all();
  if (current && !words.empty()) ends_.failed();
}

}  // namespace seng
