#include "actors/make_group.h"

#include "actors/exchange/placement.h"

namespace seng {
namespace {

PlacementOptions placement_options(const Workload& workload) {
  if (!workload.second_order) return {};
  const CurvatureSpec& curvature = workload.spec.optimizer.curvature;
  return {.curvature_samples = curvature.samples,
          .refresh_every = curvature.every,
          .inverse_every = workload.spec.optimizer.name == "kfac" ? curvature.inverse_every : 0};
}

}  // namespace

Group make_group(JobId job, ActorId self, const GroupEpoch& epoch, const Workload& workload,
                 const std::vector<Member>& members) {
  Group group{.job = job,
              .epoch = epoch,
              .self = self,
              .micro_batches = workload.spec.micro_batches(),
              .members = members,
              .placement = place_blocks(workload.network.blocks(), members, placement_options(workload)),
              .fragment_floats = {}};
  for (const FragmentShape& shape : workload.fragments) group.fragment_floats.push_back(shape.words);
  return group;
}

}  // namespace seng
