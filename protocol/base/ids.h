// Names of things, as they appear in messages, in the store and on screen.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace seng {

// Jobs are numbered by the head from 1, in the order of submission, for ever.
using JobId = std::uint64_t;

// Actors of a job are numbered from 0 and a number is never used again within the job: a replacement gets the
// next.
using ActorId = std::uint32_t;
inline constexpr ActorId kNoActor = 0xffffffffu;

// A fixed membership of a job. `incarnation` grows with each start of the head, `counter` within one.
// {0,0} is "no membership yet".
struct GroupEpoch {
  std::uint64_t incarnation = 0;
  std::uint64_t counter = 0;
  auto operator<=>(const GroupEpoch&) const = default;
};

std::string to_string(const GroupEpoch& epoch);    // "2.17"
std::string actor_name(JobId job, ActorId actor);  // "3/0": job 3, actor 0

}  // namespace seng
