// What a data set could not give, thrown through the lanes to the driver.
#pragma once

#include <stdexcept>
#include <utility>

#include "protocol/base/error.h"

namespace seng {

class DataError : public std::runtime_error {
 public:
  explicit DataError(Error error) : std::runtime_error(error.message), error_(std::move(error)) {}
  const Error& error() const { return error_; }
  // Its bytes are wrong, so that whoever reads them fails alike; what the system refused may pass.
  bool lasts() const { return error_.code == ErrorCode::kCorrupt || error_.code == ErrorCode::kUnsupported; }

 private:
  Error error_;
};

}  // namespace seng
