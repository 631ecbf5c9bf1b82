// A link to members that are not there, and what becomes of it as the test wants it.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "actors/exchange/device_link.h"

namespace seng::testing {

enum class LinkPlay {
  kNobodyComes,    // it never opens
  kFailsToOpen,    // as one whose peer dies while the communicator forms may
  kFailsWhenOpen,  // with the first look after it has opened
};
inline std::atomic<LinkPlay> link_play{LinkPlay::kNobodyComes};
inline std::atomic<int> link_failures{0};
inline constexpr char kPlayedFailure[] = "NCCL: unhandled system error: as the test wants it";

class PlayedLink final : public link::Link {
 public:
  explicit PlayedLink(const link::Options& options)
      : staging_(new std::byte[options.staging_bytes](), std::default_delete<std::byte[]>()) {}
  std::shared_ptr<std::byte> staging() override { return staging_; }
  Progress poll() override {
    if (link_play == LinkPlay::kNobodyComes) return {};
    // No round has been posted since the last look: it was open then.
    const bool open = looked_ && posted_ == seen_;
    if (link_play == LinkPlay::kFailsToOpen || open) {
      ++link_failures;
      throw VendorError(kPlayedFailure);
    }
    looked_ = true;
    seen_ = posted_;
    return {.accepts = posted_ < kMeetings, .finished = posted_, .lost = {}};
  }
  void post(std::span<const link::Transfer>) override { ++posted_; }

 private:
  static constexpr std::uint64_t kMeetings = 2;  // rounds before it is open
  std::shared_ptr<std::byte> staging_;
  bool looked_ = false;
  std::uint64_t posted_ = 0, seen_ = 0;
};

inline const link::Module* played_link() {
  static const link::Module module{.interface = link::kInterface,
                                   .version = [] { return std::uint32_t{22809}; },
                                   .gpu = [] { return std::string("GPU-played"); },
                                   .make_identity = [] { return std::string("played"); },
                                   .open = [](const link::Options& options) -> std::unique_ptr<link::Link> {
                                     return std::make_unique<PlayedLink>(options);
                                   }};
  return &module;
}

}  // namespace seng::testing
