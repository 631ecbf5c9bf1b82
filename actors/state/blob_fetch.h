// Pulls blobs from the peers that hold them, into memory of the caller's, on the caller's thread.
//
//   BlobFetch fetch(options, wants);
//   auto stats = fetch.run();        // or interrupt() from another thread ends it
//   if (!stats) next.resume = fetch.take_progress();   // nothing that is here is asked for again
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/state/blob.h"
#include "actors/state/piece_schedule.h"
#include "protocol/base/error.h"
#include "protocol/base/ids.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {

class Poller;

struct BlobWant {
  std::string name;
  std::uint64_t version = 0;
  std::span<std::byte> into;  // exactly as long as the blob; what it holds is undefined until run() is well
  std::vector<std::size_t> holders;  // who has it: indices into FetchOptions::endpoints
};

// What an earlier fetch has received. Goes with the memory that it was received into, which must be
// unchanged since.
class FetchProgress {
 public:
  std::uint64_t bytes() const;

 private:
  friend class BlobFetch;
  struct Entry {
    std::string name;
    std::uint64_t version = 0;
    std::span<std::byte> into;
    std::vector<std::optional<BlobHash>> hashes;  // of the pieces that are here
    bool verified = false;                        // as a whole
  };
  std::vector<Entry> entries_;
};

struct FetchOptions {
  JobId job = 0;
  GroupEpoch epoch;  // the membership that the holders offer in
  ActorId self = kNoActor;
  std::string token;
  std::vector<std::string> endpoints;
  // Pieces (of 1 MiB) asked of one holder at a time: enough that it, the network and this thread all have
  // one in hand and one waits for each; more only takes memory and makes a slow holder's share larger.
  std::size_t window = 6;
  // A holder of which no piece comes for so long has stalled: its work goes to the others, and with none left
  // the fetch fails. Also the patience with a holder that is not in the membership yet.
  double stall_s = 10;
  std::atomic<std::uint64_t>* pieces = nullptr;  // counts those that come; must outlive the fetch
  // Of an earlier fetch: wants of the same name, version and memory go on where they were.
  FetchProgress resume;
};

struct FetchStats {
  std::uint64_t bytes = 0;                // received into the wants by this fetch
  std::uint64_t resumed_bytes = 0;        // were there already
  std::uint64_t duplicates = 0;           // replies that were of no use any more
  std::uint64_t strays = 0;               // messages that answer nothing
  std::vector<std::uint64_t> bytes_from;  // for each endpoint
  double seconds = 0;
};

class BlobFetch {
 public:
  BlobFetch(FetchOptions options, std::vector<BlobWant> wants);
  ~BlobFetch();

  // All wants are filled and verified, or an error that names blob and holder: kUnavailable, kTimeout (all
  // holders have stalled), kCorrupt (a piece, or two holders whose blobs differ), kCancelled (interrupt()),
  // kInvalidArgument. Once.
  Result<FetchStats> run();
  // run() returns soon, or at once when it is called later. Any thread.
  void interrupt();
  // After run(): what has been received, also by a fetch that failed.
  FetchProgress take_progress() { return std::move(progress_); }

 private:
  struct Link {
    std::unique_ptr<ClientChannel> channel;
    std::uint64_t sequence = 0;
    std::map<std::uint64_t, PieceAsk> pending;  // sequence -> what was asked
    bool silent = false;                        // has stalled and said nothing since
  };
  struct Failure {
    ErrorCode code;
    std::string text;
  };
  struct WantState {
    std::map<std::size_t, BlobHash> digests;  // as holders state them
    std::map<std::size_t, Failure> failures;  // why a holder does not serve it
  };

  Status prepare();
  void restore(std::size_t want);
  Status connect(Poller& poller);
  Status transfer(Poller& poller);
  void ask();
  void receive(std::size_t holder);
  void handle(std::size_t holder, const Message& message);
  static Failure wrong_size(std::uint64_t total, std::size_t wanted);
  static Failure not_asked_for();
  std::optional<Failure> take_piece(const PieceAsk& ask, const Message& message);
  std::optional<Failure> take_digest(const PieceAsk& ask, const Message& message);
  Status verify_closed();
  Status verify(std::size_t want);
  Error stuck_error(std::size_t want) const;
  std::string blob_name(std::size_t want) const;

  FetchOptions options_;
  const std::vector<BlobWant> wants_;
  std::vector<WantState> states_;
  FetchProgress progress_;
  FetchStats stats_;
  UniqueFd wake_fd_;
  std::atomic<bool> interrupted_{false};

  std::optional<ChannelContext> context_;
  std::vector<Link> links_;  // for each endpoint
  std::optional<PieceSchedule> schedule_;
  std::vector<std::size_t> unverified_;
};

}  // namespace seng
