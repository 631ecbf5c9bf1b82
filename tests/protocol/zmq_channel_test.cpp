// Channels over real sockets, with well-behaved clients, and with raw ZeroMQ and Unix sockets that send
// anything.
#include "protocol/channel/zmq_channel.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.hpp>

#include "protocol/base/limits.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/endpoint.h"
#include "protocol/channel/poller.h"
#include "protocol/messages/all.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/temp_dir.h"
#include "tests/protocol/wire_bytes.h"

namespace seng::zmq_channel_test {
namespace {

using ::testing::HasSubstr;

constexpr int kPatienceMs = 20'000;  // how long a test waits for what must come

// One server in a directory of its own, and whatever connects to it.
class ZmqChannelTest : public ::testing::Test {
 protected:
  TempDir dir_;
  ChannelContext context_;
  std::string endpoint_ = "ipc://" + dir_.file("s");

  std::unique_ptr<ServerChannel> serve(const ChannelOptions& options = {}) {
    auto server = bind_server(context_, endpoint_, options);
    EXPECT_TRUE(server) << server.error().message;
    return std::move(server).value();
  }
  std::unique_ptr<ClientChannel> client(const ChannelOptions& options = {}) {
    auto channel = connect_client(context_, endpoint_, options);
    EXPECT_TRUE(channel) << channel.error().message;
    return std::move(channel).value();
  }

  // Waits for the next message of either kind of channel.
  template <class Channel>
  static auto next(Channel& channel) {
    Poller poller;
    poller.watch(channel, 1);
    for (;;) {
      if (auto message = channel.try_receive()) return message;
      const auto ready = poller.wait(kPatienceMs);
      if (!ready || ready->empty()) {
        ADD_FAILURE() << "no message came";
        return channel.try_receive();
      }
    }
  }
};

void send_ok(ClientChannel& client, Message message) {
  const auto sent = client.send(std::move(message));
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(*sent, Sent::kQueued);
}

TEST_F(ZmqChannelTest, CarriesRequestsAndReplies) {
  const auto server = serve();
  const auto first = client(), second = client();
  send_ok(*first, make_message({}, DescribeRequest{"one"}));
  const auto one = next(*server);
  send_ok(*second, make_message({}, DescribeRequest{"two"}));
  const auto two = next(*server);
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->from, two->from);
  EXPECT_EQ(parse_body<DescribeRequest>(one->message)->job, "one");
  EXPECT_EQ(one->message.envelope.sequence, 1u);

  Envelope reply;
  reply.sequence = two->message.envelope.sequence;
  ASSERT_TRUE(server->send(two->from, make_message(reply, ErrorReply{ErrorCode::kNotFound, "for two"})));
  ASSERT_TRUE(server->send(one->from, make_message(reply, ErrorReply{ErrorCode::kNotFound, "for one"})));
  EXPECT_EQ(parse_body<ErrorReply>(*next(*first))->message, "for one");
  EXPECT_EQ(parse_body<ErrorReply>(*next(*second))->message, "for two");
  EXPECT_FALSE(first->try_receive());
  EXPECT_FALSE(server->try_receive());

  EXPECT_EQ(server->counters().messages_received, 2u);
  EXPECT_EQ(server->counters().messages_sent, 2u);
  EXPECT_EQ(first->counters().messages_sent, 1u);
  EXPECT_EQ(first->counters().bytes_sent,
            encode_header(make_message({.sequence = 1}, DescribeRequest{"one"}))->size());
}

TEST_F(ZmqChannelTest, CarriesPayloadOfAnySizeAligned) {
  const auto server = serve();
  const auto sender = client();
  std::mt19937_64 random(fresh_seed());
  const std::size_t sizes[] = {0,    1,    28,   33,   34,   100,  1023,  1024,
                               1025, 4096, 8000, 8191, 8192, 8193, 65536, 1 << 20};
  for (const std::size_t size : sizes) {
    std::string text(size, ' ');
    for (char& c : text) c = static_cast<char>(random());
    send_ok(*sender, make_message({}, Fragment{}, {Frame::from_string(text), Frame::from_string("tail")}));
    const auto got = next(*server);
    ASSERT_TRUE(got);
    ASSERT_EQ(got->message.payload.size(), 2u);
    EXPECT_EQ(got->message.payload[0].text(), text) << size;
    EXPECT_EQ(got->message.payload[1].text(), "tail");
    for (const Frame& frame : got->message.payload) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.data()) % 8, 0u) << size;
    }
  }
}

TEST_F(ZmqChannelTest, SendsLargePayloadWithoutCopyAndLetsItGo) {
  const auto server = serve();
  const auto sender = client();
  auto bytes = std::make_shared<std::string>(1 << 20, 'x');
  const std::weak_ptr<std::string> watch = bytes;
  Frame frame(bytes, bytes->data(), bytes->size());
  bytes.reset();
  send_ok(*sender, make_message({}, Fragment{}, {std::move(frame)}));
  const auto got = next(*server);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->message.payload.at(0).size(), std::size_t{1} << 20);
  // ZeroMQ's thread lets go after it has written the last byte, at about the time of its arrival.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (!watch.expired() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(watch.expired());
}

TEST_F(ZmqChannelTest, KeepsOrderOverManyMessages) {
  const auto server = serve();
  const auto sender = client();
  constexpr std::uint64_t kMessages = 5000;
  for (std::uint64_t i = 1; i <= kMessages; ++i) send_ok(*sender, make_message({.step = i}, Ready{}));
  for (std::uint64_t i = 1; i <= kMessages; ++i) {
    const auto got = next(*server);
    ASSERT_TRUE(got);
    ASSERT_EQ(got->message.envelope.step, i);
    ASSERT_EQ(got->message.envelope.sequence, i);
  }
}

TEST_F(ZmqChannelTest, ToAnUnknownPeerIsUnavailable) {
  const auto server = serve();
  const auto sent = server->send("nobody", make_message({}, Ready{}));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(server->counters().messages_sent, 0u);
}

TEST_F(ZmqChannelTest, ToAPeerThatHasGoneBecomesUnavailable) {
  const auto server = serve();
  auto gone = client();
  send_ok(*gone, make_message({}, Ready{}));
  const auto got = next(*server);
  ASSERT_TRUE(got);
  gone.reset();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  Result<Sent> sent = Sent::kQueued;
  while (sent && std::chrono::steady_clock::now() < deadline)
    sent = server->send(got->from, make_message({}, Ready{}));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kUnavailable);
}

TEST_F(ZmqChannelTest, QueuesUntilTheServerIsThere) {
  const auto sender = client();
  send_ok(*sender, make_message({}, DescribeRequest{"early"}));
  const auto server = serve();
  const auto got = next(*server);
  ASSERT_TRUE(got);
  EXPECT_EQ(parse_body<DescribeRequest>(got->message)->job, "early");
}

TEST_F(ZmqChannelTest, KeepsItsNameWhenTheServerStartsAgain) {
  // A process that ends: its sockets are closed when its context is.
  auto process = std::make_unique<ChannelContext>();
  auto server = bind_server(*process, endpoint_).value();
  const auto sender = client();
  send_ok(*sender, make_message({}, Ready{}));
  const auto before = next(*server);
  ASSERT_TRUE(before);
  server.reset();
  process.reset();

  server = serve();
  // What is sent before the loss is noticed is lost with the old connection.
  Poller poller;
  poller.watch(*server, 1);
  std::optional<ServerChannel::Incoming> after;
  for (int tries = 0; !after && tries < kPatienceMs / 20; ++tries) {
    send_ok(*sender, make_message({}, Ready{}));
    ASSERT_TRUE(poller.wait(20));
    after = server->try_receive();
  }
  ASSERT_TRUE(after);
  EXPECT_EQ(after->from, before->from);
  ASSERT_TRUE(server->send(after->from, make_message({}, Resume{})));
  EXPECT_TRUE(next(*sender));
}

TEST_F(ZmqChannelTest, IdentityIsAsChosenAndTakenOverByANewConnection) {
  const auto server = serve();
  auto old = client({.identity = "actor-7"});
  send_ok(*old, make_message({.step = 1}, Ready{}));
  EXPECT_EQ(next(*server)->from, "actor-7");
  const auto fresh = client({.identity = "actor-7"});
  send_ok(*fresh, make_message({.step = 2}, Ready{}));
  const auto got = next(*server);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->from, "actor-7");
  EXPECT_EQ(got->message.envelope.step, 2u);
  ASSERT_TRUE(server->send("actor-7", make_message({}, Resume{})));
  EXPECT_TRUE(next(*fresh));
}

TEST_F(ZmqChannelTest, AFullQueueIsAValue) {
  const auto sender = client({.queue_limit = 3, .linger_ms = 0});  // nobody listens
  for (int i = 0; i < 3; ++i) send_ok(*sender, make_message({}, Fragment{}, {Frame::from_string("x")}));
  const auto sent = sender->send(make_message({}, Fragment{}, {Frame::from_string("x")}));
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(*sent, Sent::kWouldBlock);
  EXPECT_EQ(sender->counters().messages_sent, 3u);
}

TEST_F(ZmqChannelTest, RefusesToSendBeyondTheLimits) {
  const auto sender = client({.linger_ms = 0});
  const auto sent = sender->send(make_message({}, StopTraining{std::string(kMaxStringBytes + 1, 'x')}));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(sent.error().message, HasSubstr("StopTraining.reason"));
}

// A raw DEALER that sends the frames it is told to.
class RawClient {
 public:
  explicit RawClient(const std::string& endpoint) : socket_(context_, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::linger, 2000);
    socket_.set(zmq::sockopt::rcvtimeo, kPatienceMs);
    socket_.connect(endpoint);
  }
  void send(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      socket_.send(zmq::buffer(frames[i]),
                   i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }
  Result<Message> receive() {
    std::vector<Frame> frames;
    for (bool more = true; more;) {
      zmq::message_t part;
      if (!socket_.recv(part)) return fail(ErrorCode::kTimeout, "no reply");
      more = part.more();
      frames.push_back(Frame::copy_of(part.data(), part.size()));
    }
    return parse_message(std::move(frames));
  }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

TEST_F(ZmqChannelTest, DropsAndCountsGarbage) {
  const auto server = serve();
  RawClient stranger(endpoint_);
  const std::string good = encode_header(make_message({}, Ready{})).value();
  std::mt19937_64 random(fresh_seed());
  std::string noise(200, ' ');
  for (char& c : noise) c = static_cast<char>(random());
  noise[0] = '\x01';  // surely no map
  const std::vector<std::vector<std::string>> garbage = {{""},
                                                         {"", ""},
                                                         {"", good},
                                                         {"GET / HTTP/1.1\r\n\r\n"},
                                                         {noise},
                                                         {noise, noise},
                                                         {good.substr(0, 7)},
                                                         {std::string(100'000, '\x91')},
                                                         {raw("df ff ff ff ff")},
                                                         std::vector<std::string>(1000, good)};
  for (const auto& frames : garbage) stranger.send(frames);
  stranger.send({good});
  const auto got = next(*server);
  ASSERT_TRUE(got);
  EXPECT_TRUE(parse_body<Ready>(got->message));
  EXPECT_EQ(server->counters().dropped, garbage.size());
  EXPECT_EQ(server->counters().messages_received, 1u);
}

TEST_F(ZmqChannelTest, AnswersUnknownKindsAndOtherVersions) {
  const auto server = serve();
  RawClient stranger(endpoint_);
  stranger.send({encode(Envelope{.minor = 9, .kind = 777, .job = 4, .sequence = 31}) + raw("80")});
  EXPECT_FALSE(server->try_receive());
  Poller poller;
  poller.watch(*server, 1);
  const auto turn = [&] {
    ASSERT_EQ(poller.wait(kPatienceMs)->size(), 1u);
    EXPECT_FALSE(server->try_receive());
  };
  turn();
  auto reply = stranger.receive();
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->envelope.sequence, 31u);
  EXPECT_EQ(reply->envelope.job, 4u);
  auto body = parse_body<ErrorReply>(*reply);
  ASSERT_TRUE(body);
  EXPECT_EQ(body->code, ErrorCode::kUnsupported);
  EXPECT_THAT(body->message, HasSubstr("kind 777"));

  stranger.send({encode(Envelope{.major = 2, .kind = 100, .sequence = 32}) + raw("80")});
  turn();
  reply = stranger.receive();
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->envelope.sequence, 32u);
  EXPECT_THAT(parse_body<ErrorReply>(*reply)->message, HasSubstr("protocol 2.0"));
  EXPECT_EQ(server->counters().dropped, 2u);
}

TEST_F(ZmqChannelTest, AFloodOfGarbageDoesNotHoldTheReceiver) {
  const auto server = serve();
  RawClient stranger(endpoint_);
  constexpr std::uint64_t kFlood = 1000;
  for (std::uint64_t i = 0; i < kFlood; ++i) stranger.send({"x"});
  Poller poller;
  poller.watch(*server, 1);
  while (server->counters().dropped < kFlood) {
    const std::uint64_t before = server->counters().dropped;
    ASSERT_EQ(poller.wait(kPatienceMs)->size(), 1u);
    EXPECT_FALSE(server->try_receive());
    EXPECT_LE(server->counters().dropped - before, 64u);
  }
}

TEST_F(ZmqChannelTest, OutlivesPeersThatDoNotSpeakZeroMq) {
  const auto server = serve();
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(4096, '\xff'), std::string()}) {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    endpoint_.copy(address.sun_path, kMaxSocketPathBytes, 6);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    (void)!send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  const auto sender = client();
  send_ok(*sender, make_message({}, Ready{}));
  EXPECT_TRUE(next(*server));
}

class DisconnectWatch : public zmq::monitor_t {
 public:
  bool seen = false;
  void on_event_disconnected(const zmq_event_t&, const char*) override { seen = true; }
};

TEST_F(ZmqChannelTest, AFrameBeyondTheLimitEndsItsConnectionOnly) {
  const auto server = serve();
  const auto bystander = client();
  zmq::context_t raw_context;
  zmq::socket_t giant(raw_context, zmq::socket_type::dealer);
  giant.set(zmq::sockopt::linger, 0);
  giant.set(zmq::sockopt::reconnect_ivl, -1);
  DisconnectWatch watch;
  watch.init(giant, "inproc://watch", ZMQ_EVENT_DISCONNECTED);
  giant.connect(endpoint_);
  giant.send(zmq::buffer(std::string(kMaxPayloadFrameBytes + 1, '\0')), zmq::send_flags::none);
  for (int tries = 0; !watch.seen && server->counters().dropped == 0 && tries < kPatienceMs / 10; ++tries) {
    watch.check_event(10);
    EXPECT_FALSE(server->try_receive());
  }
  EXPECT_TRUE(watch.seen);
  EXPECT_EQ(server->counters().dropped, 0u);
  send_ok(*bystander, make_message({}, Ready{}));
  EXPECT_TRUE(next(*server));
}

TEST_F(ZmqChannelTest, AClientOutlivesAGarbageServer) {
  zmq::context_t raw_context;
  zmq::socket_t server(raw_context, zmq::socket_type::router);
  server.bind(endpoint_);
  const auto sender = client();
  send_ok(*sender, make_message({}, Ready{}));
  zmq::message_t identity, header;
  ASSERT_TRUE(server.recv(identity));
  ASSERT_TRUE(server.recv(header));
  for (const std::string& text : {std::string("garbage"), encode(Envelope{.kind = 999}) + raw("80"),
                                  encode_header(make_message({}, Resume{})).value()}) {
    server.send(zmq::buffer(identity.to_string()), zmq::send_flags::sndmore);
    server.send(zmq::buffer(text));
  }
  const auto got = next(*sender);
  ASSERT_TRUE(got);
  EXPECT_TRUE(parse_body<Resume>(*got));
  EXPECT_EQ(sender->counters().dropped, 2u);
}

TEST_F(ZmqChannelTest, ServesLoopbackTcpOnAnyPort) {
  const auto server = bind_server(context_, "tcp://127.0.0.1:*");
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_THAT((*server)->endpoint(), ::testing::MatchesRegex("tcp://127.0.0.1:[0-9]+"));
  EXPECT_TRUE(probe_endpoint((*server)->endpoint()));
  endpoint_ = (*server)->endpoint();
  const auto sender = client();
  send_ok(*sender, make_message({}, Ready{}));
  EXPECT_TRUE(next(**server));
}

TEST_F(ZmqChannelTest, SaysWhyItCannotListen) {
  const auto missing = bind_server(context_, "ipc://" + dir_.file("none/s"));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr(dir_.file("none/s")));
  const auto server = bind_server(context_, "tcp://127.0.0.1:*");
  ASSERT_TRUE(server);
  const auto taken = bind_server(context_, (*server)->endpoint());
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("Address already in use"));
  EXPECT_FALSE(bind_server(context_, "tcp://0.0.0.0:7000"));
  EXPECT_FALSE(connect_client(context_, "tcp://example.com:7000"));
}

}  // namespace
}  // namespace seng::zmq_channel_test
