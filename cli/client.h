// Asking sengd: one request, its reply, within a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <tl/expected.hpp>

#include "cli/exit_code.h"
#include "protocol/messages/control.h"
#include "protocol/messages/queries.h"
#include "protocol/wire/message.h"

namespace seng {

// Why there is no reply.
struct Failure {
  enum class Kind {
    kNoDaemon,     // nobody listens at the address
    kSilent,       // somebody does, but did not answer in time
    kRefused,      // sengd answered with an error: `code` and `message` are its own
    kInterrupted,  // Ctrl-C came first
  };
  Kind kind = Kind::kRefused;
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  bool gone() const { return kind == Kind::kNoDaemon || kind == Kind::kSilent; }
};

// 3, 4, 6, 130 by the kind and code.
ExitCode exit_code_of(const Failure& failure);

template <class T>
using Answer = tl::expected<T, Failure>;

class Interrupt;

class Client {
 public:
  static constexpr int kUsualTimeoutMs = 5000;

  // `endpoint` as sengd's --listen, or empty: no daemon can be asked; `state_dir` (may be empty) is what
  // messages suggest to start one with.
  Client(std::string endpoint, std::string state_dir);
  ~Client();

  const std::string& endpoint() const;
  // Ctrl-C ends a wait. Must outlive its use; null: none.
  void set_interrupt(const Interrupt* interrupt);

  // Reply is SubmitReply for a SubmitRequest, and so on.
  template <class Reply, class Request>
  Answer<Reply> ask(const Request& request, int timeout_ms = kUsualTimeoutMs) {
    Answer<Message> message = exchange(make_message({}, request), timeout_ms);
    if (!message) return tl::unexpected(std::move(message).error());
    Result<Reply> reply = parse_body<Reply>(*message);
    if (!reply) return tl::unexpected(unreadable(reply.error()));
    return *std::move(reply);
  }

 private:
  Answer<Message> exchange(Message request, int timeout_ms);
  Answer<void> open();
  Answer<Message> await(int timeout_ms);
  std::optional<Answer<Message>> take_reply();
  Failure unreadable(const Error& error) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seng
