#include "actors/exchange/link_choice.h"

#include <map>

#include <fmt/format.h>

namespace seng {
namespace {

std::string version_text(std::uint32_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// Empty: all members can use NCCL together.
std::string obstacle(std::span<const Member> members) {
  for (const Member& member : members) {
    if (member.link.nccl == 0)
      return fmt::format("actor {} on node {} has no GPU or no NCCL", member.actor, member.node);
  }
  for (const Member& member : members) {
    if (member.link.nccl != members[0].link.nccl)
      return fmt::format("actor {} has NCCL {}, actor {} has {}", members[0].actor,
                         version_text(members[0].link.nccl), member.actor, version_text(member.link.nccl));
  }
  return {};
}

std::string shared_gpu(std::span<const Member> members) {
  std::map<std::string, ActorId> first;
  for (const Member& member : members) {
    const auto [found, fresh] = first.try_emplace(member.link.gpu, member.actor);
    if (!fresh) return fmt::format("actors {} and {} share a GPU", found->second, member.actor);
  }
  return {};
}

PathChoice by_messages(std::string why) {
  return {.why = std::move(why)};
}

}  // namespace

Result<PathChoice> choose_path(std::string_view wanted, std::string_view reduce,
                               std::span<const Member> members) {
  if (members.size() < 2) return by_messages("nobody to exchange with");
  if (wanted == "zmq") return by_messages("ZeroMQ, as the job says");
  const std::string missing = obstacle(members);
  if (wanted == "nccl" && !missing.empty())
    return fail(ErrorCode::kUnsupported,
                fmt::format("exchange: nccl: {}; exchange: auto takes ZeroMQ then", missing));
  const std::string against = missing.empty() && wanted != "nccl" ? shared_gpu(members) : missing;
  const bool fast = reduce == "fast";
  if (!against.empty())
    return by_messages("ZeroMQ: " + against + (fast ? "; sums are ordered, not fast" : ""));
  return PathChoice{.path = BlockPath::kNccl,
                    .reduction = fast ? Reduction::kFast : Reduction::kOrdered,
                    .why = fmt::format(
                        "NCCL {} between the actors' GPUs{}", version_text(members[0].link.nccl),
                        fast ? ", which adds the gradients (exchange.reduce: fast): the trained bits are not "
                               "reproducible across group sizes"
                             : "")};
}

}  // namespace seng
