#include "protocol/base/ids.h"

namespace seng {

std::string to_string(const GroupEpoch& epoch) {
  return std::to_string(epoch.incarnation) + "." + std::to_string(epoch.counter);
}

std::string actor_name(JobId job, ActorId actor) {
  return std::to_string(job) + "/" + (actor == kNoActor ? std::string("-") : std::to_string(actor));
}

}  // namespace seng
