// A link over NCCL: what is staged is copied from pinned memory of the host to the device, travels between
// devices, and is copied back; the rest stays there. All on one stream, so rounds go one after another on the
// device while the host prepares the next.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "actors/exchange/device_link.h"
#include "actors/exchange/nccl/nccl_check.h"

namespace seng::link {

class NcclLink final : public Link {
 public:
  explicit NcclLink(const Options& options);
  ~NcclLink() override;

  std::shared_ptr<std::byte> staging() override { return staging_; }
  Progress poll() override;
  void post(std::span<const Transfer> round) override;

 private:
  // Aborts: a communicator that is destroyed in peace would wait for ranks that may have gone.
  struct Abort {
    void operator()(ncclComm_t communicator) const { (void)ncclCommAbort(communicator); }
  };
  struct FreeDevice {
    void operator()(std::byte* memory) const { (void)cudaFree(memory); }
  };
  struct DestroyStream {
    void operator()(cudaStream_t stream) const { (void)cudaStreamDestroy(stream); }
  };
  struct DestroyEvent {
    void operator()(cudaEvent_t event) const { (void)cudaEventDestroy(event); }
  };
  template <class Pointer, class Destroy>
  using Handle = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy>;
  using Event = Handle<cudaEvent_t, DestroyEvent>;

  void start(const Transfer& transfer);
  void finish_launch();
  Event take_event();

  const int rank_;
  std::shared_ptr<std::byte> staging_;          // pinned
  std::unique_ptr<std::byte, FreeDevice> own_;  // null: the caller's is used
  std::byte* device_ = nullptr;                 // laid out alike
  Handle<cudaStream_t, DestroyStream> stream_;
  std::unique_ptr<std::remove_pointer_t<ncclComm_t>, Abort> communicator_;  // goes first
  bool launching_ = false;       // a round's operations are on their way to the stream
  std::vector<Transfer> round_;  // that one
  std::deque<Event> in_flight_;  // the ends of those behind it
  std::vector<Event> events_;    // to be used again
  std::uint64_t finished_ = 0;
};

}  // namespace seng::link
