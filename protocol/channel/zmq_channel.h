// Channels over ZeroMQ: ROUTER for servers, DEALER for clients. Payload frames are not copied on either side
// (small ones are, where that is cheaper, and received ones whose bytes ZeroMQ did not align to 8).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "protocol/base/error.h"
#include "protocol/channel/channel.h"

namespace seng {

// ZeroMQ's threads. Outlives its channels; one a process is enough. Its destructor waits for the channels'
// last messages, see linger_ms.
class ChannelContext {
 public:
  explicit ChannelContext(int io_threads = 1);
  ~ChannelContext();
  ChannelContext(const ChannelContext&) = delete;
  ChannelContext& operator=(const ChannelContext&) = delete;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct ChannelOptions {
  // Messages queued to and from one peer before sending would block; 0: no limit. No limit is the default
  // because what may be in flight is bounded above this layer (a step's parts, one reply per request), and a
  // lost or refused part of a step would stall all members.
  int queue_limit = 0;
  // How long closing waits for what is queued: enough for last words to a living peer, little for a dead one.
  int linger_ms = 500;
  // Clients only: how the server sees this client, also after it has connected again. Empty: chosen at
  // random.
  std::string identity;
};

// Listens at ipc://PATH or tcp://HOST:PORT (port *: any free one). A left-over socket file is replaced, so
// take care that only one process serves a path (sengd locks its state directory).
Result<std::unique_ptr<ServerChannel>> bind_server(ChannelContext& context, const std::string& endpoint,
                                                   const ChannelOptions& options = {});

// Connects in the background, and again whenever the connection is lost. Whether anyone listens: see
// probe_endpoint.
Result<std::unique_ptr<ClientChannel>> connect_client(ChannelContext& context, const std::string& endpoint,
                                                      const ChannelOptions& options = {});

}  // namespace seng
