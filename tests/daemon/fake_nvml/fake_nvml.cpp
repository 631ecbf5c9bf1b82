// A management library with the GPUs that SENG_FAKE_GPUS names: "UUID|MODEL|MIB|USED_MIB|PERCENT;...". A
// percentage of "-" is one that the GPU does not give; one whose model is "-" does not answer.
// SENG_FAKE_NVML_FAILS: it cannot be used.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

struct nvmlDevice_st {
  std::string uuid, model, mib, used, percent;
};

namespace {

std::vector<nvmlDevice_st> devices;
bool initialised = false;

constexpr int kSuccess = 0, kUninitialised = 1, kNotSupported = 3, kDriverNotLoaded = 9, kGpuIsLost = 15;

}  // namespace

#define SENG_FAKE extern "C" __attribute__((visibility("default")))

SENG_FAKE int nvmlInit_v2() {
  if (std::getenv("SENG_FAKE_NVML_FAILS") != nullptr) return kDriverNotLoaded;
  devices.clear();
  const char* given = std::getenv("SENG_FAKE_GPUS");
  std::istringstream all(given == nullptr ? "" : given);
  for (std::string one; std::getline(all, one, ';');) {
    std::istringstream fields(one);
    nvmlDevice_st device;
    for (std::string* field : {&device.uuid, &device.model, &device.mib, &device.used, &device.percent})
      std::getline(fields, *field, '|');
    devices.push_back(device);
  }
  initialised = true;
  return kSuccess;
}
SENG_FAKE int nvmlShutdown() {
  initialised = false;
  return kSuccess;
}
SENG_FAKE const char* nvmlErrorString(int status) {
  return status == kDriverNotLoaded ? "Driver Not Loaded" : "Another Error";
}
SENG_FAKE int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(devices.size());
  return initialised ? kSuccess : kUninitialised;
}
SENG_FAKE int nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_st** device) {
  *device = &devices.at(index);
  if ((*device)->model == "-") return kGpuIsLost;
  return initialised ? kSuccess : kUninitialised;
}
SENG_FAKE int nvmlDeviceGetName(nvmlDevice_st* device, char* name, unsigned length) {
  std::snprintf(name, length, "%s", device->model.c_str());
  return kSuccess;
}
SENG_FAKE int nvmlDeviceGetUUID(nvmlDevice_st* device, char* uuid, unsigned length) {
  std::snprintf(uuid, length, "%s", device->uuid.c_str());
  return kSuccess;
}
SENG_FAKE int nvmlDeviceGetMemoryInfo(nvmlDevice_st* device, unsigned long long* memory) {
  const unsigned long long total = std::stoull(device->mib) << 20, used = std::stoull(device->used) << 20;
  const unsigned long long info[] = {total, total - used, used};
  std::memcpy(memory, info, sizeof info);
  return kSuccess;
}
SENG_FAKE int nvmlDeviceGetUtilizationRates(nvmlDevice_st* device, unsigned* rates) {
  if (device->percent == "-") return kNotSupported;
  rates[0] = static_cast<unsigned>(std::stoul(device->percent));
  rates[1] = 1;
  return kSuccess;
}
