// JobRun: algorithms that are measured before the first step.
#include <utility>

#include <fmt/format.h>

#include "daemon/job_run.h"
#include "protocol/base/text.h"

namespace seng {

void JobRun::tune() {
  if (!job_.runs() || tuning_.settled()) return;
  // Known since the first slot was given, before its actor is heard.
  if (record_.device_kind == SlotDevice{}.kind) {
    tuning_.settle();
    return event(Severity::kInfo, "Tuned", "engine.tune has no effect on the CPU, where the job is");
  }
  std::vector<ActorId> able;
  for (const auto& [actor, a] : actors_) {
    if (a.life.state() == ActorState::kConnected && !a.silent_since) able.push_back(actor);
  }
  const auto asked = tuning_.ask(able);
  if (!asked) return;
  event(Severity::kInfo, "Tuning", "it measures the algorithms of the job's convolutions", *asked);
  tell(*asked, actor_event::Waits{});
  send_to(*asked, Tune{});
}

void JobRun::on_body(ActorId actor, const Message&, const Tuned& body) {
  if (body.tuning.choices.empty() || !tuning_.measured(actor)) return;
  measured_ = body.tuning;
  measured_->device = shortened(measured_->device, 256);
  measured_->actor = actor;
  measured_->at = ports_.clock.wall();
  store_tuning();
}

void JobRun::store_tuning() {
  tuning_retry_.reset();
  if (const Status written = ports_.store.put_tuning(record_.id, *measured_); !written) {
    if (!std::exchange(tuning_waits_, true))
      event(Severity::kError, "StoreFailed", "the choices wait: " + written.error().message);
    tuning_retry_ = ports_.clock.now() + options_.timeouts.store_retry_s();
    return;
  }
  quiet_ = false;
  plan_.choices = measured_->choices;
  spec_yaml_ = decided_spec(spec_yaml_, plan_);
  tuning_.settle();
  event(Severity::kInfo, "Tuned", tuning_text(*measured_), measured_->actor);
  for (const auto& [actor, a] : actors_) {
    if (a.life.state() != ActorState::kConnected) continue;
    tell(actor, actor_event::Waits{});
    send_to(actor, TakeChoices{plan_.choices});
  }
  measured_.reset();
}

}  // namespace seng
