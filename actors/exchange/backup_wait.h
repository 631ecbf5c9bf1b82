// Directions of a refresh step that wait until their block's backup has all fragments.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "actors/exchange/exchange.h"

namespace seng {

// Thread-safe.
class BackupWait {
 public:
  void begin();
  // The owner's word on a block is ready. True: the backup has said that it holds the fragments, go on; else
  // the word is kept until it does.
  bool ready(std::uint32_t block, const PublishWord& word);
  // The backup holds the block's fragments. Gives the word that waited for it.
  std::optional<PublishWord> held(std::uint32_t block);
  // Blocks whose word waits.
  std::vector<std::uint32_t> waiting() const;

 private:
  mutable std::mutex mutex_;
  std::set<std::uint32_t> held_;
  std::map<std::uint32_t, PublishWord> waiting_;
};

}  // namespace seng
