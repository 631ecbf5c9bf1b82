// The machine's GPUs, as NVIDIA's management library (NVML) tells of them. It is loaded when it is asked for,
// so that sengd runs where there is none; nothing of CUDA is needed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/records.h"

namespace seng {

inline constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

class Gpus {
 public:
  // `library`: a path, or a name that the dynamic linker looks for. kUnavailable says what is missing: the
  // library, a function of it, or the driver's answer. It stays open as long as this does; not to be kept
  // over a fork.
  static Result<Gpus> open(const std::string& library);

  // All that the driver shows, in its order. A figure that a GPU does not give is unknown (records.h). One
  // that does not answer keeps its place, for others are numbered by theirs: without a UUID, and with what
  // the driver says in the place of its model.
  Result<std::vector<GpuRecord>> read() const;

 private:
  struct Library;
  std::shared_ptr<const Library> library_;
};

}  // namespace seng
