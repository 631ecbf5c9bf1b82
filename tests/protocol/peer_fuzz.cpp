// The decoders of protocol/messages/peer.h.
#include "tests/protocol/body_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  seng::fuzz_conversation<seng::PeerMessages>(data, size);
  return 0;
}
