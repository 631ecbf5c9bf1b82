#include "protocol/channel/zmq_channel.h"

#include <cerrno>
#include <chrono>
#include <random>
#include <utility>

#include <fmt/format.h>
#include <zmq.hpp>

#include "protocol/base/log.h"
#include "protocol/channel/endpoint.h"
#include "protocol/messages/control.h"
#include "protocol/messages/kinds.h"

namespace seng {

struct ChannelContext::Impl {
  explicit Impl(int io_threads) : context(io_threads) {}
  zmq::context_t context;
};

ChannelContext::ChannelContext(int io_threads) : impl_(std::make_unique<Impl>(io_threads)) {}
ChannelContext::~ChannelContext() = default;

namespace {

constexpr std::size_t kCopiedBytes = 1024;  // below, a copy costs less than the owner's allocation
constexpr std::size_t kAlignment = 8;       // of received payload, which holds numbers
constexpr int kDroppedInOneCall = 64;  // bad messages passed over before the caller may see to other things

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string random_identity() {
  std::random_device random;
  std::string identity = "c";  // ROUTER reserves a leading zero byte
  for (int i = 0; i < 4; ++i) identity += fmt::format("{:08x}", random());
  return identity;
}

zmq::message_t to_zmq(const Frame& frame) {
  if (frame.size() < kCopiedBytes) return zmq::message_t(frame.data(), frame.size());
  auto* owner = new std::shared_ptr<const void>(frame.owner());
  // ZeroMQ only reads the bytes.
  return zmq::message_t(
      const_cast<std::byte*>(frame.data()), frame.size(),
      [](void*, void* hint) { delete static_cast<std::shared_ptr<const void>*>(hint); }, owner);
}

Frame to_frame(zmq::message_t&& message) {
  const void* data = message.data();
  if (reinterpret_cast<std::uintptr_t>(data) % kAlignment != 0) return Frame::copy_of(data, message.size());
  // A short message lives inside the object: its address is fixed only once that is.
  auto owner = std::make_shared<zmq::message_t>(std::move(message));
  const void* start = owner->data();
  const std::size_t size = owner->size();
  if (reinterpret_cast<std::uintptr_t>(start) % kAlignment != 0) return Frame::copy_of(start, size);
  return Frame(std::move(owner), start, size);
}

// Calls a send or receive of cppzmq again where a signal came between: also one that does not wait may say
// EINTR.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    try {
      return call();
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }
}

void configure(zmq::socket_t& socket, const ChannelOptions& options) {
  socket.set(zmq::sockopt::sndhwm, options.queue_limit);
  socket.set(zmq::sockopt::rcvhwm, options.queue_limit);
  socket.set(zmq::sockopt::linger, options.linger_ms);
  // A longer frame ends its sender's connection before memory is taken for it.
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(kMaxPayloadFrameBytes));
  socket.set(zmq::sockopt::reconnect_ivl, 20);
  socket.set(zmq::sockopt::reconnect_ivl_max, 500);
}

// What both kinds share: one socket, messages in and out of it, counting.
class ZmqSocket {
 public:
  ZmqSocket(ChannelContext& context, zmq::socket_type type, const ChannelOptions& options)
      : socket_(context.impl().context, type) {
    configure(socket_, options);
  }

  zmq::socket_t& socket() { return socket_; }
  PollHandle handle() const { return {const_cast<zmq::socket_t&>(socket_).handle(), -1}; }
  ChannelCounters& counters() { return counters_; }
  const ChannelCounters& counters() const { return counters_; }

  // `to` leads the frames unless it is null.
  Result<Sent> send(const PeerId* to, Message& message) {
    if (message.envelope.sequence == 0) message.envelope.sequence = ++sequence_;
    auto header = encode_header(message);
    if (!header) return fail(std::move(header).error());
    std::uint64_t bytes = header->size();
    for (const Frame& frame : message.payload) bytes += frame.size();
    try {
      const auto sent = put_frames(to, *header, message.payload);
      if (sent && *sent == Sent::kQueued) {
        ++counters_.messages_sent;
        counters_.bytes_sent += bytes;
      }
      return sent;
    } catch (const zmq::error_t& error) {
      const bool gone = error.num() == EHOSTUNREACH;
      return fail(ErrorCode::kUnavailable, gone ? std::string("the peer is not connected")
                                                : fmt::format("cannot send: {}", error.what()));
    }
  }

  // All frames of the next message, the excess of an absurd one left out; empty: none is there.
  std::vector<Frame> receive() {
    std::vector<Frame> frames;
    for (bool more = true; more;) {
      zmq::message_t part;
      // Once a message's first frame is there all of it is.
      if (!uninterrupted([&] { return socket_.recv(part, zmq::recv_flags::dontwait); })) return {};
      more = part.more();
      counters_.bytes_received += part.size();
      if (frames.size() < kMaxPayloadFrames + 3) frames.push_back(to_frame(std::move(part)));
    }
    return frames;
  }

  // The frames' message, or the error that says why they are none.
  Result<Message> parse(std::vector<Frame> frames, Envelope* envelope) {
    auto message = parse_message(std::move(frames), envelope);
    if (message && message_kind_name(message->envelope.kind).empty()) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format(
              "messages of kind {} are unknown to seng's protocol {}.{}: the sender is newer (it has {}.{})",
              message->envelope.kind, kProtocolMajor, kProtocolMinor, message->envelope.major,
              message->envelope.minor));
    }
    if (message) ++counters_.messages_received;
    return message;
  }

  void drop(const Error& error) {
    ++counters_.dropped;
    if (const std::uint64_t count = throttle_.admit(steady_seconds()); count != 0) {
      log_warning("dropped {} received message{}: {}", count, count == 1 ? "" : "s", error.message);
    }
  }

 private:
  Result<Sent> put_frames(const PeerId* to, const std::string& header, const std::vector<Frame>& payload) {
    using zmq::send_flags;
    bool first = true, lost = false;
    const auto put = [&](zmq::message_t&& part, bool last) {
      const auto flags = last ? send_flags::dontwait : send_flags::dontwait | send_flags::sndmore;
      // Refused in the middle, the connection has died: ZeroMQ swallows the rest of the message, if it gets
      // it.
      if (!uninterrupted([&] { return socket_.send(part, flags); })) (first ? blocked_ : lost) = true;
      first = false;
    };
    blocked_ = false;
    if (to) put(zmq::message_t(to->data(), to->size()), false);
    if (!blocked_) put(zmq::message_t(header.data(), header.size()), payload.empty());
    for (std::size_t i = 0; i < payload.size() && !blocked_; ++i)
      put(to_zmq(payload[i]), i + 1 == payload.size());
    if (blocked_) return Sent::kWouldBlock;
    if (lost) return fail(ErrorCode::kUnavailable, "the connection was lost while sending");
    return Sent::kQueued;
  }

  zmq::socket_t socket_;
  ChannelCounters counters_;
  LogThrottle throttle_;
  std::uint64_t sequence_ = 0;
  bool blocked_ = false;
};

class ZmqServer final : public ServerChannel {
 public:
  ZmqServer(ChannelContext& context, const ChannelOptions& options)
      : base_(context, zmq::socket_type::router, options) {
    base_.socket().set(zmq::sockopt::router_mandatory, true);
    // A client that connects again takes its identity along, from a connection that may not be seen to be
    // dead yet.
    base_.socket().set(zmq::sockopt::router_handover, true);
  }

  void bind(const std::string& endpoint) {
    base_.socket().bind(endpoint);
    endpoint_ = base_.socket().get(zmq::sockopt::last_endpoint);
  }

  Result<Sent> send(const PeerId& to, Message message) override { return base_.send(&to, message); }

  std::optional<Incoming> try_receive() override {
    for (int i = 0; i < kDroppedInOneCall; ++i) {
      std::vector<Frame> frames = base_.receive();
      if (frames.empty()) return std::nullopt;
      PeerId from(frames.front().text());
      frames.erase(frames.begin());
      Envelope envelope;
      auto message = base_.parse(std::move(frames), &envelope);
      if (message) return Incoming{std::move(from), *std::move(message)};
      base_.drop(message.error());
      if (message.error().code == ErrorCode::kUnsupported) refuse(from, envelope, message.error());
    }
    return std::nullopt;
  }

  const std::string& endpoint() const override { return endpoint_; }
  ChannelCounters counters() const override { return base_.counters(); }
  PollHandle poll_handle() const override { return base_.handle(); }

 private:
  // An answer to an answer could go round for ever, so errors are not answered. Nobody waits for the outcome.
  void refuse(const PeerId& to, const Envelope& request, const Error& error) {
    if (request.kind == static_cast<std::uint16_t>(MessageKind::kError)) return;
    Envelope envelope;
    envelope.job = request.job;
    envelope.sequence = request.sequence;
    (void)send(to, make_message(envelope, ErrorReply{error.code, error.message}));
  }

  ZmqSocket base_;
  std::string endpoint_;
};

class ZmqClient final : public ClientChannel {
 public:
  ZmqClient(ChannelContext& context, const ChannelOptions& options)
      : base_(context, zmq::socket_type::dealer, options) {
    base_.socket().set(zmq::sockopt::routing_id,
                       options.identity.empty() ? random_identity() : options.identity);
  }

  void connect(const std::string& endpoint) { base_.socket().connect(endpoint); }

  Result<Sent> send(Message message) override { return base_.send(nullptr, message); }

  std::optional<Message> try_receive() override {
    for (int i = 0; i < kDroppedInOneCall; ++i) {
      std::vector<Frame> frames = base_.receive();
      if (frames.empty()) return std::nullopt;
      auto message = base_.parse(std::move(frames), nullptr);
      if (message) return *std::move(message);
      base_.drop(message.error());
    }
    return std::nullopt;
  }

  ChannelCounters counters() const override { return base_.counters(); }
  PollHandle poll_handle() const override { return base_.handle(); }

 private:
  ZmqSocket base_;
};

}  // namespace

Result<std::unique_ptr<ServerChannel>> bind_server(ChannelContext& context, const std::string& endpoint,
                                                   const ChannelOptions& options) {
  SENG_TRY(check_endpoint(endpoint));
  try {
    auto server = std::make_unique<ZmqServer>(context, options);
    server->bind(endpoint);
    return server;
  } catch (const zmq::error_t& error) {
    return fail(ErrorCode::kIo, fmt::format("cannot listen at {}: {}", endpoint, error.what()));
  }
}

Result<std::unique_ptr<ClientChannel>> connect_client(ChannelContext& context, const std::string& endpoint,
                                                      const ChannelOptions& options) {
  SENG_TRY(check_endpoint(endpoint));
  try {
    auto client = std::make_unique<ZmqClient>(context, options);
    client->connect(endpoint);
    return client;
  } catch (const zmq::error_t& error) {
    return fail(ErrorCode::kIo, fmt::format("cannot connect to {}: {}", endpoint, error.what()));
  }
}

}  // namespace seng
