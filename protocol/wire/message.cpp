#include "protocol/wire/message.h"

#include <fmt/format.h>

namespace seng {
namespace {

Status check_sizes(std::size_t header, std::span<const Frame> payload) {
  if (header > kMaxHeaderBytes) {
    return fail(ErrorCode::kExhausted,
                fmt::format("the header has {} bytes, more than the {} allowed", header, kMaxHeaderBytes));
  }
  if (payload.size() > kMaxPayloadFrames) {
    return fail(ErrorCode::kExhausted, fmt::format("{} payload frames, more than the {} allowed",
                                                   payload.size(), kMaxPayloadFrames));
  }
  for (const Frame& frame : payload) {
    if (frame.size() > kMaxPayloadFrameBytes) {
      return fail(ErrorCode::kExhausted, fmt::format("a payload frame of {} bytes, more than the {} allowed",
                                                     frame.size(), kMaxPayloadFrameBytes));
    }
  }
  return {};
}

}  // namespace

Result<std::string> encode_header(const Message& message) {
  if (message.refused) return fail(*message.refused);
  std::string header = encode(message.envelope);
  SENG_TRY(check_sizes(header.size() + message.body.size(), message.payload));
  header += message.body.text();
  return header;
}

Result<Message> parse_message(std::vector<Frame> frames, Envelope* envelope) {
  if (frames.empty()) return fail(ErrorCode::kCorrupt, "a message without frames");
  const Frame header = std::move(frames.front());
  frames.erase(frames.begin());
  SENG_TRY(check_sizes(header.size(), frames));
  std::size_t used = 0;
  auto read = decode_prefix<Envelope>(header.bytes(), used, "envelope");
  if (!read) return fail(std::move(read).error());
  if (envelope) *envelope = *read;
  if (read->major != kProtocolMajor && read->kind != kRefusalKind) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the sender speaks protocol {}.{}, this process {}.{}: run one version of seng on both",
                    read->major, read->minor, kProtocolMajor, kProtocolMinor));
  }
  return Message{*read, header.part(used, header.size() - used), std::move(frames), {}};
}

}  // namespace seng
