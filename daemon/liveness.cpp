#include "daemon/liveness.h"

#include <algorithm>

namespace seng {

void Liveness::add(Key who, double now) {
  known_[who] = {now, false};
}

std::optional<Liveness::Finding> Liveness::heard(Key who, double now) {
  const auto found = known_.find(who);
  if (found == known_.end()) return std::nullopt;
  Lease& lease = found->second;
  const double silent_s = now - lease.last_heard;
  const bool was_silent = lease.silent;
  lease = {now, false};
  if (!was_silent) return std::nullopt;
  return Finding{who, Verdict::kHeard, silent_s};
}

std::vector<Liveness::Finding> Liveness::check(double now) {
  std::vector<Finding> out;
  for (auto& [who, lease] : known_) {
    if (lease.silent || now < lease.last_heard + lease_s_) continue;
    lease.silent = true;
    out.push_back({who, Verdict::kSilent, now - lease.last_heard});
  }
  return out;
}

void Liveness::excuse(double now) {
  for (auto& [who, lease] : known_) {
    if (!lease.silent) lease.last_heard = now;
  }
}

std::optional<double> Liveness::deadline() const {
  std::optional<double> out;
  for (const auto& [who, lease] : known_) {
    if (lease.silent) continue;
    const double due = lease.last_heard + lease_s_;
    out = out ? std::min(*out, due) : due;
  }
  return out;
}

}  // namespace seng
