// The decoders of protocol/messages/control.h and queries.h.
#include "tests/protocol/body_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  seng::fuzz_conversation<seng::ControlMessages>(data, size);
  return 0;
}
