#include "daemon/scheduler.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

std::string holders_text(const std::map<JobId, std::size_t>& held) {
  std::string text;
  for (const auto& [job, slots] : held)
    text += fmt::format("{}job {} holds {}", text.empty() ? "" : ", ", job, slots);
  return text.empty() ? "" : " (" + text + ")";
}

std::string in_mebibytes(std::uint64_t bytes) {
  return fmt::format("{} MiB", bytes >> 20);
}

// Slots and memory that are left to give.
struct Room {
  std::uint64_t slots = 0;
  std::uint64_t memory = 0;
  bool memory_known = false;

  // As many of `count` actors as fit.
  std::uint64_t fitting(std::uint64_t count, std::uint64_t each) const {
    count = std::min(count, slots);
    return memory_known && each > 0 ? std::min(count, memory / each) : count;
  }
  void take(std::uint64_t count, std::uint64_t each) {
    slots -= std::min(slots, count);
    memory -= std::min(memory, count * each);
  }
  void give_back(std::uint64_t count, std::uint64_t each) {
    slots += count;
    memory += count * each;
  }
};

struct Plan {
  JobDemand demand;
  std::uint64_t target = 0;  // actors that it shall have
  JobId preempted_for = 0;

  // It runs, and is to go on.
  bool stays() const { return demand.runs && !demand.leaves && preempted_for == 0; }
};

class Scheduling {
 public:
  Scheduling(std::vector<JobDemand> demands, const Capacity& capacity) : capacity_(capacity) {
    std::sort(demands.begin(), demands.end(), [](const auto& a, const auto& b) {
      return a.priority != b.priority ? a.priority > b.priority : a.job < b.job;
    });
    for (JobDemand& d : demands) plans_.push_back({d, 0});
    all_ = {capacity.slots.size(), capacity.memory, capacity.memory > 0};
    free_ = {0, capacity.memory, capacity.memory > 0};
    for (const SlotUse& use : capacity.slots) {
      if (use.job == 0) {
        free_slots_.push_back(use.slot);
        kinds_[use.slot] = use.kind;
      } else {
        ++held_[use.job];
        free_.memory -= std::min(free_.memory, use.memory);
      }
    }
    std::sort(free_slots_.begin(), free_slots_.end());
    free_.slots = free_slots_.size();
  }

  Schedule run() {
    set_targets();
    for (Plan& plan : plans_) {
      if (!plan.demand.runs) serve_waiting(plan);
    }
    for (Plan& plan : plans_) {
      if (plan.demand.runs) serve_running(plan);
    }
    return std::move(out_);
  }

 private:
  void add(Plan& plan, std::uint64_t most) {
    const std::uint64_t count = all_.fitting(most, plan.demand.memory_per_actor);
    plan.target += count;
    all_.take(count, plan.demand.memory_per_actor);
  }

  bool fits(const JobDemand& d) const { return all_.fitting(d.min, d.memory_per_actor) >= d.min; }

  // Takes the min of running jobs of a lower priority until that of `d` fits. False: it never does.
  bool preempt_for(const JobDemand& d) {
    std::vector<Plan*> victims;
    for (auto plan = plans_.rbegin(); plan != plans_.rend() && !fits(d); ++plan) {
      if (!plan->stays() || plan->demand.priority >= d.priority) continue;
      all_.give_back(plan->target, plan->demand.memory_per_actor);
      victims.push_back(&*plan);
    }
    const bool enough = fits(d);
    for (Plan* victim : victims) {
      all_.take(victim->target, victim->demand.memory_per_actor);
      if (enough && fits(d)) continue;  // a later one alone makes the room
      if (!enough) continue;
      all_.give_back(victim->target, victim->demand.memory_per_actor);
      victim->target = 0;
      victim->preempted_for = d.job;
    }
    return enough;
  }

  void set_targets() {
    for (Plan& plan : plans_) {
      if (plan.stays()) add(plan, std::min(plan.demand.min, plan.demand.max));
    }
    for (Plan& plan : plans_) {
      const JobDemand& d = plan.demand;
      if (d.runs || blocked_ != 0) continue;
      if (!fits(d) && !preempt_for(d)) {
        blocked_ = d.job;
      } else {
        add(plan, d.min);
      }
    }
    for (Plan& plan : plans_) {
      if (plan.stays() && plan.demand.holds > plan.target) {
        add(plan, std::min(plan.demand.holds, plan.demand.max) -
                      std::min<std::uint64_t>(plan.target, plan.demand.max));
      }
    }
    for (Plan& plan : plans_) {
      if (plan.demand.runs ? !plan.stays() : plan.target == 0) continue;
      const std::uint64_t most =
          plan.demand.runs ? std::min<std::uint64_t>(plan.demand.max, plan.demand.holds + plan.demand.wants)
                           : plan.demand.max;
      if (most > plan.target) add(plan, most - plan.target);
    }
  }

  // The free slots that the job may have: all of one kind, its own or that with the most, unless it mixes.
  std::vector<std::uint32_t> eligible(const JobDemand& d) const {
    if (d.mixed) return free_slots_;
    std::map<std::string, std::vector<std::uint32_t>> by_kind;
    const std::vector<std::uint32_t>* best = &by_kind[d.kind];
    for (const std::uint32_t slot : free_slots_) by_kind[kinds_.at(slot)].push_back(slot);
    for (const auto& [kind, slots] : by_kind)
      if (d.kind.empty() && slots.size() > best->size()) best = &slots;
    return *best;
  }

  // Of `count` actors those that can be granted now.
  std::uint64_t available(const JobDemand& d, std::uint64_t count) const {
    return std::min<std::uint64_t>(free_.fitting(count, d.memory_per_actor), eligible(d).size());
  }

  void grant(const JobDemand& d, std::uint64_t count) {
    Grant grant{d.job, eligible(d)};
    grant.slots.resize(count);
    std::erase_if(free_slots_, [&](std::uint32_t slot) {
      return std::find(grant.slots.begin(), grant.slots.end(), slot) != grant.slots.end();
    });
    free_.take(count, d.memory_per_actor);
    held_[d.job] += count;
    out_.grants.push_back(std::move(grant));
  }

  void serve_waiting(const Plan& plan) {
    const JobDemand& d = plan.demand;
    if (first_waiting_ != 0) {
      out_.waits.push_back(
          {d.job, fmt::format("waits behind job {}, which {}", first_waiting_,
                              first_waiting_ < d.job ? "is older" : "has a higher priority")});
      // What it may have soon is kept for it, but for nobody before it.
      if (plan.target > 0) free_.slots -= std::min<std::uint64_t>(free_.slots, d.min);
      return;
    }
    const std::uint64_t now = available(d, plan.target);
    if (plan.target > 0 && now >= d.min) return grant(d, now);
    first_waiting_ = d.job;
    out_.waits.push_back({d.job, why(d, plan.target > 0)});
    // Kept for it while others shrink.
    if (plan.target > 0) free_.take(d.min, d.memory_per_actor);
  }

  std::string why(const JobDemand& d, bool coming) const {
    const std::string more = coming ? "; others make room" : "";
    if (free_slots_.size() < d.min) {
      return fmt::format("waits for {}: {} of {} free{}{}", counted(d.min, "slot"), free_slots_.size(),
                         capacity_.slots.size(), holders_text(held_), more);
    }
    if (eligible(d).size() < d.min) {
      const std::string kind = d.kind.empty() ? "one kind of device" : d.kind;
      return fmt::format("waits for {} of {}: {} free{}{}", counted(d.min, "slot"), kind, eligible(d).size(),
                         holders_text(held_), held_.empty() ? "" : more);
    }
    return fmt::format("waits for memory: {} of {} each, {} of {} free{}{}", counted(d.min, "actor"),
                       in_mebibytes(d.memory_per_actor), in_mebibytes(free_.memory),
                       in_mebibytes(capacity_.memory), holders_text(held_), more);
  }

  void serve_running(const Plan& plan) {
    const JobDemand& d = plan.demand;
    if (plan.preempted_for != 0) out_.preemptions.push_back({d.job, plan.preempted_for});
    if (!plan.stays()) return;
    if (plan.target < d.holds && d.holds <= d.max) {
      out_.limits.push_back({d.job, static_cast<std::uint32_t>(plan.target), first_waiting_});
      return;
    }
    const std::uint64_t more = plan.target - std::min<std::uint64_t>(plan.target, d.holds);
    const std::uint64_t now = available(d, std::min<std::uint64_t>(more, d.wants));
    if (now > 0) grant(d, now);
    if (now < d.wants) {
      const std::uint64_t all = capacity_.slots.size();
      const std::string why =
          d.holds + now >= all ? "this node has " + counted(all, "slot") : "waits for free slots";
      out_.waits.push_back(
          {d.job, fmt::format("{} of {} actors: {}", d.holds + now, d.holds + d.wants, why)});
    }
  }

  const Capacity& capacity_;
  std::vector<Plan> plans_;
  Room all_, free_;
  std::vector<std::uint32_t> free_slots_;
  std::map<std::uint32_t, std::string> kinds_;  // of the free slots
  std::map<JobId, std::size_t> held_;
  JobId blocked_ = 0;        // the first whose min can never be had now
  JobId first_waiting_ = 0;  // the first that gets nothing now
  Schedule out_;
};

}  // namespace

Schedule schedule(std::vector<JobDemand> demands, const Capacity& capacity) {
  return Scheduling(std::move(demands), capacity).run();
}

}  // namespace seng
