// Micro-batches read ahead of those who train on them, on threads of its own, so that files are read and
// pictures decoded while the lanes compute or wait for others. What is read depends on the samples alone:
// with any number of threads, or none, the pixels are the same.
//
//            announce              a thread is free           read             take
//   nothing ----------> queued ------------------> reading ---------> ready ---------> nothing
//                          `------- take: read by the caller itself ----------------------^
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "actors/data/augment.h"

namespace seng {

struct LoaderOptions {
  int workers = 0;  // threads; 0: take() does everything
  int ahead = 4;    // micro-batches that are being read or ready at a time: bounds the memory
};

// A micro-batch to come; `position` is that of its first sample in the stream of samples and names it.
struct UpcomingBatch {
  std::uint64_t position = 0;
  std::vector<SampleUse> samples;
};

class Loader {
 public:
  // The augmenter must outlive it.
  Loader(const Augmenter& augmenter, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  bool reads_ahead() const { return !threads_.empty(); }

  // What will be taken, in about that order, in which it is read. What was announced before and is not among
  // it is dropped. Does nothing without threads.
  void announce(std::vector<UpcomingBatch> upcoming);

  // Thread-safe; each micro-batch is taken once. `samples` are what it would be announced with.
  Status take(std::uint64_t position, std::span<const SampleUse> samples, LabelledImages& out);

 private:
  enum class State { kQueued, kReading, kReady };
  struct Slot {
    std::size_t turn = 0;  // in the order of what was announced last
    std::vector<SampleUse> samples;
    State state = State::kQueued;
    LabelledImages images;
    Status status;
  };

  void work();
  std::shared_ptr<Slot> next_queued() const;  // null: none, or enough is under way
  Status read(std::span<const SampleUse> samples, LabelledImages& out) const;

  const Augmenter& augmenter_;
  const LoaderOptions options_;
  std::mutex mutex_;
  std::condition_variable wanted_, done_;
  // Guarded by mutex_.
  std::map<std::uint64_t, std::shared_ptr<Slot>> slots_;
  int reading_ = 0;  // dropped ones too
  bool stop_ = false;

  std::vector<std::thread> threads_;  // last: they use what is above
};

}  // namespace seng
