// JobRun: memberships, and what actors say.
#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "daemon/actor_log.h"
#include "daemon/job_run.h"
#include "daemon/secret.h"
#include "protocol/base/log.h"
#include "protocol/base/version.h"

namespace seng {
namespace {

constexpr std::size_t kEventTextBytes = 4000;

// An event's kind is a word that scripts compare: letters and digits.
std::string event_word(const std::string& said) {
  std::string out;
  for (const char c : said) {
    if (std::isalnum(static_cast<unsigned char>(c)) && out.size() < 64) out += c;
  }
  return out.empty() ? "ActorEvent" : out;
}

}  // namespace

Result<Welcome> JobRun::on_hello(ActorId actor, const ActorHello& hello) {
  const auto found = actors_.find(actor);
  if (found == actors_.end() || !same_secret(found->second.token, hello.token)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("this daemon did not start actor {}", actor_name(record_.id, actor)));
  }
  if (is_terminal(record_.state)) return fail(ErrorCode::kCancelled, "the job has ended");
  if (hello.version != seng_version()) {
    const std::string text =
        fmt::format("seng-actor is of version {}, sengd of {}: install both from one build",
                    shortened(hello.version, 64), seng_version());
    tell(actor, actor_event::Failed{text});
    drain();
    return fail(ErrorCode::kUnsupported, text);
  }
  Actor& a = found->second;
  const bool first = a.life.state() == ActorState::kSpawning;
  tell(actor, actor_event::Hello{});
  a.record.endpoint = hello.peer_endpoint;
  a.record.device = hello.device;
  save(actor);
  liveness_.add({record_.id, actor}, ports_.clock.now());
  if (first) {
    event(Severity::kInfo, "ActorConnected", hello.device, actor);
    // Behind the Welcome, which the caller sends.
    pending_.push_back([this] { begin_first_epoch(); });
  }
  Welcome welcome;
  welcome.spec_yaml = spec_yaml_;
  welcome.job_dir = job_dir(options_, record_.id);
  welcome.job_token = job_token_;
  welcome.lease_ms = static_cast<std::uint32_t>(options_.timeouts.lease_s * 1000);
  return welcome;
}

void JobRun::begin_first_epoch() {
  if (group_.phase() != GroupEpochs::Phase::kIdle || record_.state != JobState::kStarting) return;
  std::vector<Member> members;
  for (const auto& [actor, a] : actors_) {
    if (a.life.state() != ActorState::kConnected) return;
    members.push_back({actor, a.record.node, a.record.endpoint, 0, 0});
  }
  tell_group(epoch_event::Begin{std::move(members)});
}

void JobRun::act(const epoch_action::Persist&) {
  store_epoch();
}

void JobRun::store_epoch() {
  const Status stored =
      ports_.store.put_epoch(record_.id, {group_.epoch(), ports_.clock.wall(), group_.members()});
  if (stored) return tell_group(epoch_event::Persisted{group_.epoch()});
  if (!std::exchange(epoch_waits_, true)) {
    event(Severity::kError, "StoreFailed", "the membership waits: " + stored.error().message);
  }
  epoch_retry_ = ports_.clock.now() + options_.timeouts.store_retry_s();
}

template <class Body>
void JobRun::send_to_members(const Body& body) {
  Envelope envelope;
  envelope.job = record_.id;
  envelope.epoch = group_.epoch();
  envelope.step = group_.base_step();
  for (const Member& m : group_.members())
    ports_.actors.send(record_.id, m.actor, make_message(envelope, body));
}

void JobRun::act(const job_action::AskToStop& action) {
  stop_deadline_ = ports_.clock.now() + options_.timeouts.stop_job_s();
  send_to_members(StopTraining{action.reason});
}

void JobRun::act(const epoch_action::Announce& action) {
  record_.epoch = group_.epoch();
  record_.actors = static_cast<std::uint32_t>(action.message.members.size());
  for (const Member& m : action.message.members) {
    Actor& a = actors_.at(m.actor);
    a.record.first_micro = m.first_micro;
    a.record.last_micro = m.last_micro;
    tell(m.actor, actor_event::Reconfigured{});
    save(m.actor);
  }
  event(Severity::kInfo, "Reconfigured",
        fmt::format("epoch {} with {} actor{}", to_string(group_.epoch()), record_.actors,
                    record_.actors == 1 ? "" : "s"));
  changed();
  send_to_members(action.message);
}

void JobRun::act(const epoch_action::AssignAll& action) {
  send_to_members(action.message);
}

void JobRun::act(const epoch_action::ResumeAll&) {
  send_to_members(Resume{});
  for (const Member& m : group_.members()) tell(m.actor, actor_event::Resumed{});
  tell_job(job_event::Trains{});
}

bool JobRun::leads(ActorId actor) const {
  return !group_.members().empty() && group_.members().front().actor == actor;
}

// What belongs to a membership is taken only if it belongs to this one.
bool JobRun::fenced(ActorId actor, const Message& message) const {
  if (message.envelope.epoch == group_.epoch() && group_.member(actor) != nullptr) return false;
  log_debug("{}: dropped {} of epoch {}", actor_name(record_.id, actor),
            message_kind_name(message.envelope.kind), to_string(message.envelope.epoch));
  return true;
}

template <class Body>
void JobRun::take(ActorId actor, const Message& message) {
  const auto body = parse_body<Body>(message);
  if (body) return on_body(actor, message, *body);
  event(Severity::kWarning, "BadMessage", body.error().message, actor);
}

void JobRun::on_message(ActorId actor, const Message& message) {
  if (!actors_.contains(actor)) return;
  if (const auto finding = liveness_.heard({record_.id, actor}, ports_.clock.now()))
    on_lease(actor, *finding);
  switch (static_cast<MessageKind>(message.envelope.kind)) {
    case MessageKind::kParked:
      take<Parked>(actor, message);
      break;
    case MessageKind::kReady:
      take<Ready>(actor, message);
      break;
    case MessageKind::kProgress:
      take<Progress>(actor, message);
      break;
    case MessageKind::kEpochReport:
      take<EpochReport>(actor, message);
      break;
    case MessageKind::kCheckpointReport:
      take<CheckpointReport>(actor, message);
      break;
    case MessageKind::kFinished:
      take<Finished>(actor, message);
      break;
    case MessageKind::kActorFailed:
      take<ActorFailed>(actor, message);
      break;
    case MessageKind::kActorEvent:
      take<ActorEvent>(actor, message);
      break;
    default:
      log_debug("{}: dropped a message of kind {}", actor_name(record_.id, actor), message.envelope.kind);
  }
  drain();
}

void JobRun::on_body(ActorId actor, const Message& message, const Parked& body) {
  tell_group(epoch_event::Parked{actor, message.envelope.epoch, body.applied_step});
}

void JobRun::on_body(ActorId actor, const Message& message, const Ready&) {
  if (fenced(actor, message)) return;
  if (group_.phase() == GroupEpochs::Phase::kReadying) tell(actor, actor_event::Ready{});
  tell_group(epoch_event::Ready{actor, message.envelope.epoch});
}

void JobRun::on_body(ActorId actor, const Message& message, const Progress& body) {
  Actor& a = actors_.at(actor);
  a.record.step = body.applied_step;
  a.record.memory_bytes = body.memory_bytes;
  a.record.bytes_sent = body.bytes_sent;
  a.record.fragment_bytes_sent = body.fragment_bytes_sent;
  if (is_terminal(record_.state) || message.envelope.epoch != group_.epoch()) return;
  const bool leader = leads(actor);
  progress_.on(body, leader, record_);
  if (!leader) return;
  ports_.store.add_steps(record_.id, body.steps);
  if (!body.steps.empty()) changed();
}

void JobRun::on_body(ActorId actor, const Message& message, const EpochReport& body) {
  if (fenced(actor, message) || !leads(actor) || is_terminal(record_.state)) return;
  progress_.on(body, record_);
  ports_.store.add_epoch_metrics(record_.id, body.metrics);
  changed();
}

void JobRun::on_body(ActorId actor, const Message& message, const CheckpointReport& body) {
  if (fenced(actor, message) || !leads(actor)) return;
  if (!body.error.empty()) {
    event(Severity::kWarning, "CheckpointFailed", fmt::format("step {}: {}", body.step, body.error), actor);
    return;
  }
  progress_.on(body, record_);
  ports_.store.add_checkpoint(
      record_.id, {body.step, ports_.clock.wall(), body.path, body.weights_sha256, body.state_sha256});
  event(Severity::kInfo, "CheckpointWritten", fmt::format("step {}: {}", body.step, body.path), actor);
  changed();
  observer_.flush_soon();
}

void JobRun::on_body(ActorId actor, const Message& message, const Finished& body) {
  if (fenced(actor, message)) return;
  tell(actor, actor_event::Finished{});
  if (!actors_.at(actor).life.finished() || is_terminal(record_.state)) return;
  actors_.at(actor).record.step = body.step;
  progress_.on(body, record_);
  tell_job(job_event::Finished{actor, body.stopped});
}

void JobRun::on_body(ActorId actor, const Message&, const ActorFailed& body) {
  tell(actor, actor_event::Failed{body.message});
}

void JobRun::on_body(ActorId actor, const Message&, const ActorEvent& body) {
  event(body.severity, event_word(body.kind), shortened(body.text, kEventTextBytes), actor);
}

void JobRun::on_lease(ActorId actor, const Liveness::Finding& finding) {
  if (finding.verdict == Liveness::Verdict::kSilent) {
    event(Severity::kWarning, "ActorSilent", fmt::format("nothing heard for {:.1f} s", finding.silent_s),
          actor);
  } else {
    event(Severity::kInfo, "ActorHeard", fmt::format("heard again after {:.1f} s", finding.silent_s), actor);
  }
}

}  // namespace seng
