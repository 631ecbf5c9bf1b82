// A membership as the exchange takes it: every actor comes to the same placement of the blocks by itself.
#pragma once

#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/workload.h"
#include "protocol/messages/membership.h"

namespace seng {

Group make_group(JobId job, ActorId self, const GroupEpoch& epoch, const Workload& workload,
                 const std::vector<Member>& members);

}  // namespace seng
