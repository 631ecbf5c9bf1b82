// Addresses of channels: ipc://PATH and tcp://HOST:PORT.
#pragma once

#include <string>
#include <string_view>

#include "protocol/base/error.h"

namespace seng {

// "ipc://" + path. kInvalidArgument when the path is empty or longer than a Unix socket's may be (107 bytes).
Result<std::string> ipc_endpoint(const std::string& path);

// Well-formed, and nothing that the network can reach without keys: kInvalidArgument says what is wrong and
// what to do. `has_keys`: CURVE keys will be used.
Status check_endpoint(std::string_view endpoint, bool has_keys = false);

// Whether somebody listens there, found by connecting once: kUnavailable if not. A ZeroMQ client cannot tell
// a server that is slow from one that is not there.
Status probe_endpoint(const std::string& endpoint, int timeout_ms = 1000);

}  // namespace seng
