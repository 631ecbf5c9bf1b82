// Carries sums and directions over a device link (device_link.h), in the order of the round plan, on a thread
// of its own.
//
//   add_sum, add_direction --> RoundQueue --(a round is whole)--> staging memory --> Link::post
//   StepExchange::receive_sum, receive_direction <-- staging memory <--(finished)-- Link::poll
//
// A membership's life of the link:
//
//            1 join             2 meet            3 the first rounds are through
//   (none) ----------> unmet ----------> coming ----------------------------> open
//                        |                 |                          |
//                        '-----------------+--------------------------'--> (none)   4 leave, join, a failure
//   1 The group is known.
//   2 The leader's identity is here: Options are complete, the communicator begins.
//   3 All ranks are there, and have exchanged a few bytes with each other; steps may begin.
//   4 The link is destroyed, which aborts it; it never outlives its membership.
//
// A rank that has gone is no error here, as with messages: nothing comes any more, and the daemon, who sees
// who it is, ends the membership. Nobody waits for a device without looking up: every wait is a poll.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "actors/exchange/block_carrier.h"
#include "actors/exchange/device_link.h"
#include "actors/exchange/round_queue.h"

namespace seng {

class StepExchange;

class LinkCarrier final : public BlockCarrier {
 public:
  // Where what it does arrives; called on its thread, without a lock.
  struct Ends {
    StepExchange* core;
    std::function<void()> arrived;  // something came: there may be events or messages
    std::function<void()> failed;   // this rank's link; failure() says why, unless another was joined since
  };
  LinkCarrier(const link::Module& module, Ends ends, std::size_t round_bytes = kRoundBytes);
  ~LinkCarrier() override;

  void join(std::shared_ptr<const GroupView> group) override;
  void meet(const std::string& identity) override;
  void begin_step(std::uint64_t step) override;
  void add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t run, PooledFloats values) override;
  void add_direction(std::uint32_t block, const PublishWord& word, std::vector<Frame> runs) override;
  StepTraffic traffic() const override;

  // Waits until the link of the membership in hand is open. An error is this rank's; where another has gone,
  // or leave() was called meanwhile, there is none.
  Status wait_open();
  // Why nothing will move any more in the membership joined last, as far as that is this actor's doing: its
  // link has failed, or it has left. Where another has gone there is no reason to give.
  std::optional<std::string> failure() const;
  // Leaves the membership: aborts what is under way, soon. Until the next join().
  void leave();
  // Behind leave(): waits until nothing is under way any more.
  void wait_left();
  // For good, when `ends` go; waits for the thread.
  void close();

 private:
  struct Open;
  // The thread's.
  void run();
  void renew(std::unique_lock<std::mutex>& lock);
  void begin(std::unique_lock<std::mutex>& lock);
  bool moves() const;
  void turn();
  bool has_met();
  bool post_next();
  void deliver(const RoundQueue::Ready& round);
  void drop(const std::string& words);

  const link::Module& module_;
  const Ends ends_;
  const std::size_t round_bytes_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::shared_ptr<RoundQueue> queue_;  // of the membership; null: none
  std::string identity_;
  std::uint64_t generation_ = 0;  // grows with each membership joined or left
  std::uint64_t joined_ = 0;      // that of the last join()
  std::uint64_t opened_ = 0;      // the generation whose link is open, or was
  std::uint64_t failed_ = 0;      // the generation whose link failed here last, and why
  std::string failure_;
  StepTraffic traffic_;
  bool holds_link_ = false;  // the thread, of whatever membership
  bool stop_ = false;

  std::unique_ptr<Open> open_;  // the thread's: the link of a membership
  std::thread thread_;
};

}  // namespace seng
