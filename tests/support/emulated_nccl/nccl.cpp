#include "tests/support/emulated_nccl/nccl.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <sys/random.h>

#include "tests/support/emulated_nccl/communicator.h"
#include "tests/support/emulated_nccl/runtime.h"

using emulated_nccl::Communicator;
using Operations = std::vector<Communicator::Operation>;

// At its root: what the others send lands beside the root's own, and is added when all is there.
struct Reduction {
  float* own = nullptr;
  std::size_t count = 0;
  std::vector<std::unique_ptr<float[]>> landed;  // in the order of addition

  // As a ring does, which ends at the root: so the order depends on how many there are, and on who is root.
  void add() const {
    std::vector<float> total(count);
    emulated_nccl::move_bytes(total.data(), own, count * sizeof(float));
    for (std::size_t i = 0; i < count; ++i) {
      float sum = landed[0][i];
      for (std::size_t rank = 1; rank < landed.size(); ++rank) sum += landed[rank][i];
      total[i] = sum + total[i];
    }
    emulated_nccl::move_bytes(own, total.data(), count * sizeof(float));
  }
};
struct Launch {
  Operations operations;
  std::vector<Reduction> reductions;
};

struct ncclComm {
  std::shared_ptr<Communicator> communicator;
  // A group that has ended and comes to the stream with the next look.
  std::shared_ptr<Launch> launching;
  cudaStream_t stream = nullptr;
  std::uint64_t groups = 0;
};

namespace {

struct Group {
  bool open = false;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  Launch launch;
};
thread_local Group group;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

ncclResult_t add(ncclComm_t comm, cudaStream_t stream, bool sends, int peer, const void* memory,
                 std::size_t bytes) {
  if (!group.open || !emulated_nccl::on_device(memory, bytes)) return ncclInvalidArgument;
  if (peer < 0 || peer >= comm->communicator->ranks() || peer == comm->communicator->rank())
    return ncclInvalidArgument;
  group.comm = comm;
  group.stream = stream;
  group.launch.operations.push_back({.sends = sends,
                                     .peer = peer,
                                     .memory = static_cast<std::byte*>(const_cast<void*>(memory)),
                                     .bytes = bytes});
  return ncclSuccess;
}

void launch(ncclComm_t comm) {
  const auto launched = std::exchange(comm->launching, nullptr);
  const auto communicator = comm->communicator;
  emulated_nccl::queue(comm->stream, [launched, communicator] {
    if (!communicator->advance(launched->operations)) return false;
    if (communicator->aborted()) return true;
    for (const Reduction& reduction : launched->reductions) reduction.add();
    return true;
  });
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  *version = 22809;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return getrandom(id->internal, sizeof id->internal, 0) == sizeof id->internal ? ncclSuccess
                                                                                : ncclSystemError;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config->blocking != 0) return ncclInvalidArgument;  // nobody may wait for ranks that do not come
  std::string name;
  for (int i = 0; i < 16; ++i) {
    const char digits[] = "0123456789abcdef";
    name += digits[static_cast<unsigned char>(id.internal[i]) / 16];
    name += digits[static_cast<unsigned char>(id.internal[i]) % 16];
  }
  *comm = new ncclComm{.communicator = std::make_shared<Communicator>(name, rank, ranks)};
  return ncclInProgress;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->communicator->abort();
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  *error = comm->communicator->state();
  if (*error == ncclSuccess && comm->launching) launch(comm);
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInvalidUsage:
      return "invalid usage";
    default:
      return "an error";
  }
}
const char* ncclGetLastError(ncclComm_t comm) {
  return comm == nullptr ? "" : comm->communicator->words().c_str();
}
ncclResult_t ncclGroupStart() {
  group = {};
  group.open = true;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  Group ended = std::exchange(group, {});
  if (ended.launch.operations.empty()) return ncclSuccess;
  if (ended.comm->launching) return ncclInvalidUsage;  // the one before is not on its way yet
  ended.comm->launching = std::make_shared<Launch>(std::move(ended.launch));
  ended.comm->stream = ended.stream;
  const bool here = setting("SENG_EMULATED_NCCL_FAILS_RANK", 0) ==
                    static_cast<std::uint64_t>(ended.comm->communicator->rank());
  if (++ended.comm->groups == setting("SENG_EMULATED_NCCL_FAILS_AFTER", 0) && here)
    ended.comm->communicator->fail(ncclSystemError, "this is a drill");
  return ncclInProgress;
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(comm, stream, true, peer, from, count);
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add(comm, stream, false, peer, to, count);
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  if (root != comm->communicator->rank()) return add(comm, stream, false, root, to, count);
  for (int peer = 0; peer < comm->communicator->ranks(); ++peer) {
    if (peer == root) continue;
    if (const auto added = add(comm, stream, true, peer, from, count); added != ncclSuccess) return added;
  }
  return ncclSuccess;
}
ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t,
                        int root, ncclComm_t comm, cudaStream_t stream) {
  const std::size_t bytes = count * sizeof(float);
  if (type != ncclFloat32 || from != to) return ncclInvalidArgument;
  const int ranks = comm->communicator->ranks();
  if (root != comm->communicator->rank()) return add(comm, stream, true, root, from, bytes);
  if (!group.open || !emulated_nccl::on_device(from, bytes)) return ncclInvalidArgument;
  Reduction reduction{static_cast<float*>(to), count, {}};
  for (int i = 1; i < ranks; ++i) {
    auto& landed = reduction.landed.emplace_back(std::make_unique<float[]>(count));
    group.launch.operations.push_back({.sends = false,
                                       .peer = (root + i) % ranks,
                                       .memory = reinterpret_cast<std::byte*>(landed.get()),
                                       .bytes = bytes});
  }
  group.comm = comm;
  group.stream = stream;
  group.launch.reductions.push_back(std::move(reduction));
  return ncclSuccess;
}
