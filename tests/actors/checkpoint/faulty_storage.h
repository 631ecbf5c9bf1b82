// The real file system with two switches: one operation that fails, or a point after which nothing happens
// any more.
#pragma once

#include <limits>

#include "actors/checkpoint/storage.h"

namespace seng {

class FaultyStorage : public Storage {
 public:
  static constexpr int kNever = std::numeric_limits<int>::max();

  int fail_at = kNever;  // this operation (from 0) fails with kExhausted; an append stores the first half
  int stop_at = kNever;  // from this one on nothing reaches the disk, as after kill -9
  bool no_exchange = false;
  int operations = 0;  // counted so far, those of files included

  Status make_directory(const std::string& path) override {
    return guard([&] { return disk_.make_directory(path); });
  }
  Result<std::unique_ptr<OutputFile>> create(const std::string& path) override {
    if (Status status = guard([] { return Status(); }); !status) return fail(status.error());
    auto file = disk_.create(path);
    if (!file) return fail(file.error());
    return std::make_unique<File>(*this, std::move(*file));
  }
  Status sync_directory(const std::string& path) override {
    return guard([&] { return disk_.sync_directory(path); });
  }
  Status rename(const std::string& from, const std::string& to) override {
    return guard([&] { return disk_.rename(from, to); });
  }
  Status exchange(const std::string& one, const std::string& other) override {
    if (no_exchange) return fail(ErrorCode::kUnsupported, "no exchange here");
    return guard([&] { return disk_.exchange(one, other); });
  }
  Status remove_file(const std::string& path) override {
    return guard([&] { return disk_.remove_file(path); });
  }
  Status remove_tree(const std::string& path) override {
    return guard([&] { return disk_.remove_tree(path); });
  }

 private:
  class File : public OutputFile {
   public:
    File(FaultyStorage& owner, std::unique_ptr<OutputFile> file) : owner_(owner), file_(std::move(file)) {}
    Status append(const void* data, std::size_t size) override {
      const bool fails = owner_.operations == owner_.fail_at || owner_.operations == owner_.stop_at;
      if (fails) (void)file_->append(data, size / 2);
      return owner_.guard([&] { return file_->append(data, size); });
    }
    Status sync() override {
      return owner_.guard([&] { return file_->sync(); });
    }

   private:
    FaultyStorage& owner_;
    std::unique_ptr<OutputFile> file_;
  };

  template <class Operation>
  Status guard(Operation operation) {
    const int number = operations++;
    if (number >= stop_at) return fail(ErrorCode::kCancelled, "stopped");
    if (number == fail_at) return fail(ErrorCode::kExhausted, "injected: no space left");
    return operation();
  }

  Storage& disk_ = posix_storage();
};

}  // namespace seng
