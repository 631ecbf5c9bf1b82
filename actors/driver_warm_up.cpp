// Driver: joining a group that goes on training, from both sides.
#include "actors/driver.h"
#include "protocol/base/log.h"

namespace seng {

// A newcomer follows the group of `epoch` until it is taken in, or something else is asked of it.
void Driver::warm_up(const GroupEpoch& epoch, const WarmUp& order) {
  if (!trainer_ || epoch <= group_.epoch) return;  // of a membership that has passed
  transfer_->begin();
  warm_up_service_->end();
  {
    const std::lock_guard lock(announced_mutex_);
    followed_epoch_ = epoch;
    follows_ = true;
    warm_ = false;
  }
  followed_ = true;
  const Follower::End end = follower_->run(
      epoch, order, [this] { return leaves_warm_up(); },
      [&] {
        {
          const std::lock_guard lock(announced_mutex_);
          warm_ = true;
        }
        session_.set_applied_step(state_.step);
        session_.send(WarmedUp{order.number, state_.step, follower_->bytes(), "", follower_->followed()});
      });
  {
    const std::lock_guard lock(announced_mutex_);
    follows_ = false;
  }
  session_.set_applied_step(state_.step);
  if (end == Follower::End::kGaveUp)
    session_.send(
        WarmedUp{order.number, state_.step, follower_->bytes(), follower_->why(), follower_->followed()});
}

// A planned change is taken part in behind the group's last step, by one who has caught up; any other command
// at once.
bool Driver::leaves_warm_up() const {
  const std::lock_guard lock(announced_mutex_);
  if (!follows_) return false;
  if (urgent_epoch_ > followed_epoch_) return true;
  return planned_epoch_ > followed_epoch_ ? !warm_ : session_.has_command();
}

// Between two steps.
void Driver::serve_newcomers() {
  const auto order = session_.take_warm_up();
  if (order && order->first == group_.epoch) {
    trainer_->bring_home();
    warm_up_service_->begin(order->second, group_);
  } else {
    warm_up_service_->renew();
  }
}

}  // namespace seng
