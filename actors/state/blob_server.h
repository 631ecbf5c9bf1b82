// Offers blobs to peers: one ROUTER on an I/O thread of its own, which sleeps while nobody asks.
//
//   driver --offer(), withdraw()--> I/O thread --BlobChunk, BlobDigest, BlobUnavailable--> peers
//   driver --run(), amend()------>   ^   '-- parked: requests of a membership that is not offered yet,
//                                    |       or of a blob that is still to come
//                                    '------------------------- BlobRequest ----------------- peers
//
// An offer is fixed, as state is while the membership changes; or it runs, beside the training of a
// membership, and blobs come to it and go.
//
// The offered memory is read by the I/O thread alone, and copied into the messages: a peer that hangs keeps
// message buffers, never the memory. Copies in flight to one connection are bounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "actors/state/blob.h"
#include "actors/state/blob_offer.h"
#include "protocol/base/ids.h"
#include "protocol/base/log.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {

class PiecePool;
class Poller;

struct BlobServerOptions {
  std::string endpoint;  // ipc://PATH, or tcp://HOST:PORT with port * for any free one
  std::string token;     // the job's secret; a request without it is not answered
  // Requests kept for a membership that is not offered yet, of all peers together. More are refused.
  std::size_t max_parked = 4096;
  std::size_t max_in_flight = kMostPiecesInFlight;
};

struct BlobServerCounters {
  std::uint64_t bytes_served = 0;  // of blobs
  std::uint64_t refused = 0;       // answered with BlobUnavailable
  std::uint64_t strangers = 0;     // requests without the token, and what is no request
};

class BlobServer {
 public:
  // Listens at once. Requests of any membership are parked until the first offer.
  static Result<std::unique_ptr<BlobServer>> open(BlobServerOptions options);
  ~BlobServer();

  // What is offered in this membership, in the place of what was. The memory must stay unchanged until
  // withdraw() or the next offer() has returned; the names and versions are unique. Any thread; waits for at
  // most the piece that is being copied.
  void offer(GroupEpoch epoch, std::vector<Blob> blobs);
  // Begins an offer that runs: blobs come and go. Each keeps its own memory; a request for one that is still
  // to come waits for it. Another offer, or withdraw(), ends it.
  void run(GroupEpoch epoch);
  // Of an offer that runs; without one they are let go. Does not wait. Any thread.
  void amend(std::vector<Blob> added, std::vector<BlobKey> dropped);
  // When it returns, nothing reads the memory any more. Requests of the membership are refused from now on,
  // those of later ones parked.
  void withdraw();

  const std::string& endpoint() const { return endpoint_; }  // as peers may use it
  BlobServerCounters counters() const;                       // since the start; any thread

 private:
  struct Change {
    bool amends = false;
    std::unique_ptr<BlobOffer> offer;  // null: withdraw
    std::vector<Blob> added;
    std::vector<BlobKey> dropped;
    std::promise<void> done;
  };
  struct Request {
    PeerId from;
    Envelope envelope;
    BlobRequest body;
  };

  explicit BlobServer(BlobServerOptions options);
  void change(std::unique_ptr<BlobOffer> offer);
  std::optional<std::future<void>> post(Change change);
  void wake();

  // The I/O thread's.
  void run();
  void serve(Poller& poller);
  void apply_change();
  void receive_burst();
  void receive(ServerChannel::Incoming incoming);
  void park(Request request);
  void answer(Request request);
  void answer_piece(const Request& request, BlobOffer::Piece piece);
  void answer_digest(Request request, std::size_t blob);
  void refuse(const Request& request, std::string reason);
  template <class Body>
  void reply(const Request& request, const Body& body, std::vector<Frame> payload = {});
  void report_stranger(const char* why);

  const BlobServerOptions options_;
  std::string endpoint_;
  ChannelContext context_;
  UniqueFd wake_fd_;
  std::atomic<bool> stop_{false}, change_waits_{false};
  std::atomic<std::uint64_t> bytes_served_{0}, refused_{0}, strangers_{0};

  std::mutex mutex_;
  bool broken_ = false;         // the I/O thread has ended; guarded by mutex_
  std::deque<Change> changes_;  // guarded by mutex_

  // The I/O thread's.
  std::unique_ptr<ServerChannel> server_;
  std::unique_ptr<BlobOffer> offer_;
  GroupEpoch newest_;            // the newest that has been offered
  std::deque<Request> parked_;   // of later memberships, or for blobs that are to come
  std::deque<Request> backlog_;  // to be answered when there is time: digests, and what was parked
  std::map<PeerId, std::shared_ptr<std::atomic<std::size_t>>> in_flight_;  // pieces on their way
  std::shared_ptr<PiecePool> pool_;
  LogThrottle throttle_;

  std::thread thread_;
};

}  // namespace seng
