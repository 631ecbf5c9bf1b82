// The ranks of a communicator: processes that find each other by its id and exchange bytes over Unix sockets,
// every pair over one of its own. Nothing blocks: everything moves when somebody looks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "protocol/base/unique_fd.h"
#include "tests/support/emulated_nccl/nccl.h"

namespace emulated_nccl {

class Communicator {
 public:
  Communicator(const std::string& id, int rank, int ranks);

  int rank() const { return rank_; }
  int ranks() const { return static_cast<int>(peers_.size()); }

  // What NCCL would say now; fails for good.
  ncclResult_t state();
  const std::string& words() const { return words_; }
  void fail(ncclResult_t result, const std::string& words);

  // One side of a transfer; sends and receives between a pair meet in the order of post().
  struct Operation {
    bool sends = false;
    int peer = 0;
    std::byte* memory = nullptr;
    std::size_t bytes = 0;
    bool done = false, announced = false;
  };
  // Moves what can be; true: all are done.
  bool advance(std::vector<Operation>& operations);

  void abort();
  bool aborted() const { return aborted_; }

 private:
  struct Peer {
    seng::UniqueFd socket;
    bool greeted = false, gone = false;
    std::string out, in;              // bytes on their way
    std::deque<std::size_t> wanted;   // what the peer is ready to receive, by length
    std::deque<std::string> arrived;  // what it has sent
  };
  void look_for_peers();
  void accept_peers();
  void greet(Peer& peer);
  void read(int rank);
  bool take_frame(int rank);
  void write(Peer& peer);
  void lost(int rank);
  void step(Operation& operation);

  const std::string id_;
  const int rank_;
  std::vector<Peer> peers_;
  seng::UniqueFd server_;
  std::vector<Peer> strangers_;  // accepted, not known yet
  ncclResult_t failure_ = ncclSuccess;
  std::string words_;
  bool aborted_ = false;
  bool ready_ = false;
};

}  // namespace emulated_nccl
