// Whether a group's sums and directions travel over NCCL: a pure function of what the job says and of what
// the members have said of themselves, so that all come to the same without asking each other.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "actors/exchange/exchange.h"
#include "protocol/base/error.h"
#include "protocol/messages/membership.h"

namespace seng {

struct PathChoice {
  BlockPath path = BlockPath::kZmq;
  Reduction reduction = Reduction::kOrdered;
  std::string why;  // for the log: "NCCL 2.28.9 between the actors' GPUs", "ZeroMQ: actor 3 has no NCCL"
};

// `wanted`: JobSpec::exchange. "zmq": never NCCL. "auto": where every member has NCCL, all the same version,
// and a GPU of its own. "nccl": also where members share a GPU; kUnsupported, in words, where a group of more
// than one cannot. `reduce`: JobSpec::reduce; "fast" holds where NCCL is the path.
Result<PathChoice> choose_path(std::string_view wanted, std::string_view reduce,
                               std::span<const Member> members);

}  // namespace seng
