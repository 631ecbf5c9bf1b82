// Where in a message the codec is, for error messages: "Reconfigure.members[3].endpoint".
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/base/limits.h"

namespace seng {

class FieldPath {
 public:
  // `root` and the names pushed are borrowed: string literals, as `visit` functions pass them.
  explicit FieldPath(std::string_view root) : root_(root) {}

  void push(const char* name) { steps_[size_++] = {name, 0}; }
  void push(std::size_t index) { steps_[size_++] = {nullptr, index}; }
  void pop() { --size_; }
  std::string text() const;

 private:
  struct Step {
    const char* name = nullptr;  // nullptr: an item of a list, by its index
    std::size_t index = 0;
  };
  std::string_view root_;
  std::array<Step, 2 * kMaxNesting> steps_;  // a name and an index for each level that the codec opens
  std::size_t size_ = 0;
};

}  // namespace seng
