#include "actors/data/loader.h"

#include <algorithm>
#include <exception>

namespace seng {

Loader::Loader(const Augmenter& augmenter, const LoaderOptions& options)
    : augmenter_(augmenter), options_(options) {
  for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::announce(std::vector<UpcomingBatch> upcoming) {
  if (!reads_ahead()) return;
  {
    const std::lock_guard lock(mutex_);
    std::map<std::uint64_t, std::shared_ptr<Slot>> kept;
    for (std::size_t turn = 0; turn < upcoming.size(); ++turn) {
      UpcomingBatch& batch = upcoming[turn];
      std::shared_ptr<Slot> slot;
      if (const auto before = slots_.find(batch.position); before != slots_.end()) {
        slot = std::move(before->second);
      } else {
        slot = std::make_shared<Slot>();
        slot->samples = std::move(batch.samples);
      }
      slot->turn = turn;
      kept.emplace(batch.position, std::move(slot));
    }
    slots_ = std::move(kept);
  }
  wanted_.notify_all();
}

Status Loader::take(std::uint64_t position, std::span<const SampleUse> samples, LabelledImages& out) {
  if (!reads_ahead()) return read(samples, out);
  std::unique_lock lock(mutex_);
  const auto found = slots_.find(position);
  if (found == slots_.end() || found->second->state == State::kQueued) {
    if (found != slots_.end()) slots_.erase(found);
    lock.unlock();
    return read(samples, out);
  }
  const std::shared_ptr<Slot> slot = found->second;
  done_.wait(lock, [&] { return slot->state == State::kReady; });
  slots_.erase(position);
  lock.unlock();
  wanted_.notify_one();
  if (!slot->status) return slot->status;
  std::swap(out, slot->images);
  return {};
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::shared_ptr<Slot> slot;
    wanted_.wait(lock, [&] { return stop_ || (slot = next_queued()) != nullptr; });
    if (stop_) return;
    slot->state = State::kReading;
    ++reading_;
    lock.unlock();
    Status status = read(slot->samples, slot->images);
    lock.lock();
    slot->status = std::move(status);
    slot->state = State::kReady;
    --reading_;
    done_.notify_all();
  }
}

std::shared_ptr<Loader::Slot> Loader::next_queued() const {
  int under_way = reading_;
  std::shared_ptr<Slot> first;
  for (const auto& [position, slot] : slots_) {
    under_way += slot->state == State::kReady;
    if (slot->state == State::kQueued && (!first || slot->turn < first->turn)) first = slot;
  }
  return under_way < options_.ahead ? first : nullptr;
}

Status Loader::read(std::span<const SampleUse> samples, LabelledImages& out) const {
  try {
    return augmenter_.read(samples, out);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "out of memory while reading images");
  } catch (const VendorError& error) {
    return fail(ErrorCode::kInternal, error.what());
  }
}

}  // namespace seng
