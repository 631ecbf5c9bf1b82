#include "daemon/gpus.h"

#include <array>

#include <dlfcn.h>
#include <fmt/format.h>

namespace seng {
namespace nvml {

// NVML's interface, as its manual has it: a status of 0 is success, handles are opaque.
using Handle = struct nvmlDevice_st*;
struct Memory {
  unsigned long long total, free, used;  // bytes
};
struct Utilization {
  unsigned gpu, memory;  // percent of the last sample period in which something ran
};

}  // namespace nvml

struct Gpus::Library {
  ~Library() {
    if (initialised) shutdown();
    if (handle != nullptr) dlclose(handle);
  }

  template <class Function>
  Status find(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(handle, name));
    if (function != nullptr) return {};
    return fail(ErrorCode::kUnavailable, fmt::format("{} has no function {}", path, name));
  }

  Status load(const std::string& library) {
    path = library;
    handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      return fail(ErrorCode::kUnavailable,
                  fmt::format("{}: it comes with the NVIDIA driver", why == nullptr ? library : why));
    }
    SENG_TRY(find("nvmlInit_v2", init));
    SENG_TRY(find("nvmlShutdown", shutdown));
    SENG_TRY(find("nvmlErrorString", error_string));
    SENG_TRY(find("nvmlDeviceGetCount_v2", count));
    SENG_TRY(find("nvmlDeviceGetHandleByIndex_v2", by_index));
    SENG_TRY(find("nvmlDeviceGetName", name));
    SENG_TRY(find("nvmlDeviceGetUUID", uuid));
    SENG_TRY(find("nvmlDeviceGetMemoryInfo", memory));
    SENG_TRY(find("nvmlDeviceGetUtilizationRates", utilization));
    SENG_TRY(check(init(), "nvmlInit"));
    initialised = true;
    return {};
  }

  Status check(int status, const std::string& call) const {
    if (status == 0) return {};
    return fail(ErrorCode::kUnavailable,
                fmt::format("the NVIDIA driver: {}: {}", call, error_string(status)));
  }

  std::string path;
  void* handle = nullptr;
  bool initialised = false;
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*by_index)(unsigned, nvml::Handle*) = nullptr;
  int (*name)(nvml::Handle, char*, unsigned) = nullptr;
  int (*uuid)(nvml::Handle, char*, unsigned) = nullptr;
  int (*memory)(nvml::Handle, nvml::Memory*) = nullptr;
  int (*utilization)(nvml::Handle, nvml::Utilization*) = nullptr;
};

Result<Gpus> Gpus::open(const std::string& library) {
  const auto made = std::make_shared<Library>();
  SENG_TRY(made->load(library));
  Gpus out;
  out.library_ = made;
  return out;
}

Result<std::vector<GpuRecord>> Gpus::read() const {
  const Library& nvml = *library_;
  unsigned count = 0;
  SENG_TRY(nvml.check(nvml.count(&count), "nvmlDeviceGetCount"));
  std::vector<GpuRecord> out;
  for (unsigned index = 0; index < count; ++index) {
    const std::string which = fmt::format(" of GPU {}", index);
    nvml::Handle device = nullptr;
    std::array<char, 128> uuid{}, name{};
    Status known = nvml.check(nvml.by_index(index, &device), "nvmlDeviceGetHandleByIndex" + which);
    if (known) known = nvml.check(nvml.uuid(device, uuid.data(), uuid.size()), "nvmlDeviceGetUUID" + which);
    if (known) known = nvml.check(nvml.name(device, name.data(), name.size()), "nvmlDeviceGetName" + which);
    GpuRecord gpu;
    gpu.model = known ? std::string(name.data()) : known.error().message;
    out.push_back(gpu);
    if (!known) continue;
    out.back().uuid = uuid.data();
    nvml::Memory memory{};
    if (nvml.memory(device, &memory) == 0) {
      out.back().memory_bytes = memory.total;
      out.back().memory_used_bytes = memory.used;
    }
    nvml::Utilization busy{};
    if (nvml.utilization(device, &busy) == 0) out.back().utilisation = busy.gpu / 100.0;
  }
  return out;
}

}  // namespace seng
