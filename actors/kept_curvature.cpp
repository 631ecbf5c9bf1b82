#include "actors/kept_curvature.h"

namespace seng {

KeptCurvature keep_curvature(const Curvature& curvature) {
  KeptCurvature kept;
  if (curvature.ready()) kept.in_force = curvature.keep();
  kept.waiting = curvature.keep_waiting();
  return kept;
}

Digest digest_of(const KeptCurvature& kept) {
  const Digest in_force = kept.in_force ? kept.in_force->digest() : Digest{};
  return kept.waiting ? digest_with_waiting(in_force, kept.waiting->digest()) : in_force;
}

void append_views(std::size_t block, const KeptCurvature& kept, std::vector<CurvatureView>& views) {
  for (const auto* each : {&kept.in_force, &kept.waiting}) {
    if (!*each) continue;
    const Curvature::Kept& version = **each;
    views.push_back({block, version.step, version.lambda, version.first, version.second, version.precision,
                     each == &kept.waiting});
  }
}

}  // namespace seng
