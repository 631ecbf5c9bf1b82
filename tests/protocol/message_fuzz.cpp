// Whole messages: the first two bytes say where frame 0 ends, the rest is payload; then the body of whatever
// kind the envelope names.
#include <algorithm>

#include "protocol/wire/message.h"
#include "tests/protocol/body_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace seng;
  if (size < 2) return 0;
  const std::size_t header = std::min<std::size_t>(data[0] << 8 | data[1], size - 2);
  const Frame all = Frame::copy_of(data + 2, size - 2);
  std::vector<Frame> frames = {all.part(0, header)};
  for (std::size_t at = header; at < all.size();) {
    const std::size_t part = std::min<std::size_t>(100, all.size() - at);
    frames.push_back(all.part(at, part));
    at += part;
  }
  Envelope envelope;
  const auto message = parse_message(frames, &envelope);
  if (!message) return 0;
  const auto again = encode_header(*message);
  require(again.has_value());
  const auto back = parse_message({Frame::from_string(*again)});
  require(back.has_value() && encode(back->envelope) == encode(message->envelope));
  require(back->body.text() == message->body.text());
  for (const BodyInfo& body : body_table<AllMessages>()) {
    if (static_cast<std::uint16_t>(body.kind) == message->envelope.kind)
      fuzz_body(body, message->body.bytes());
  }
  return 0;
}
