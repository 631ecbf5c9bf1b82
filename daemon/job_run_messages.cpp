// JobRun: what actors say.
#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/format.h>

#include "daemon/actor_lifecycle.h"
#include "daemon/actor_log.h"
#include "daemon/job_run.h"
#include "protocol/base/log.h"
#include "protocol/base/secret.h"
#include "protocol/base/version.h"

namespace seng {
namespace {

constexpr std::size_t kEventTextBytes = 4000;
// More than a leader tells again.
constexpr std::size_t kCheckpointsKnown = 64;

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
  // One of a daemon before this: it may have told that one already that it is prepared.
  const bool prepared =
      hello.epoch != GroupEpoch{} || a.adopted_as == actor_state_name(ActorState::kPrepared);
  if (a.adopted_as && prepared) tell(actor, actor_event::Prepared{});
  a.record.endpoint = hello.peer_endpoint;
  a.state_endpoint = hello.state_endpoint;
  a.link = hello.link;
  a.record.device = hello.device;
  a.record.step = hello.applied_step;
  a.lanes = std::max(1u, hello.lanes);
  a.silent_since.reset();
  quiet_ = false;
  a.joined = a.joined || hello.epoch != GroupEpoch{};
  if (!a.first_hello) a.first_hello = hello;
  save(actor);
  liveness_.add({record_.id, actor}, ports_.clock.now());
  if (first) event(Severity::kInfo, "ActorConnected", hello.device, actor);
  // Behind the Welcome, which the caller sends.
  if (adoption_) pending_.push_back([this] { check_adopted(); });
  Welcome welcome;
  welcome.spec_yaml = spec_yaml_;
  welcome.job_dir = job_dir(options_, record_.id);
  welcome.job_token = job_token_;
  welcome.lease_ms = static_cast<std::uint32_t>(options_.timeouts.lease_s * 1000);
  welcome.initial_sha256 = plan_.initial_sha256;
  welcome.awaits_choices = !tuning_.settled();
  return welcome;
}

// What belongs to a membership is taken only if it belongs to this one.
bool JobRun::fenced(ActorId actor, const Message& message) const {
  if (message.envelope.epoch == group_.epoch() && group_.takes_part(actor)) return false;
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
  const auto kind = static_cast<MessageKind>(message.envelope.kind);
  if (kind != MessageKind::kProgress) quiet_ = false;
  switch (kind) {
    case MessageKind::kPrepared:
      take<Prepared>(actor, message);
      break;
    case MessageKind::kStateLost:
      take<StateLost>(actor, message);
      break;
    case MessageKind::kWarmedUp:
      take<WarmedUp>(actor, message);
      break;
    case MessageKind::kTuned:
      take<Tuned>(actor, message);
      break;
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

void JobRun::on_body(ActorId actor, const Message&, const Prepared&) {
  tell(actor, actor_event::Prepared{});
}

void JobRun::on_body(ActorId actor, const Message& message, const Parked& body) {
  if (message.envelope.epoch == group_.epoch()) stall_.parked(actor, ports_.clock.now());
  tell_group(
      epoch_event::Parked{actor, message.envelope.epoch, body.applied_step, body.curvature, body.lineage});
  // One of those who finished a step: from here on the others owe their word as in any transition.
  const bool behind_step = group_.phase() == GroupEpochs::Phase::kParking &&
                           message.envelope.epoch == group_.epoch() && stall_.watches(actor);
  if (behind_step && !transition_due_)
    transition_due_ = ports_.clock.now() + options_.timeouts.transition_s();
}

void JobRun::on_body(ActorId actor, const Message& message, const Ready&) {
  if (fenced(actor, message)) return;
  if (group_.phase() == GroupEpochs::Phase::kReadying) tell(actor, actor_event::Ready{});
  tell_group(epoch_event::Ready{actor, message.envelope.epoch});
}

void JobRun::on_body(ActorId actor, const Message& message, const StateLost& body) {
  if (fenced(actor, message) || group_.phase() != GroupEpochs::Phase::kReadying) return;
  event(Severity::kWarning, "StateLost",
        shortened(body.what, kEventTextBytes) + ": the job resumes from its newest checkpoint", actor);
  tell_group(epoch_event::StateLost{actor, message.envelope.epoch});
}

void JobRun::on_body(ActorId actor, const Message& message, const Progress& body) {
  Actor& a = actors_.at(actor);
  a.record.step = body.applied_step;
  a.record.memory_bytes = body.memory_bytes;
  a.record.bytes_sent = body.bytes_sent;
  a.record.fragment_bytes_sent = body.fragment_bytes_sent;
  a.record.curvature_bytes = body.curvature_bytes;
  if (!job_.runs()) return;
  const double now = ports_.clock.now();
  warm_ups_.heard(actor, body.counter, body.activity == kWaiting, now);
  stall_.joiner_heard(actor, body, now);
  const GroupEpoch& epoch = message.envelope.epoch;
  // What it had when it came it has pulled from others.
  if (epoch == group_.epoch() && group_.phase() == GroupEpochs::Phase::kTraining)
    a.committed = a.committed || body.applied_step > group_.base_step();
  const bool trains = epoch == group_.epoch() || group_.finishes(epoch), leader = led(actor, epoch);
  if (trains) {
    stall_.heard(actor, body, now);
    speed_.heard(actor, body, now);
    progress_.on(body, leader, record_);
  }
  if (trains && leader) {
    last_checkpoint_.committed(body.applied_step);
    if (group_.phase() == GroupEpochs::Phase::kTraining) speed_.look(shares(group_.members()), now);
  }
  if (body.steps.empty()) return;
  const std::vector<StepMetrics> standing = tellers_.take(actor, epoch, body.steps, group_);
  // A step's values do not depend on who is there.
  if (!trains || !leader) progress_.on_late(leader ? body.steps : standing, record_);
  if (standing.empty()) return;
  ports_.store.add_steps(record_.id, standing);
  changed();
}

void JobRun::on_body(ActorId actor, const Message& message, const EpochReport& body) {
  if (!led(actor, message.envelope.epoch) || is_terminal(record_.state)) return;
  progress_.on(body, record_);
  ports_.store.add_epoch_metrics(record_.id, body.metrics);
  changed();
}

void JobRun::on_body(ActorId actor, const Message& message, const CheckpointReport& body) {
  if (!led(actor, message.envelope.epoch)) return;
  if (!body.error.empty()) {
    return on_failed_checkpoint(actor, message.envelope.epoch, body);
  }
  last_checkpoint_.written();
  const auto [known, fresh] = checkpoints_.try_emplace(body.step, body.state_sha256);
  if (!fresh && known->second == body.state_sha256) return;  // told again
  known->second = body.state_sha256;
  if (checkpoints_.size() > kCheckpointsKnown) checkpoints_.erase(checkpoints_.begin());
  record_.checkpoint_error.clear();
  // One that was written before the newest, and is heard of behind it, may be gone already.
  if (checkpoints_.rbegin()->first == body.step) progress_.on(body, record_);
  ports_.store.add_checkpoint(
      record_.id, {body.step, ports_.clock.wall(), body.path, body.weights_sha256, body.state_sha256});
  event(Severity::kInfo, "CheckpointWritten", fmt::format("step {}: {}", body.step, body.path), actor);
  changed();
  observer_.flush_soon();
}

// The last one is tried again; another one's turn comes anyway.
void JobRun::on_failed_checkpoint(ActorId actor, const GroupEpoch& epoch, const CheckpointReport& body) {
  std::string text = fmt::format("step {}: {}", body.step, shortened(body.error, kEventTextBytes));
  record_.checkpoint_error = text;
  const bool last = body.step >= record_.steps_total || job_.stopping();
  if (job_.runs() && last && epoch == group_.epoch()) {
    const double pause = last_checkpoint_.failed(body.step, body.error, ports_.clock.now());
    text += fmt::format("; tried again in {:g} s", pause);
    record_.reason = "its last checkpoint cannot be written: " + text;
  }
  changed();
  event(Severity::kWarning, "CheckpointFailed", text, actor);
}

void JobRun::on_body(ActorId actor, const Message& message, const Finished& body) {
  const bool done = !body.retired && led(actor, message.envelope.epoch);
  if (!done && !body.retired && fenced(actor, message)) return;
  tell(actor, actor_event::Finished{});
  if (!body.retired) send_to(actor, Retire{});  // it waits for the word that it was heard
  if (!done || !actors_.at(actor).life.finished() || !job_.runs()) return;
  actors_.at(actor).record.step = body.step;
  progress_.on(body, record_);
  tell_job(job_event::Finished{body.stopped, shortened(body.failure, kEventTextBytes)});
}

void JobRun::on_body(ActorId actor, const Message&, const ActorFailed& body) {
  actors_.at(actor).in_vain = body.in_vain;
  tell(actor, actor_event::Failed{body.message});
}

void JobRun::on_body(ActorId actor, const Message&, const ActorEvent& body) {
  event(body.severity, event_word(body.kind), shortened(body.text, kEventTextBytes), actor);
}

void JobRun::on_lease(ActorId actor, const Liveness::Finding& finding) {
  quiet_ = false;
  Actor& a = actors_.at(actor);
  if (finding.verdict == Liveness::Verdict::kSilent) {
    a.silent_since = ports_.clock.now() - finding.silent_s;
    stall_.silent(actor);
    const bool takes_part = group_.takes_part(actor) && job_.runs();
    event(Severity::kWarning, "ActorSilent",
          fmt::format("nothing heard for {:.1f} s{}", finding.silent_s,
                      takes_part ? ": the group goes on without it" : ""),
          actor);
  } else {
    a.silent_since.reset();
    event(Severity::kInfo, "ActorHeard", fmt::format("heard again after {:.1f} s", finding.silent_s), actor);
  }
}

}  // namespace seng
