#include "protocol/channel/endpoint.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/base/limits.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

constexpr std::string_view kIpc = "ipc://";
constexpr std::string_view kTcp = "tcp://";

struct HostPort {
  std::string host, port;
};

Result<HostPort> split_tcp(std::string_view endpoint) {
  const std::string_view rest = endpoint.substr(kTcp.size());
  const std::size_t colon = rest.rfind(':');
  const std::string_view port = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == port.npos;
  if (colon == 0 || colon == rest.npos ||
      !(port == "*" || (digits && std::stoi(std::string(port)) <= 65535))) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected tcp://HOST:PORT with a port of 1 to 65535 or *", endpoint));
  }
  std::string host(rest.substr(0, colon));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{std::move(host), std::string(port)};
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  // Four numbers only: a name like 127.example.com is anyone's.
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
}

Status nobody(const std::string& endpoint, int error) {
  return fail(ErrorCode::kUnavailable,
              fmt::format("nobody answers at {}: {}", endpoint, std::strerror(error)));
}

Status try_connect(const std::string& endpoint, const sockaddr* address, socklen_t size, int timeout_ms) {
  const UniqueFd fd(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(errno_error("cannot make a socket"));
  if (connect(fd.get(), address, size) == 0) return {};
  if (errno == EAGAIN) return {};  // a Unix socket whose backlog is full: somebody is there, and busy
  if (errno != EINPROGRESS) return nobody(endpoint, errno);
  pollfd item{fd.get(), POLLOUT, 0};
  const int ready = poll(&item, 1, timeout_ms);
  if (ready < 0) return fail(errno_error("cannot wait for a connection"));
  if (ready == 0) return nobody(endpoint, ETIMEDOUT);
  int error = 0;
  socklen_t error_size = sizeof(error);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) error = errno;
  return error == 0 ? Status{} : nobody(endpoint, error);
}

}  // namespace

Result<std::string> ipc_endpoint(const std::string& path) {
  std::string endpoint(kIpc);
  endpoint += path;
  SENG_TRY(check_endpoint(endpoint));
  return endpoint;
}

Status check_endpoint(std::string_view endpoint, bool has_keys) {
  if (endpoint.find('\0') != endpoint.npos) {
    return fail(ErrorCode::kInvalidArgument, "an address holds a zero byte");
  }
  if (endpoint.starts_with(kIpc)) {
    const std::size_t length = endpoint.size() - kIpc.size();
    if (length == 0) return fail(ErrorCode::kInvalidArgument, "ipc:// needs a path");
    if (length <= kMaxSocketPathBytes) return {};
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the socket path {} has {} bytes, and the system takes {} at most: choose a directory "
                    "with a shorter name (--state-dir)",
                    endpoint.substr(kIpc.size()), length, kMaxSocketPathBytes));
  }
  if (endpoint.starts_with(kTcp)) {
    const auto parts = split_tcp(endpoint);
    if (!parts) return fail(parts.error());
    if (has_keys || is_loopback(parts->host)) return {};
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} can be reached from the network, and without CURVE keys anyone there could command "
                    "this process: use ipc:// or tcp://127.0.0.1:PORT",
                    endpoint));
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: expected an address of the form ipc://PATH or tcp://HOST:PORT", endpoint));
}

Status probe_endpoint(const std::string& endpoint, int timeout_ms) {
  SENG_TRY(check_endpoint(endpoint, true));
  if (endpoint.starts_with(kIpc)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    endpoint.copy(address.sun_path, kMaxSocketPathBytes, kIpc.size());
    return try_connect(endpoint, reinterpret_cast<const sockaddr*>(&address), sizeof(address), timeout_ms);
  }
  const auto parts = split_tcp(endpoint);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &found); error != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("{}: {}", endpoint, gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  return try_connect(endpoint, found->ai_addr, found->ai_addrlen, timeout_ms);
}

}  // namespace seng
