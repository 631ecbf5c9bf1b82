// Messages as frames: the envelope, the limits, the refusals.
#include "protocol/wire/message.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/messages/all.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/wire_bytes.h"

namespace seng {
namespace {

std::vector<Frame> frames_of(const Message& message) {
  std::vector<Frame> frames = {Frame::from_string(encode_header(message).value())};
  frames.insert(frames.end(), message.payload.begin(), message.payload.end());
  return frames;
}

TEST(Message, ComesBackWithEnvelopeBodyAndPayload) {
  RandomFill random(fresh_seed());
  auto envelope = random.make<Envelope>();
  envelope.major = kProtocolMajor;
  const std::string floats(40'000, 'f');
  const auto back = parse_message(frames_of(make_message(
      envelope, Fragment{1, 2, 3, 4, 5}, {Frame::from_string(floats), Frame(), Frame::from_string("x")})));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->envelope.kind, 303);
  envelope.kind = 303;
  EXPECT_EQ(encode(back->envelope), encode(envelope));
  const auto body = parse_body<Fragment>(*back);
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(body->total, 5u);
  ASSERT_EQ(back->payload.size(), 3u);
  EXPECT_EQ(back->payload[0].text(), floats);
  EXPECT_EQ(back->payload[1].size(), 0u);
  EXPECT_EQ(back->payload[2].text(), "x");
}

TEST(Message, IsNotAnotherKind) {
  const Message message = make_message({}, Parked{3});
  const auto body = parse_body<Ready>(message);
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(body.error().message, "expected Ready, found a message of kind 203");
}

TEST(Message, OfAnotherMajorVersionIsRefusedWithItsEnvelope) {
  Envelope envelope;
  envelope.major = kProtocolMajor + 1;
  envelope.minor = 7;
  envelope.sequence = 12;
  Envelope seen;
  const auto message = parse_message(frames_of(make_message(envelope, Ready{})), &seen);
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(message.error().message,
            "the sender speaks protocol 2.7, this process 1.0: run one version of seng on both");
  EXPECT_EQ(seen.sequence, 12u);
}

// Whoever asks a newer daemon must be able to read its refusal.
TEST(Message, RefusalOfAnotherMajorVersionIsRead) {
  Envelope envelope;
  envelope.major = kProtocolMajor + 1;
  const auto message =
      parse_message(frames_of(make_message(envelope, ErrorReply{ErrorCode::kUnsupported, "no"})));
  ASSERT_TRUE(message) << message.error().message;
  EXPECT_EQ(parse_body<ErrorReply>(*message)->message, "no");
}

TEST(Message, FromBadFramesIsRefused) {
  EXPECT_FALSE(parse_message({}));
  EXPECT_FALSE(parse_message({Frame()}));
  const auto text = parse_message({Frame::from_string("GET / HTTP/1.1")});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "envelope: expected a map, found an integer");
  const auto kind = parse_message({Frame::from_string(one_field(3, raw("a1 78")))});
  ASSERT_FALSE(kind);
  EXPECT_EQ(kind.error().message, "envelope.kind: expected an unsigned integer, found a string");

  const std::string header = encode_header(make_message({}, Reconfigure{{Member{}}})).value();
  const std::size_t envelope_size = encode(Envelope{.kind = 202}).size();
  for (std::size_t size = 0; size < header.size(); ++size) {
    const auto message = parse_message({Frame::copy_of(header.data(), size)});
    if (size < envelope_size) {
      EXPECT_FALSE(message) << size;
    } else {
      ASSERT_TRUE(message);
      EXPECT_FALSE(parse_body<Reconfigure>(*message)) << size;
    }
  }
}

TEST(Message, BeyondTheLimitsIsNeitherSentNorTaken) {
  const Frame small = Frame::from_string("x");
  const Frame claimed(small.owner(), small.data(), kMaxPayloadFrameBytes + 1);  // only its size is looked at
  const Message large = make_message({}, Ready{}, {claimed});
  const auto header = encode_header(large);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(parse_message({Frame::from_string(encode(Envelope{})), claimed}).error().code,
            ErrorCode::kExhausted);

  const Message many = make_message({}, Ready{}, std::vector<Frame>(kMaxPayloadFrames + 1, small));
  EXPECT_FALSE(encode_header(many));
  std::vector<Frame> frames(kMaxPayloadFrames + 2, small);
  frames[0] = Frame::from_string(encode(Envelope{}) + encode(Ready{}));
  EXPECT_EQ(parse_message(frames).error().code, ErrorCode::kExhausted);
  frames.pop_back();
  EXPECT_TRUE(parse_message(frames));

  // Nine strings within their limits, together above the header's.
  DescribeReply reply;
  for (int i = 0; i < 9; ++i) reply.events.push_back({.text = std::string(kMaxStringBytes, 'x')});
  const auto status = encode_header(make_message({}, reply));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kExhausted);
  EXPECT_FALSE(parse_message({Frame::from_string(std::string(kMaxHeaderBytes + 1, '\x80'))}));
}

TEST(Message, WithABodyBeyondALimitSaysSoWhenSent) {
  const Message message = make_message({}, StopTraining{std::string(kMaxStringBytes + 1, 'x')});
  const auto header = encode_header(message);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().message,
            "cannot send StopTraining.reason: 1048577 bytes, more than the 1048576 allowed");
}

}  // namespace
}  // namespace seng
