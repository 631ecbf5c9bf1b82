// What checkpoints do to a file system, so that tests can make any of it fail or stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

// A file being written. Errors name the path and have errno's text; a full disk is kExhausted.
class OutputFile {
 public:
  virtual ~OutputFile() = default;  // closes; what was not synced may be lost
  virtual Status append(const void* data, std::size_t size) = 0;
  virtual Status sync() = 0;
};

// Every change of the file system. Implementations hold no state between calls; one thread at a time.
class Storage {
 public:
  virtual ~Storage() = default;
  // With missing parents, mode 0700, durable; one that exists is left as it is.
  virtual Status make_directory(const std::string& path) = 0;
  // Mode 0600; what was there is gone.
  virtual Result<std::unique_ptr<OutputFile>> create(const std::string& path) = 0;
  // Makes the names in the directory durable.
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  // Swaps two directories in one step where the file system can (renameat2), else kUnsupported.
  virtual Status exchange(const std::string& one, const std::string& other) = 0;
  virtual Status remove_file(const std::string& path) = 0;
  // The file or directory and all below; symbolic links are not followed.
  virtual Status remove_tree(const std::string& path) = 0;
};

Storage& posix_storage();

}  // namespace seng
