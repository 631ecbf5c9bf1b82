// Messages between processes. A server has one address and many clients, each under a PeerId; a client has
// one server. Nothing here blocks: sending queues, receiving takes what has come, and a Poller waits.
//
// Order: messages from one sender to one receiver arrive in the order sent, at most once; those queued to a
// process that dies are lost. A client connects again by itself, under the same PeerId, and what it had
// queued meanwhile is sent then.
//
// Threads: a channel belongs to one thread at a time. Payload frames are let go by a thread of the channel's
// own, so what a Frame owns must be destructible there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "protocol/base/error.h"
#include "protocol/wire/message.h"

namespace seng {

// Names a client to the server that it is connected to. Opaque; not proof of anything.
using PeerId = std::string;

// Would-block is a value: the queue to that peer is full (never, where the queue is unlimited). Nothing was
// sent.
enum class Sent { kQueued, kWouldBlock };

struct ChannelCounters {
  std::uint64_t messages_sent = 0, messages_received = 0;
  std::uint64_t bytes_sent = 0, bytes_received = 0;  // of frames, ZeroMQ's own framing not included
  std::uint64_t dropped = 0;                         // received, but no message: bad frames, unknown kinds
};

// What a Poller waits for: a ZeroMQ socket, or where that is null a file descriptor that becomes readable.
struct PollHandle {
  void* socket = nullptr;
  int fd = -1;
};

class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual PollHandle poll_handle() const = 0;
};

class ServerChannel : public Pollable {
 public:
  struct Incoming {
    PeerId from;
    Message message;
  };

  // kUnavailable: no such peer, or not any more. kExhausted: the message exceeds a limit. An envelope's
  // sequence 0 is replaced by the channel's next number.
  virtual Result<Sent> send(const PeerId& to, Message message) = 0;
  // The next message, if one is there. What is no message is dropped, counted and logged; a message of an
  // unknown kind or of another major version is answered with ErrorReply.
  virtual std::optional<Incoming> try_receive() = 0;
  // As clients may use it, a port chosen by the system filled in.
  virtual const std::string& endpoint() const = 0;
  virtual ChannelCounters counters() const = 0;
};

class ClientChannel : public Pollable {
 public:
  // Queued also while the server is not there yet. kExhausted: the message exceeds a limit.
  virtual Result<Sent> send(Message message) = 0;
  virtual std::optional<Message> try_receive() = 0;
  virtual ChannelCounters counters() const = 0;
};

}  // namespace seng
