#include "actors/exchange/nccl/nccl_link.h"

#include <algorithm>
#include <cstring>

namespace seng::link {
namespace {

using Kind = Transfer::Kind;

std::shared_ptr<std::byte> pinned(std::size_t bytes) {
  void* memory = nullptr;
  SENG_LINK(cudaMallocHost(&memory, std::max<std::size_t>(bytes, 1)));
  return {static_cast<std::byte*>(memory), [](std::byte* held) { (void)cudaFreeHost(held); }};
}

}  // namespace

NcclLink::NcclLink(const Options& options) : rank_(options.rank) {
  SENG_LINK(cudaSetDevice(0));
  staging_ = pinned(options.staging_bytes);
  device_ = options.device;
  if (device_ == nullptr) {
    void* device = nullptr;
    SENG_LINK(cudaMalloc(&device, std::max<std::size_t>(options.staging_bytes, 1)));
    own_.reset(device_ = static_cast<std::byte*>(device));
  }
  cudaStream_t stream = nullptr;
  SENG_LINK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_.reset(stream);

  ncclUniqueId id{};
  if (options.identity.size() != sizeof id.internal)
    throw VendorError("NCCL: a unique id of " + std::to_string(options.identity.size()) + " bytes");
  std::memcpy(id.internal, options.identity.data(), sizeof id.internal);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t communicator = nullptr;
  const ncclResult_t begun = ncclCommInitRankConfig(&communicator, options.ranks, id, options.rank, &config);
  communicator_.reset(communicator);
  check(begun, "ncclCommInitRankConfig", __FILE__, __LINE__);
}

// The device may use the memory until the abort is through.
NcclLink::~NcclLink() {
  communicator_.reset();
  (void)cudaStreamSynchronize(stream_.get());
}

Link::Progress NcclLink::poll() {
  Progress progress;
  ncclResult_t state = ncclSuccess;
  SENG_LINK(ncclCommGetAsyncError(communicator_.get(), &state));
  if (state == ncclRemoteError) {
    progress.lost = words_of(state, communicator_.get());
    progress.finished = finished_;
    return progress;
  }
  if (state != ncclSuccess && state != ncclInProgress)
    throw_failure(words_of(state, communicator_.get()),
                  launching_ ? "ncclGroupEnd" : "ncclCommInitRankConfig", __FILE__, __LINE__);
  if (state == ncclSuccess && launching_) finish_launch();
  while (!in_flight_.empty()) {
    const cudaError_t done = cudaEventQuery(in_flight_.front().get());
    if (done == cudaErrorNotReady) break;
    check(done, "cudaEventQuery", __FILE__, __LINE__);
    events_.push_back(std::move(in_flight_.front()));
    in_flight_.pop_front();
    ++finished_;
  }
  progress.accepts = state == ncclSuccess;
  progress.finished = finished_;
  return progress;
}

void NcclLink::post(std::span<const Transfer> round) {
  round_.assign(round.begin(), round.end());
  for (const Transfer& transfer : round_) {
    if (!sends(transfer, rank_)) continue;
    SENG_LINK(cudaMemcpyAsync(device_ + transfer.offset, staging_.get() + transfer.offset,
                              transfer.bytes - transfer.unstaged, cudaMemcpyHostToDevice, stream_.get()));
  }
  SENG_LINK(ncclGroupStart());
  for (const Transfer& transfer : round_) start(transfer);
  SENG_LINK(ncclGroupEnd());
  launching_ = true;
}

void NcclLink::start(const Transfer& transfer) {
  std::byte* memory = device_ + transfer.offset;
  switch (transfer.kind) {
    case Kind::kSend:
      return SENG_LINK(
          ncclSend(memory, transfer.bytes, ncclUint8, transfer.peer, communicator_.get(), stream_.get()));
    case Kind::kReceive:
      return SENG_LINK(
          ncclRecv(memory, transfer.bytes, ncclUint8, transfer.peer, communicator_.get(), stream_.get()));
    case Kind::kBroadcast:
      return SENG_LINK(ncclBroadcast(memory, memory, transfer.bytes, ncclUint8, transfer.peer,
                                     communicator_.get(), stream_.get()));
    case Kind::kReduce:  // in place at the root
      return SENG_LINK(ncclReduce(memory, memory, transfer.bytes / sizeof(float), ncclFloat32, ncclSum,
                                  transfer.peer, communicator_.get(), stream_.get()));
  }
}

// Only now are the operations on the stream: what is queued there comes behind them.
void NcclLink::finish_launch() {
  for (const Transfer& transfer : round_) {
    if (!receives(transfer, rank_)) continue;
    SENG_LINK(cudaMemcpyAsync(staging_.get() + transfer.offset, device_ + transfer.offset,
                              transfer.bytes - transfer.unstaged, cudaMemcpyDeviceToHost, stream_.get()));
  }
  Event end = take_event();
  SENG_LINK(cudaEventRecord(end.get(), stream_.get()));
  in_flight_.push_back(std::move(end));
  launching_ = false;
}

NcclLink::Event NcclLink::take_event() {
  if (!events_.empty()) {
    Event event = std::move(events_.back());
    events_.pop_back();
    return event;
  }
  cudaEvent_t event = nullptr;
  SENG_LINK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return Event(event);
}

}  // namespace seng::link
