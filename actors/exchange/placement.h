// Who owns which block, and who keeps a copy of its curvature.
#pragma once

#include <cstdint>
#include <span>

#include "actors/engine/block.h"
#include "actors/exchange/exchange.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

// What the estimate of a block's cost depends on; equal on all actors, since it comes from the job's
// specification.
struct PlacementOptions {
  std::uint32_t curvature_samples = 0;  // N; 0: no curvature (sgd), only sums and bytes count
  std::uint32_t refresh_every = 100;    // steps: the refresh's work is spread over them
  // K-FAC's factors in the place of samples, their eigendecompositions renewed at every so many refreshes; 0:
  // SENG.
  std::uint32_t inverse_every = 0;
};

// Nanoseconds an ordinary step costs the owner in a group of `members`, estimated: preconditioning (reading
// U, or the implicit product's operations), its share of a refresh, and the bytes received, added and sent. A
// guess at ratios, not a measurement; at least 1. Pure IEEE arithmetic: the same on every actor.
double block_cost(const Block& block, std::size_t members, const PlacementOptions& options);

// Floats of curvature that owner and backup keep: N times the smaller of both representations, or the
// factors.
double curvature_floats(const Block& block, const PlacementOptions& options);

// Owners: the most expensive block first (of equal ones the first), each to the member with the least so far
// (of equal ones the first). The summary's owner is the leader, members[0]. Backups: the block with the most
// curvature first, each to the member other than its owner that keeps the least curvature so far, owned or
// copied. Depends on the order and number of members and on nothing else of them but their ids. With at least
// as many blocks as members everybody owns one. No backups in a group of one. Requires at least one member,
// with distinct ids.
Placement place_blocks(std::span<const Block> blocks, std::span<const Member> members,
                       const PlacementOptions& options = {});

}  // namespace seng
