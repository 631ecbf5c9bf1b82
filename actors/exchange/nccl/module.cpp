#include <cstdio>

#include "actors/exchange/nccl/nccl_link.h"

namespace seng::link {
namespace {

std::uint32_t version() {
  int version = 0;
  SENG_LINK(ncclGetVersion(&version));
  return static_cast<std::uint32_t>(version);
}

// As nvidia-smi writes it.
std::string gpu() {
  cudaDeviceProp properties;
  SENG_LINK(cudaGetDeviceProperties(&properties, 0));
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    char byte[4];
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(properties.uuid.bytes[i]));
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += byte;
  }
  return text;
}

std::string make_identity() {
  ncclUniqueId id;
  SENG_LINK(ncclGetUniqueId(&id));
  return {id.internal, sizeof id.internal};
}

}  // namespace
}  // namespace seng::link

extern "C" __attribute__((visibility("default"))) const seng::link::Module seng_nccl_module;
const seng::link::Module seng_nccl_module = {
    seng::link::kInterface, seng::link::version, seng::link::gpu, seng::link::make_identity,
    [](const seng::link::Options& options) -> std::unique_ptr<seng::link::Link> {
      return std::make_unique<seng::link::NcclLink>(options);
    }};
