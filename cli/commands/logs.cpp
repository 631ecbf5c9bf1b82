#include <map>
#include <utility>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/interrupt.h"

namespace seng {
namespace {

constexpr std::uint32_t kChunk = 1 << 18;
constexpr int kLogPollMs = 300;

class LogReader {
 public:
  LogReader(const Arguments& arguments, Session& session)
      : session_(session),
        job_(arguments.operand(0)),
        only_(arguments.number("actor")),
        tail_(arguments.number("tail")),
        follows_(arguments.has("follow")) {}

  ExitCode run() {
    if (follows_) {
      const auto watched = watch();
      if (!watched) return session_.fail(watched.error());
      job_ = std::to_string(watched->job.id);  // the name may come to mean a newer job
    }
    while (true) {
      const auto code = read_all();
      session_.console().out.flush();
      if (code) return *code;
      if (!follows_ || !session_.console().out || all_ended()) return ExitCode::kOk;
      if (interrupt_.wait(kLogPollMs)) return detach();
    }
  }

 private:
  struct Log {
    std::uint64_t offset = 0;
    bool begun = false;
    bool ended = false;
  };

  // Everything that the logs hold now; the exit code of a failure.
  std::optional<ExitCode> read_all() {
    if (only_) return read_one(static_cast<ActorId>(std::min<std::uint64_t>(*only_, kNoActor)));
    // Actors are numbered from 0, and a reply names all that have logs.
    if (const auto code = read_one(known_.empty() ? 0 : known_.begin()->first)) return code;
    const auto actors = known_;
    for (const auto& [actor, log] : actors) {
      if (const auto code = read_one(actor)) return code;
    }
    return std::nullopt;
  }

  auto ask(ActorId actor, std::uint64_t offset, std::uint32_t max_bytes) {
    LogsRequest request;
    request.job = job_;
    request.actor = actor;
    request.offset = offset;
    request.max_bytes = max_bytes;
    return session_.client().ask<LogsReply>(request);
  }

  // Where its last lines begin; a line that is not ended counts.
  std::uint64_t tail_of(ActorId actor) {
    const auto whole = ask(actor, 0, 0);
    if (!whole) return 0;  // whoever reads on hears why
    if (*tail_ == 0) return whole->size;
    std::uint64_t lines = *tail_, end = whole->size;
    for (bool last = true; end > 0; last = false) {
      const std::uint64_t from = end > kChunk ? end - kChunk : 0;
      const auto chunk = ask(actor, from, static_cast<std::uint32_t>(end - from));
      if (!chunk) return 0;
      const std::string& text = chunk->data;
      for (std::size_t i = text.size(); i-- > 0;) {
        const bool ends_the_log = last && i + 1 == text.size();
        if (text[i] == '\n' && !ends_the_log && --lines == 0) return from + i + 1;
      }
      end = from;
    }
    return 0;
  }

  std::optional<ExitCode> read_one(ActorId actor) {
    if (Log& log = known_[actor]; tail_ && !std::exchange(log.begun, true)) log.offset = tail_of(actor);
    while (true) {
      const auto reply = ask(actor, known_[actor].offset, kChunk);
      if (!reply) {
        if (follows_ && reply.error().gone() && seen_) return std::nullopt;  // asked again in a moment
        if (follows_ && reply.error().code == ErrorCode::kNotFound && may_begin()) return std::nullopt;
        return session_.fail(reply.error());
      }
      seen_ = true;
      for (const ActorId other : reply->actors) known_.try_emplace(other);
      Log& log = known_[actor];
      if (log.offset > reply->size) log.offset = 0;  // begun anew
      if (!reply->data.empty()) print(actor, reply->data);
      log.offset += reply->data.size();
      log.ended = reply->ended && log.offset >= reply->size;
      if (reply->data.empty() || log.offset >= reply->size || !session_.console().out) return std::nullopt;
    }
  }

  Answer<WatchReply> watch() {
    WatchRequest request;
    request.job = job_;
    return session_.client().ask<WatchReply>(request);
  }
  // A job that waits for slots has no actors yet.
  bool may_begin() {
    const auto reply = watch();
    return reply && !is_terminal(reply->job.state);
  }

  void print(ActorId actor, const std::string& data) {
    std::ostream& out = session_.console().out;
    if (known_.size() > 1 && !only_ && last_ != actor)
      out << fmt::format("{}==> actor {} <==\n", last_ == kNoActor ? "" : "\n", actor);
    last_ = actor;
    out << data;
  }

  bool all_ended() const {
    for (const auto& [actor, log] : known_) {
      const bool counts = !only_ || *only_ == actor;
      if (counts && !log.ended) return false;
    }
    return true;
  }

  ExitCode detach() {
    session_.console().err << fmt::format("detached; come back with\n  {}\n", session_.again());
    return ExitCode::kInterrupted;
  }

  Session& session_;
  std::string job_;
  const std::optional<std::uint64_t> only_, tail_;
  const bool follows_;
  const Interrupt interrupt_;
  std::map<ActorId, Log> known_;
  ActorId last_ = kNoActor;
  bool seen_ = false;
};

}  // namespace

ExitCode run_logs(const Arguments& arguments, Session& session) {
  return LogReader(arguments, session).run();
}

}  // namespace seng
