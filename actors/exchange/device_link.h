// What libseng_nccl.so gives to the program that opens it: a link between the GPUs of a group's members, over
// which bytes travel from the memory of one device to that of another. It knows nothing of blocks, steps or
// trees. Program and library are built from the same interface or not used together: the first thing
// compared is kInterface, a hash of the headers that both include.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "protocol/base/error.h"

namespace seng::link {

// One operation of this rank. Both sides of a transfer must post it in rounds that come in the same order.
struct Transfer {
  // kReduce: all ranks' bytes, as floats, are added in the place of one's; in which order is the link's
  // affair, the same whenever the ranks and the length are.
  enum class Kind : std::uint8_t { kSend, kReceive, kBroadcast, kReduce };
  Kind kind = Kind::kSend;
  int peer = 0;  // the other rank; of a broadcast the rank that has the bytes, of a reduction that gets them
  std::size_t offset = 0;  // in the staging memory, a multiple of 16
  std::size_t bytes = 0;
  // Of these, the last: they are read and written on the device alone (Options::device), never staged.
  std::size_t unstaged = 0;
  bool operator==(const Transfer&) const = default;
};

// What the rank does in it: reads its bytes, writes them.
inline bool sends(const Transfer& transfer, int rank) {
  using Kind = Transfer::Kind;
  return transfer.kind == Kind::kSend || transfer.kind == Kind::kReduce ||
         (transfer.kind == Kind::kBroadcast && transfer.peer == rank);
}
inline bool receives(const Transfer& transfer, int rank) {
  using Kind = Transfer::Kind;
  return transfer.kind == Kind::kReceive || (transfer.kind == Kind::kReduce && transfer.peer == rank) ||
         (transfer.kind == Kind::kBroadcast && transfer.peer != rank);
}

struct Options {
  int rank = 0, ranks = 1;
  std::string identity;  // as rank 0's make_identity() gave it
  std::size_t staging_bytes = 0;
  // Memory of the device, staging_bytes long, laid out as the staging memory is: for who keeps there what is
  // sent, and takes from there what is received. It outlives the link. Null: the link has its own.
  std::byte* device = nullptr;
};

// One communicator, and memory for what travels. Used by one thread, but for staging().
class Link {
 public:
  // Aborts what is under way. The staging memory lives as long as somebody holds it.
  virtual ~Link() = default;

  // Memory of the host, staging_bytes long: where sends read and receives write, but for what is unstaged.
  virtual std::shared_ptr<std::byte> staging() = 0;

  struct Progress {
    bool accepts = false;        // post() may be called
    std::uint64_t finished = 0;  // rounds, in the order of post(): what they receive is in staging()
    std::string lost;            // another rank has gone, in words; nothing will move any more
  };
  // Where it stands; returns at once. Throws VendorError where this rank has failed.
  virtual Progress poll() = 0;

  // Starts a round: its operations go together. What it sends is in place, on the device too, and may not be
  // touched until it has finished.
  virtual void post(std::span<const Transfer> round) = 0;
};

#ifndef SENG_LINK_INTERFACE
#error "the build defines SENG_LINK_INTERFACE, the hash of device_link.h and what it includes"
#endif
inline constexpr char kInterface[] = SENG_LINK_INTERFACE;
inline constexpr char kModuleSymbol[] = "seng_nccl_module";

// Never changes its first member. The functions throw VendorError.
struct Module {
  const char* interface;
  std::uint32_t (*version)();      // of the NCCL library: 22809 is 2.28.9
  std::string (*gpu)();            // UUID of the device that this process uses, the first that it may see
  std::string (*make_identity)();  // of a communicator that is to come
  // Begins to come together with the other ranks, and returns before it has: poll() tells.
  std::unique_ptr<Link> (*open)(const Options& options);
};

}  // namespace seng::link
