// Follows one blob of a holder that goes on making it (BlobServer::run): its consecutive versions, all of one
// size, in order, as they come. Asks ahead, so that a version is on its way as soon as it is there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "actors/state/blob.h"
#include "protocol/base/error.h"
#include "protocol/base/ids.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {

struct BlobStreamOptions {
  JobId job = 0;
  GroupEpoch epoch;  // the membership that the holder offers in
  ActorId self = kNoActor;
  std::string token;
  std::string endpoint;     // the holder's
  std::string name;         // of the blob
  std::size_t bytes = 0;    // of each version; not 0
  std::uint64_t first = 0;  // version
  std::size_t window = 6;   // pieces asked for at a time, see FetchOptions::window; <= kMostPiecesAsked
  std::size_t ahead = 4;    // versions asked for at a time; each takes `bytes` of memory
  std::atomic<std::uint64_t>* pieces_counter = nullptr;  // counts what comes; must outlive it
};

// One thread's, but for interrupt().
class BlobStream {
 public:
  static Result<std::unique_ptr<BlobStream>> open(BlobStreamOptions options);

  // Waits for the next version, at most so long (-1: for ever; that a holder is gone, others know, and
  // interrupt). The bytes are valid until the next call. Errors: kTimeout, kCancelled (interrupt() was called
  // since the last call returned) - the next call goes on; kUnavailable (the holder has let that version go,
  // or the membership is over there), kCorrupt.
  Result<std::span<const std::byte>> next(int patience_ms = -1);
  std::uint64_t version() const { return next_; }   // that next() gives next
  std::uint64_t newest() const { return newest_; }  // that the holder had when it last answered
  std::uint64_t bytes() const { return received_; }

  void interrupt();  // any thread

 private:
  struct Slot {
    std::vector<std::byte> data;
    std::vector<bool> here;  // per piece
    std::size_t missing = 0;
  };
  explicit BlobStream(BlobStreamOptions options);
  void ask();
  Slot fresh_slot();
  Status receive(const Message& message);

  const BlobStreamOptions options_;
  const std::size_t pieces_;
  UniqueFd wake_fd_;
  std::atomic<bool> interrupted_{false};
  ChannelContext context_;
  std::unique_ptr<ClientChannel> channel_;
  Poller poller_;

  std::uint64_t next_;
  std::deque<Slot> slots_;  // of the versions from next_ on
  std::optional<Slot> given_;
  std::uint64_t newest_ = 0, received_ = 0, sequence_ = 0;
  std::pair<std::uint64_t, std::size_t> ask_next_;                              // version, piece
  std::map<std::uint64_t, std::pair<std::uint64_t, std::size_t>> outstanding_;  // by sequence
};

}  // namespace seng
