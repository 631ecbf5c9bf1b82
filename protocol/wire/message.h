// A message between two processes: an envelope, a body (one of messages/*.h) and raw payload frames.
// On the wire: frame 0 holds the envelope's bytes and behind them the body's; frames 1.. are the payload.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/error.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/envelope.h"

namespace seng {

struct Message {
  Envelope envelope;
  Frame body;                  // encoded; parse_body() reads it
  std::vector<Frame> payload;  // shared, never copied on its way
  // Set by make_message() where the body exceeds a limit of the protocol. Sending then returns this error.
  std::optional<Error> refused;
};

// The envelope's kind is set from the body's type.
template <class Body>
Message make_message(Envelope envelope, const Body& body, std::vector<Frame> payload = {}) {
  envelope.kind = static_cast<std::uint16_t>(Body::kKind);
  Message message{envelope, {}, std::move(payload), {}};
  auto bytes = encode_checked(body);
  if (bytes) {
    message.body = Frame::from_string(*std::move(bytes));
  } else {
    message.refused = std::move(bytes).error();
  }
  return message;
}

// The body as a Body; kCorrupt when the message is of another kind or its bytes are off. Says nothing of the
// payload.
template <class Body>
Result<Body> parse_body(const Message& message) {
  if (message.envelope.kind != static_cast<std::uint16_t>(Body::kKind)) {
    return fail(ErrorCode::kCorrupt, "expected " + std::string(wire_detail::name_of<Body>()) +
                                         ", found a message of kind " +
                                         std::to_string(message.envelope.kind));
  }
  return decode<Body>(message.body.bytes());
}

// Frame 0. kExhausted when it or the payload exceeds a limit, or the message was refused.
Result<std::string> encode_header(const Message& message);

// A message from its frames. Reads the envelope and checks all sizes; the body stays bytes. kCorrupt or
// kExhausted for bad frames, kUnsupported where the sender speaks another major version: `envelope` (if not
// null) is set whenever it could be read, so that the refusal can be answered.
Result<Message> parse_message(std::vector<Frame> frames, Envelope* envelope = nullptr);

}  // namespace seng
