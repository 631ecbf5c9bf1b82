// The decoders of protocol/messages/lifecycle.h.
#include "tests/protocol/body_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  seng::fuzz_conversation<seng::LifecycleMessages>(data, size);
  return 0;
}
