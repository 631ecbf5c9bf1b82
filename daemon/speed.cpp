#include "daemon/speed.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr std::size_t kWindows = 7, kWindowsLeast = 3;
// Looks in a row that must agree, and the part of a step that another cut must save.
constexpr int kLooks = 5;
constexpr double kGain = 0.15;
// Where ranges are cut anew anyway, equal ones are taken unless others save at least this.
constexpr double kWorthUnequal = 0.05;

double median(const std::deque<double>& values) {
  std::vector<double> sorted(values.begin(), values.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

void keep(std::deque<double>& values, double value) {
  values.push_back(value);
  if (values.size() > kWindows) values.pop_front();
}

std::vector<std::uint32_t> equal_sizes(std::uint32_t micro_batches, std::size_t members) {
  const auto count = static_cast<std::uint32_t>(members);
  std::vector<std::uint32_t> out(members, micro_batches / count);
  for (std::uint32_t i = 0; i < micro_batches % count; ++i) ++out[i];
  return out;
}

}  // namespace

double compute_seconds(const ActorSpeed& speed, std::uint32_t micro_batches) {
  const std::uint32_t lanes = std::max(1u, speed.lanes);
  const std::uint32_t rounds = (micro_batches + lanes - 1) / lanes;
  return rounds * speed.micro_seconds;
}

double slowest_seconds(const std::vector<ActorSpeed>& speeds, const std::vector<std::uint32_t>& sizes) {
  double out = 0;
  for (std::size_t i = 0; i < speeds.size(); ++i) out = std::max(out, compute_seconds(speeds[i], sizes[i]));
  return out;
}

// One after another, each to whom it delays least. Since nobody is done earlier with more, no other cut has
// an earlier slowest.
std::vector<std::uint32_t> share_out(std::uint32_t micro_batches, const std::vector<ActorSpeed>& speeds) {
  SENG_CHECK(!speeds.empty() && speeds.size() <= micro_batches, "members without a micro-batch");
  std::vector<std::uint32_t> out(speeds.size(), 1);
  // When it would be done with one more; with lanes to spare, the work that it would have.
  using Entry = std::tuple<double, double, std::size_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> next;
  const auto offer = [&](std::size_t i) {
    next.emplace(compute_seconds(speeds[i], out[i] + 1),
                 (out[i] + 1) * speeds[i].micro_seconds / std::max(1u, speeds[i].lanes), i);
  };
  for (std::size_t i = 0; i < speeds.size(); ++i) offer(i);
  for (std::size_t left = micro_batches - speeds.size(); left > 0; --left) {
    const std::size_t i = std::get<2>(next.top());
    next.pop();
    ++out[i];
    offer(i);
  }
  return out;
}

void Speed::heard(ActorId actor, const Progress& report, double now) {
  Track& t = tracks_[actor];
  const bool grows = report.micro_batches > t.micro_batches && report.compute_seconds > t.seconds;
  const bool closes = t.begun && grows && now >= t.since + lease_s_;
  if (closes) {
    keep(t.micro_seconds,
         (report.compute_seconds - t.seconds) / static_cast<double>(report.micro_batches - t.micro_batches));
    if (report.applied_step > t.step)
      keep(t.step_seconds, (now - t.since) / static_cast<double>(report.applied_step - t.step));
  }
  // While it does nothing no window is open.
  if (t.begun && !closes && (grows || report.activity != kIdle)) return;
  t.begun = true;
  t.since = now;
  t.micro_batches = report.micro_batches;
  t.seconds = report.compute_seconds;
  t.step = report.applied_step;
}

std::optional<double> Speed::micro_seconds(ActorId actor) const {
  const auto found = tracks_.find(actor);
  if (found == tracks_.end() || found->second.micro_seconds.size() < kWindowsLeast) return std::nullopt;
  return median(found->second.micro_seconds);
}

std::vector<ActorSpeed> Speed::speeds(const std::vector<Share>& members, bool all) const {
  std::vector<ActorSpeed> out;
  std::deque<double> known;
  for (const Share& m : members) {
    const auto seconds = micro_seconds(m.actor);
    if (all && !seconds) return {};
    if (seconds) known.push_back(*seconds);
    out.push_back({seconds.value_or(0), m.lanes});
  }
  if (known.empty()) return {};
  const double average = median(known);
  for (ActorSpeed& speed : out) {
    if (speed.micro_seconds <= 0) speed.micro_seconds = average;
  }
  return out;
}

void Speed::look(const std::vector<Share>& members, double now) {
  if (now < looked_at_ + lease_s_) return;
  looked_at_ = now;
  const std::vector<ActorSpeed> known = speeds(members, true);
  if (known.size() < 2) {
    in_a_row_ = 0;
    return;
  }
  std::vector<std::uint32_t> sizes;
  for (const Share& m : members) sizes.push_back(m.micro_batches);
  const double slowest = slowest_seconds(known, sizes);
  // A step is more than its micro-batches: what is not computed in them stays.
  const auto& steps = tracks_.at(members.front().actor).step_seconds;
  const double step = steps.empty() ? slowest : std::max(slowest, median(steps));
  const double saved = slowest - slowest_seconds(known, share_out(micro_batches_, known));
  in_a_row_ = saved >= kGain * step ? in_a_row_ + 1 : 0;
}

bool Speed::uneven(double now) const {
  return in_a_row_ >= kLooks && now >= rebalanced_at_ + rest_s_;
}

std::vector<std::uint32_t> Speed::sizes(const std::vector<Share>& members) const {
  const std::vector<ActorSpeed> known = speeds(members, false);
  if (known.size() < 2) return {};
  std::vector<std::uint32_t> out = share_out(micro_batches_, known);
  const double equal = slowest_seconds(known, equal_sizes(micro_batches_, members.size()));
  if (slowest_seconds(known, out) > (1 - kWorthUnequal) * equal) return {};
  return out;
}

}  // namespace seng
