// JobRun: newcomers that catch up while the group trains.
#include <utility>

#include <fmt/format.h>

#include "daemon/job_run.h"

namespace seng {

void JobRun::act(const membership_action::WarmUp& action) {
  if (!job_.runs()) return;
  WarmUp order;
  order.number = warm_ups_.begin(action.newcomers, ports_.clock.now());
  order.source = action.source;
  order.newcomers = action.newcomers;
  order.members = group_.members();
  order.future = to_members(action.future);
  // The members first: they may be in the middle of a step.
  send_to_group(order, false);
  for (const ActorId actor : action.newcomers) {
    event(Severity::kInfo, "WarmingUp", fmt::format("it follows the group from actor {}", action.source),
          actor);
    send_to(actor, order);
  }
}

void JobRun::on_body(ActorId actor, const Message&, const WarmedUp& body) {
  // One that was warm gives up as well when its source dies: what it has come to still counts, as long as no
  // checkpoint is newer.
  if (!warm_ups_.said(actor, body.number)) return;
  quiet_ = false;
  if (!body.gave_up.empty()) {
    event(Severity::kInfo, "WarmUpGivenUp", "it is taken in all the same: " + body.gave_up, actor);
    return;
  }
  actors_.at(actor).record.step = body.step;  // its heartbeat says so later
  if (body.step > 0) tell_group(epoch_event::Followed{actor});
  event(Severity::kInfo, "WarmedUp",
        fmt::format("at step {}, having followed {} and pulled {:.2f} MB", body.step, body.followed,
                    1e-6 * static_cast<double>(body.bytes)),
        actor);
}

void JobRun::expire_warm_ups() {
  for (const ActorId actor : warm_ups_.expire(ports_.clock.now())) {
    quiet_ = false;
    event(Severity::kInfo, "WarmUpGivenUp", "it is taken in all the same: it has not caught up in time",
          actor);
  }
}

}  // namespace seng
