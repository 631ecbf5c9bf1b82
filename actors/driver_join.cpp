// Driver: how it comes to the state of its group, and to the others.
#include <utility>

#include <fmt/format.h>

#include "actors/driver.h"
#include "actors/exchange/link_choice.h"

namespace seng {

Status Driver::on_assign(const Assign& assign) {
  if (assigned_) return {};
  if (must_leave()) return {};  // the next Reconfigure is on its way
  // Who has followed may know a step that all who were in the group with it have died with: it goes back.
  // So may, where steps made again have other bits, one who was left out when they were.
  if (state_.step > assign.base_step && !followed_ && state_.lineage == assign.lineage)
    return fail(ErrorCode::kInternal, "the group starts from step " + std::to_string(assign.base_step) +
                                          ", this actor has committed step " + std::to_string(state_.step));
  if (!is_member()) return transfer_->offer(assign, group_.epoch), Status{};
  if (state_.step > 0 && state_.lineage != assign.lineage) session_.forget_steps();
  const auto outcome = transfer_->pull(assign, group_, participants_);
  if (!outcome) {
    if (will_leave()) return {};
    return fail(outcome.error());
  }
  if (outcome->interrupted) return {};
  if (outcome->lost) {
    session_.send(StateLost{outcome->what});
    return {};
  }
  if (followed_)
    event(Severity::kInfo, "Joining",
          fmt::format("pulled {:.2f} MB while the group waited", 1e-6 * static_cast<double>(outcome->bytes)));
  SENG_TRY(join_exchange());
  session_.set_applied_step(state_.step);
  // By every member: whoever was to tell these steps may be gone, and the leader may have pulled their state.
  session_.go_on_from(state_.step, state_.metrics, assign.told_step);
  if (must_leave()) return {};
  assigned_ = true;
  session_.send(Ready{});
  return {};
}

Status Driver::join_exchange() {
  const auto choice = choose_path(workload_->spec.exchange, workload_->spec.reduce, group_.members);
  if (!choice) return in_vain_ = true, fail(choice.error());
  group_.path = choice->path;
  group_.reduction = choice->reduction;
  group_.vectors = trainer_->vectors_in(group_);
  if (leads() && options_.device == Device::kCuda && group_.members.size() > 1 && choice->why != path_)
    event(Severity::kInfo, "Exchange", path_ = choice->why);
  const Status joined = exchange_->join(group_, [this] { return must_leave(); });
  // A communicator may say anything when a rank dies while it forms: whose fault it is the daemon knows.
  if (!joined && !will_leave()) return joined;
  return {};
}

}  // namespace seng
