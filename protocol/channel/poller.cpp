#include "protocol/channel/poller.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <zmq.h>

namespace seng {

struct Poller::Impl {
  std::vector<zmq_pollitem_t> items;
  std::vector<Token> tokens;  // of items

  void add(PollHandle handle, Token token) {
    SENG_CHECK(std::find(tokens.begin(), tokens.end(), token) == tokens.end(), "a token watches one source");
    items.push_back({handle.socket, handle.socket ? 0 : handle.fd, ZMQ_POLLIN, 0});
    tokens.push_back(token);
  }
};

Poller::Poller() : impl_(std::make_unique<Impl>()) {}
Poller::~Poller() = default;

void Poller::watch(const Pollable& channel, Token token) {
  impl_->add(channel.poll_handle(), token);
}

void Poller::watch_fd(int fd, Token token) {
  impl_->add({nullptr, fd}, token);
}

void Poller::forget(Token token) {
  const auto found = std::find(impl_->tokens.begin(), impl_->tokens.end(), token);
  if (found == impl_->tokens.end()) return;
  impl_->items.erase(impl_->items.begin() + (found - impl_->tokens.begin()));
  impl_->tokens.erase(found);
}

Result<std::vector<Poller::Token>> Poller::wait(int timeout_ms) {
  std::vector<Token> ready;
  const int count = zmq_poll(impl_->items.data(), static_cast<int>(impl_->items.size()), timeout_ms);
  if (count < 0 && zmq_errno() == EINTR) return ready;
  if (count < 0)
    return fail(ErrorCode::kIo, fmt::format("cannot wait for messages: {}", zmq_strerror(zmq_errno())));
  for (std::size_t i = 0; i < impl_->items.size(); ++i) {
    if (impl_->items[i].revents != 0) ready.push_back(impl_->tokens[i]);
  }
  return ready;
}

}  // namespace seng
