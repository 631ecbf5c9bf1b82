// Explores random histories of a group: the daemon's GroupEpochs and MembershipPolicy with modelled actors,
// which apply steps, refresh curvature with owners and backups, are started, stopped, continued, killed, and
// lose messages with their crash; newcomers follow a group that trains before they are taken in, fall behind,
// and lose whom they follow; the head crashes too and its successor adopts who lives. Checked are the
// design's promises: one value for a step, no committed step lost while somebody who holds it lives, nobody
// goes back behind a checkpoint or resumes from what it lacks, what is stale has no effect, and progress once
// the faults end.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "daemon/membership_policy.h"
#include "daemon/warm_up.h"

namespace seng {
namespace {

using Phase = GroupEpochs::Phase;
using Hash = std::uint64_t;

constexpr std::uint32_t kBlocks = 3, kMicro = 8;
constexpr std::uint64_t kEvery = 3;  // steps between refreshes
constexpr std::uint32_t kMaxActors = 4;

Hash mix(Hash a, Hash b) {
  a = (a ^ (b + 0x9e3779b97f4a7c15ull)) * 0xff51afd7ed558ccdull;
  return a ^ (a >> 31);
}

// What travels, between actors and to and from the head.
struct Packet {
  enum class Kind {
    kReconfigure,
    kAssign,
    kResume,
    kRetire,
    kParked,
    kReady,
    kStateLost,
    kExit,
    kWarmUp,
    kWarmedUp,
    kShare,
    kPart
  };
  Kind kind = Kind::kShare;
  GroupEpoch epoch;
  ActorId from = kNoActor;
  std::uint64_t step = 0;
  Hash value = 0;  // kPart: what the owner made of its blocks
  Reconfigure group;
  Assign assign;
  std::vector<HeldCurvature> held;
  WarmUp order;
  bool gave_up = false;  // kWarmedUp
};

struct ModelActor {
  bool stopped = false;  // SIGSTOP
  bool has_state = false;
  bool in_pieces = false;  // the head has heard that its group lacked a piece of that state
  bool training = false, parked = false;
  GroupEpoch epoch;
  std::vector<ActorId> members;
  std::optional<Assign> assigned;
  std::uint64_t applied = 0;
  Hash value = 0;
  std::map<std::pair<std::uint32_t, std::uint64_t>, Hash> curvature;  // by block and step
  std::map<std::uint64_t, std::set<ActorId>> shares;                  // by step: whose fragments are here
  std::map<std::uint64_t, std::map<ActorId, Hash>> parts;             // by step: directions
  bool sent_share = false, sent_part = false;
  bool park_after = false;
  std::optional<Packet> planned;  // a planned Reconfigure that waits for the step's end
  // As the source of a warm-up: what it serves.
  std::uint64_t serves = 0;  // the order's number; 0: none
  GroupEpoch serves_in;
  std::pair<std::uint64_t, Hash> snapshot;
  std::map<std::uint64_t, Hash> records;  // by step
  // As a newcomer: what it follows.
  std::optional<Packet> follows;
  bool caught_up = false, near = false;  // has the snapshot; has said so
  bool followed = false;                 // the head has heard that it did
  bool is_member = false;
};

class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) { new_head(); }

  void run(int events) {
    for (int i = 0; i < events && ok(); ++i) {
      if (roll(12) == 0) fault();
      turn();
    }
    for (auto& [id, a] : actors_) a.stopped = false;
    if (!head_) new_head();
    for (auto& [id, silent] : head_->known) silent.reset();
    const std::uint64_t reached = largest_;
    const std::uint64_t restores = restores_;
    for (int i = 0; i < 6000 && ok(); ++i) {
      turn();
      if (largest_ > reached + 3) return;
    }
    if (!ok()) return;
    // After a restore the steps are made again first.
    ASSERT_GT(restores_, restores) << "no progress from step " << reached << " in phase "
                                   << phase_name(head_->group.phase());
  }

 private:
  struct Head {
    explicit Head(std::uint64_t incarnation)
        : group(kMicro, incarnation), policy({timeouts, 1000000, 1}), warm_ups(timeouts, incarnation) {}
    Timeouts timeouts;
    GroupEpochs group;
    MembershipPolicy policy;
    WarmUps warm_ups;
    std::map<ActorId, std::optional<double>> known;  // living, and since when silent
    std::uint64_t checkpoint = 0;                    // the newest when the membership was begun
  };

  static bool ok() { return !::testing::Test::HasFatalFailure(); }
  unsigned roll(unsigned n) { return static_cast<unsigned>(random_() % n); }
  ModelActor* alive(ActorId id) {
    const auto found = actors_.find(id);
    return found == actors_.end() ? nullptr : &found->second;
  }

  // ---- the head -------------------------------------------------------------------------------------------
  // It finds what its predecessor had stored and who lives; the stopped are not heard.
  void new_head() {
    head_.emplace(++incarnation_);
    nobody_has_followed();  // that it knows of
    for (auto it = queues_.begin(); it != queues_.end();) {
      it = it->first.second == kNoActor ? queues_.erase(it) : std::next(it);
    }
    std::set<ActorId> holders, may_hold;
    bool training = true;
    for (const auto& [id, a] : actors_) {
      if (a.epoch != GroupEpoch{}) may_hold.insert(id);
      head_->known[id] = a.stopped ? std::optional(now_) : std::nullopt;
      if (!a.stopped && a.epoch == stored_epoch_ && a.training) holders.insert(id);
    }
    for (const Member& m : stored_.members) {
      const ModelActor* a = alive(m.actor);
      training = training && a != nullptr && !a->stopped && a->training && a->epoch == stored_epoch_;
      if (a == nullptr) head_->policy.lost({MembershipPolicy::Loss::Why::kKilled, "", 1000, true}, now_);
    }
    if (!stored_.members.empty()) head_->group.adopt(stored_epoch_, stored_, training, holders, may_hold);
  }

  GroupView view() const {
    GroupView out;
    out.phase = head_->group.phase();
    for (const Member& m : head_->group.members()) out.members.push_back(m.actor);
    for (const Member& m : head_->group.leavers()) out.leavers.push_back(m.actor);
    for (const auto& [id, silent] : head_->known)
      out.actors.push_back({id, true, head_->group.holds_state(id), draining_.contains(id),
                            head_->warm_ups.done(id), silent, head_->group.follows_state(id),
                            actors_.at(id).applied});
    out.warming = head_->warm_ups.newcomers();
    out.trained = !stored_.members.empty();
    out.max = max_;
    return out;
  }

  void steer() {
    if (!head_) return;
    (void)head_->warm_ups.expire(now_);
    for (int rounds = 0; rounds < 20 && ok(); ++rounds) {
      const GroupView before = view();
      std::uint32_t wanted = head_->policy.wants(before, now_);
      if (before.phase == Phase::kIdle && before.actors.empty()) wanted = max_;
      head_->policy.started(wanted, before, now_);
      for (; wanted > 0 && head_->known.size() < kMaxActors; --wanted) {
        actors_[next_actor_] = {};
        head_->known[next_actor_++] = std::nullopt;
      }
      const auto actions = head_->policy.decide(view(), now_);
      if (actions.empty()) return;
      for (const auto& action : actions) carry_out(action);
    }
  }

  void carry_out(const MembershipAction& action) {
    if (const auto* begin = std::get_if<membership_action::Begin>(&action)) {
      const auto members = [](const std::vector<ActorId>& ids) {
        std::vector<Member> out;
        for (const ActorId id : ids) out.push_back({id, "", "", 0, 0, ""});
        return out;
      };
      head_->checkpoint = checkpoint_;
      take(head_->group.on(epoch_event::Begin{
          members(begin->members), members(begin->leavers), begin->planned, false, {}, checkpoint_}));
    } else if (const auto* warm_up = std::get_if<membership_action::WarmUp>(&action)) {
      Packet packet;
      packet.kind = Packet::Kind::kWarmUp;
      packet.epoch = head_->group.epoch();
      packet.order.number = head_->warm_ups.begin(warm_up->newcomers, now_);
      packet.order.source = warm_up->source;
      packet.order.newcomers = warm_up->newcomers;
      for (const ActorId id : warm_up->future) packet.order.future.push_back({id, "", "", 0, 0, ""});
      to_group(packet, false);
      for (const ActorId id : warm_up->newcomers) send(kNoActor, id, packet);
    } else if (const auto* dismiss = std::get_if<membership_action::Dismiss>(&action)) {
      forget(dismiss->actor);
    } else if (const auto* kill = std::get_if<membership_action::Kill>(&action)) {
      forget(kill->actor);
      lost(kill->actor);
    } else {
      FAIL() << "it gave up";
    }
  }

  void forget(ActorId id) {
    actors_.erase(id);
    head_->known.erase(id);
    draining_.erase(id);
    for (auto it = queues_.begin(); it != queues_.end();) {
      const bool touches = it->first.first == id || it->first.second == id;
      it = touches && roll(2) == 0 ? queues_.erase(it) : std::next(it);
    }
  }

  void lost(ActorId id) {
    take(head_->group.on(epoch_event::Lost{id}));
    head_->policy.lost({MembershipPolicy::Loss::Why::kKilled, "", 1000, !stored_.members.empty()}, now_);
  }

  void to_group(const Packet& packet, bool leavers_too) {
    for (const Member& m : head_->group.members()) send(kNoActor, m.actor, packet);
    if (!leavers_too) return;
    for (const Member& m : head_->group.leavers()) send(kNoActor, m.actor, packet);
  }

  void take(const EpochOutcome& outcome) {
    for (const EpochAction& action : outcome.actions) {
      Packet packet;
      packet.epoch = head_->group.epoch();
      if (const auto* persist = std::get_if<epoch_action::Persist>(&action)) {
        head_->warm_ups.over();
        if (persist->membership.restore) check_restore();
        stored_ = persist->membership;
        stored_epoch_ = persist->epoch;
        take(head_->group.on(epoch_event::Persisted{persist->epoch}));
      } else if (const auto* announce = std::get_if<epoch_action::Announce>(&action)) {
        packet.kind = Packet::Kind::kReconfigure;
        packet.group = announce->message;
        to_group(packet, true);
        if (announce->message.restore) {
          nobody_has_followed();
          kill_who_missed_it();
        }
      } else if (const auto* assign = std::get_if<epoch_action::AssignAll>(&action)) {
        check_base(assign->message);
        packet.kind = Packet::Kind::kAssign;
        packet.assign = assign->message;
        to_group(packet, true);
      } else if (const auto* resume = std::get_if<epoch_action::ResumeAll>(&action)) {
        for (auto& [id, a] : actors_) {
          // The group has gone on without one that was ahead of it, for that one was silent.
          a.followed = a.followed && a.applied <= resume->base_step;
          a.in_pieces = a.in_pieces && !head_->group.takes_part(id);
        }
        packet.kind = Packet::Kind::kResume;
        restoring_ = false;
        to_group(packet, false);
      } else {
        packet.kind = Packet::Kind::kRetire;
        for (const ActorId id : std::get<epoch_action::RetireAll>(action).leavers) send(kNoActor, id, packet);
      }
    }
  }

  void nobody_has_followed() {
    for (auto& [id, a] : actors_) a.followed = false;
  }

  // As JobRun does.
  void kill_who_missed_it() {
    std::vector<ActorId> missed;
    for (const auto& [id, a] : actors_) {
      if (a.epoch != GroupEpoch{} && !head_->group.takes_part(id)) missed.push_back(id);
    }
    for (const ActorId id : missed) {
      forget(id);
      lost(id);
    }
  }

  // A committed step may be lost only with all who hold it, or where a piece of the state is.
  void check_restore() {
    ++restores_;
    if (!restoring_) {
      for (const auto& [id, a] : actors_) {
        ASSERT_FALSE(a.has_state && !a.in_pieces && a.applied > checkpoint_)
            << "actor " << id << " still holds step " << a.applied;
        // Nobody waits for a newcomer that is silent.
        ASSERT_FALSE(a.followed && !head_->known.at(id) && a.applied > checkpoint_)
            << "actor " << id << " has followed to step " << a.applied;
      }
    }
    restoring_ = true;  // until it is done
  }

  void check_base(const Assign& assign) {
    ASSERT_GE(assign.base_step, head_->checkpoint) << "the group goes back behind a checkpoint";
    if (head_->group.restores()) return;
    for (const auto* list : {&stored_.members, &stored_.leavers}) {
      for (const Member& m : *list) {
        const ModelActor* a = alive(m.actor);
        if (a == nullptr) continue;
        // The members' state comes before that of one that has followed, which may know the step behind it.
        if (a->followed) {
          ASSERT_LE(a->applied, assign.base_step + 1) << "steps are lost to who knows less";
        }
        if (!a->has_state) continue;
        ASSERT_LE(a->applied, assign.base_step) << "a committed step is lost";
      }
    }
  }

  void head_hears(const Packet& p) {
    if (!head_ || !head_->known.contains(p.from)) return;
    head_->known[p.from] = std::nullopt;
    const GroupEpoch epoch = head_->group.epoch();
    const Phase phase = head_->group.phase();
    EpochOutcome outcome;
    if (p.kind == Packet::Kind::kParked) {
      outcome = head_->group.on(epoch_event::Parked{p.from, p.epoch, p.step, p.held});
    } else if (p.kind == Packet::Kind::kReady) {
      outcome = head_->group.on(epoch_event::Ready{p.from, p.epoch});
    } else if (p.kind == Packet::Kind::kStateLost) {
      outcome = head_->group.on(epoch_event::StateLost{p.from, p.epoch});
      if (outcome.ignored.empty()) {
        restoring_ = true;
        nobody_has_followed();
        for (auto& [id, a] : actors_) a.in_pieces = a.in_pieces || head_->group.takes_part(id);
      }
    } else if (p.kind == Packet::Kind::kWarmedUp) {
      if (head_->warm_ups.said(p.from, p.order.number) && !p.gave_up) {
        take(head_->group.on(epoch_event::Followed{p.from}));
        actors_.at(p.from).followed = head_->group.follows_state(p.from);
      }
      return;
    } else if (p.kind == Packet::Kind::kExit) {
      forget(p.from);
      return;
    }
    const bool effect = !outcome.actions.empty() || head_->group.phase() != phase;
    ASSERT_FALSE(effect && p.epoch != epoch) << "what is stale had an effect";
    take(outcome);
  }

  // ---- an actor -------------------------------------------------------------------------------------------
  void send(ActorId from, ActorId to, Packet packet) {
    packet.from = from;
    queues_[{from, to}].push_back(std::move(packet));
  }

  static std::uint64_t refreshed_at(std::uint64_t step) { return step - step % kEvery; }
  static bool owns(const ModelActor& a, ActorId id, std::uint32_t block) {
    return a.members[block % a.members.size()] == id;
  }
  static bool keeps(const ModelActor& a, ActorId id, std::uint32_t block) {
    return owns(a, id, block) || a.members[(block + 1) % a.members.size()] == id;
  }

  void park(ActorId id, ModelActor& a, const Packet& p) {
    a.epoch = p.epoch;
    a.members.clear();
    a.is_member = false;
    for (const Member& m : p.group.members) {
      a.members.push_back(m.actor);
      a.is_member = a.is_member || m.actor == id;
    }
    a.training = a.park_after = false;
    a.parked = true;
    a.planned.reset();
    a.assigned.reset();
    a.follows.reset();
    if (!p.group.planned) a.serves = 0;
    new_step(a);
    a.shares.clear();
    a.parts.clear();
    if (p.group.restore) {
      a.has_state = false;
      a.applied = 0;
      a.curvature.clear();
      if (a.members.front() == id) load_checkpoint(a);
    }
    Packet out;
    out.kind = Packet::Kind::kParked;
    out.epoch = a.epoch;
    out.step = a.applied;
    for (const auto& [key, hash] : a.curvature) out.held.push_back({key.first, key.second});
    send(id, kNoActor, out);
  }

  void load_checkpoint(ModelActor& a) {
    a.has_state = true;
    a.applied = checkpoint_;
    a.value = values_.at(checkpoint_);
    const std::uint64_t refresh = refreshed_at(checkpoint_);
    for (std::uint32_t b = 0; refresh > 0 && b < kBlocks; ++b) a.curvature[{b, refresh}] = truth(b, refresh);
  }

  Hash truth(std::uint32_t block, std::uint64_t step) const {
    return mix(mix(values_.at(step - 1), step), block);
  }

  static void new_step(ModelActor& a) { a.sent_share = a.sent_part = false; }

  void actor_hears(ActorId id, ModelActor& a, const Packet& p) {
    switch (p.kind) {
      case Packet::Kind::kReconfigure: {
        if (p.epoch <= a.epoch) return;
        // A newcomer that has caught up goes on to the last step as well.
        const bool warm = a.follows && a.near;
        if (!warm) a.follows.reset();
        const GroupEpoch current = warm ? a.follows->epoch : a.epoch;
        const bool follows = (a.training || warm) && p.group.planned &&
                             p.epoch.incarnation == current.incarnation &&
                             p.epoch.counter == current.counter + 1;
        if (!follows) return park(id, a, p);
        a.planned = p;
        if (a.park_after) park(id, a, p);
        return;
      }
      case Packet::Kind::kWarmUp:
        return warm_up_ordered(id, a, p);
      case Packet::Kind::kAssign:
        if (p.epoch != a.epoch || !a.parked) return;
        a.serves = 0;  // until then newcomers may be taking the last step
        if (a.is_member) a.assigned = p.assign;
        return;
      case Packet::Kind::kResume:
        if (p.epoch != a.epoch || !a.parked) return;
        ASSERT_TRUE(a.has_state && a.assigned && a.applied == a.assigned->base_step)
            << "resumed without its base";
        ASSERT_EQ(a.value, values_.at(a.applied));
        a.parked = false;
        a.training = true;
        std::erase_if(a.curvature, [&, id = id](const auto& c) { return !keeps(a, id, c.first.first); });
        return;
      case Packet::Kind::kRetire: {
        if (p.epoch != a.epoch) return;
        Packet out;
        out.kind = Packet::Kind::kExit;
        send(id, kNoActor, out);
        return;
      }
      case Packet::Kind::kShare:
      case Packet::Kind::kPart:
        if (p.epoch != a.epoch) return;
        if (p.kind == Packet::Kind::kShare) a.shares[p.step].insert(p.from);
        if (p.kind == Packet::Kind::kPart) a.parts[p.step][p.from] = p.value;
        return;
      default:
        return;
    }
  }

  void warm_up_ordered(ActorId id, ModelActor& a, const Packet& p) {
    const auto& newcomers = p.order.newcomers;
    if (std::find(newcomers.begin(), newcomers.end(), id) == newcomers.end()) {
      if (p.epoch != a.epoch || !a.training) return;
      a.serves = p.order.source == id && !newcomers.empty() ? p.order.number : 0;
      a.serves_in = p.epoch;
      if (a.serves == 0) a.records.clear();
      a.snapshot = {a.applied, a.value};
      return;
    }
    if (p.epoch <= a.epoch) return;
    const bool goes_on =
        a.follows && a.caught_up && a.follows->epoch == p.epoch && a.follows->order.source == p.order.source;
    a.training = a.parked = false;  // one that was left out of the group leaves its step, or what it pulls
    a.assigned.reset();
    a.follows = p;
    a.has_state = false;  // of its own: whatever it comes to is the group's
    a.caught_up = goes_on;
    a.near = false;
  }

  // A newcomer takes what the source of its warm-up offers.
  void follow(ActorId id, ModelActor& a) {
    const Packet order = *a.follows;
    const ModelActor* source = alive(order.order.source);
    Packet out;
    out.kind = Packet::Kind::kWarmedUp;
    out.order = order.order;
    // It waits for an order that is still on its way to the source.
    if (source != nullptr && source->epoch == order.epoch && source->serves < order.order.number) return;
    const bool serves = source != nullptr && source->serves == order.order.number && !source->stopped &&
                        source->serves_in == order.epoch;
    if (!serves) return give_up(id, a, out);
    if (!a.caught_up) {
      a.caught_up = true;
      std::tie(a.applied, a.value) = source->snapshot;
    }
    const std::uint64_t refresh = refreshed_at(a.applied);
    for (std::uint32_t b = 0; refresh > 0 && b < kBlocks; ++b) {
      for (const auto& [other, holder] : actors_) {
        const auto held = holder.curvature.find({b, refresh});
        if (other != id && holder.epoch == order.epoch && held != holder.curvature.end())
          a.curvature.insert(*held);
      }
    }
    if (a.applied == source->applied || roll(4) == 0) {
      if (!std::exchange(a.near, true)) send(id, kNoActor, out);
      return;
    }
    const auto record = source->records.find(a.applied + 1);
    if (record == source->records.end()) return give_up(id, a, out);  // it is too far behind
    a.value = mix(a.value, record->second);
    ++a.applied;
    ASSERT_EQ(a.value, values_.at(a.applied)) << "a newcomer came to another value of step " << a.applied;
    const auto last = last_steps_.find(order.epoch);
    if (last == last_steps_.end() || last->second != a.applied) return;
    a.follows.reset();
    if (a.planned) park(id, a, Packet(*a.planned));
  }

  void give_up(ActorId id, ModelActor& a, Packet word) {
    word.gave_up = true;
    send(id, kNoActor, word);
    a.follows.reset();
    if (a.planned) park(id, a, Packet(*a.planned));
  }

  // Pulls what it lacks from those who live and have it.
  void pull(ActorId id, ModelActor& a) {
    const Assign& assign = *a.assigned;
    Packet out;
    out.epoch = a.epoch;
    out.kind = Packet::Kind::kReady;
    const std::uint64_t refresh = refreshed_at(assign.base_step);
    std::map<std::pair<std::uint32_t, std::uint64_t>, Hash> gained;
    for (std::uint32_t b = 0; refresh > 0 && b < kBlocks; ++b) {
      if (!keeps(a, id, b)) continue;
      const auto entry =
          std::find_if(assign.curvature.begin(), assign.curvature.end(),
                       [&](const CurvatureHolders& c) { return c.block == b && c.step == refresh; });
      if (entry == assign.curvature.end()) {
        out.kind = Packet::Kind::kStateLost;
        a.assigned.reset();
        return send(id, kNoActor, out);
      }
      const auto holder = std::find_if(entry->holders.begin(), entry->holders.end(), [&](ActorId h) {
        const ModelActor* other = alive(h);
        return other != nullptr && other->epoch == a.epoch && other->curvature.contains({b, refresh});
      });
      if (holder == entry->holders.end()) return;  // gone: the head will say so
      gained[{b, refresh}] = alive(*holder)->curvature.at({b, refresh});
    }
    if (a.applied != assign.base_step || (!a.has_state && a.applied == 0)) {
      const auto holder = std::find_if(assign.holders.begin(), assign.holders.end(), [&](ActorId h) {
        const ModelActor* other = alive(h);
        return h != id && other != nullptr && other->epoch == a.epoch && other->applied == assign.base_step;
      });
      if (holder == assign.holders.end()) return;
      a.value = alive(*holder)->value;
    }
    a.applied = assign.base_step;
    a.has_state = true;
    a.curvature.insert(gained.begin(), gained.end());  // what others may yet pull stays until all are ready
    send(id, kNoActor, out);
  }

  void work(ActorId id, ModelActor& a) {
    if (a.parked && a.assigned && (!a.has_state || roll(3) == 0)) pull(id, a);
    if (a.follows) return follow(id, a);
    if (!a.training) return;
    const std::uint64_t step = a.applied + 1;
    Packet out;
    out.epoch = a.epoch;
    out.step = step;
    if (!a.sent_share) {
      a.sent_share = true;
      out.kind = Packet::Kind::kShare;
      for (const ActorId m : a.members) send(id, m, out);
      return;
    }
    if (a.shares[step].size() < a.members.size()) return;
    if (step % kEvery == 0) {
      for (std::uint32_t b = 0; b < kBlocks; ++b) {
        if (keeps(a, id, b)) a.curvature[{b, step}] = mix(mix(a.value, step), b);
      }
    }
    if (!a.sent_part && backups_hold(id, a, step)) {
      a.sent_part = true;
      out.kind = Packet::Kind::kPart;
      for (std::uint32_t b = 0; b < kBlocks; ++b) {
        if (!owns(a, id, b)) continue;
        const std::uint64_t refresh = refreshed_at(step);
        const Hash used = refresh == 0 ? 1 : a.curvature.at({b, refresh});
        out.value += mix(mix(a.value, used), mix(step, b));
      }
      for (const ActorId m : a.members) send(id, m, out);
      return;
    }
    if (a.parts[step].size() == a.members.size()) apply(id, a);
  }

  // CurvatureHeld of the backups, as if it had come at once.
  bool backups_hold(ActorId id, const ModelActor& a, std::uint64_t step) {
    if (step % kEvery != 0) return true;
    for (std::uint32_t b = 0; b < kBlocks; ++b) {
      if (!owns(a, id, b)) continue;
      const ModelActor* backup = alive(a.members[(b + 1) % a.members.size()]);
      if (backup == nullptr || !backup->curvature.contains({b, step})) return false;
    }
    return true;
  }

  void apply(ActorId id, ModelActor& a) {
    Hash sum = 0;
    for (const auto& [from, part] : a.parts[a.applied + 1]) sum += part;
    a.value = mix(a.value, sum);
    ++a.applied;
    if (a.serves != 0) {
      a.records[a.applied] = sum;
      if (a.records.size() > 3) a.records.erase(a.records.begin());
    }
    std::erase_if(a.curvature, [&](const auto& c) { return c.first.second < refreshed_at(a.applied); });
    const auto [known, fresh] = values_.try_emplace(a.applied, a.value);
    ASSERT_EQ(known->second, a.value) << "two values of step " << a.applied;
    largest_ = std::max(largest_, a.applied);
    if (roll(10) == 0) checkpoint_ = a.applied;
    new_step(a);
    // The leader says which step is the last; here the others see it in the leader's word, its queue of
    // steps.
    if (a.planned && a.members.front() == id) last_steps_.emplace(a.epoch, a.applied + 1);
    const auto last = last_steps_.find(a.epoch);
    if (last == last_steps_.end() || last->second != a.applied) return;
    a.training = false;
    a.park_after = true;
    if (a.planned) park(id, a, Packet(*a.planned));
  }

  // ---- what happens ---------------------------------------------------------------------------------------
  void turn() {
    now_ += 0.001;
    if (roll(2) == 0 || queues_.empty()) {
      if (actors_.empty()) return steer();
      auto it = std::next(actors_.begin(), roll(static_cast<unsigned>(actors_.size())));
      if (!it->second.stopped) work(it->first, it->second);
      return steer();
    }
    auto it = std::next(queues_.begin(), roll(static_cast<unsigned>(queues_.size())));
    const auto [from, to] = it->first;
    ModelActor* a = alive(to);
    if (a != nullptr && a->stopped) return;
    if (to == kNoActor && !head_) return;
    const Packet packet = it->second.front();
    if (roll(20) != 0) it->second.pop_front();  // else it comes twice
    if (it->second.empty()) queues_.erase(it);
    if (to == kNoActor) {
      head_hears(packet);
    } else if (a != nullptr) {
      actor_hears(to, *a, packet);
    }
    steer();
  }

  void fault() {
    if (!head_) return new_head();
    if (actors_.empty()) return;
    const ActorId id = std::next(actors_.begin(), roll(static_cast<unsigned>(actors_.size())))->first;
    switch (roll(8)) {
      case 0:
      case 1:
        forget(id);
        lost(id);
        break;
      case 2:
        actors_.at(id).stopped = true;
        head_->known[id] = now_;
        break;
      case 3:
        for (auto& [other, a] : actors_) {
          a.stopped = false;
          if (head_->known.contains(other)) head_->known[other] = std::nullopt;
        }
        break;
      case 4:
        head_.reset();
        break;
      case 5:
        now_ += 3;
        break;
      case 6:
        max_ = 1 + roll(kMaxActors);
        break;
      default:
        draining_.insert(id);
    }
  }

  std::mt19937 random_;
  double now_ = 100;
  std::uint64_t incarnation_ = 0;
  std::optional<Head> head_;
  Reconfigure stored_;
  GroupEpoch stored_epoch_;
  std::map<ActorId, ModelActor> actors_;
  std::set<ActorId> draining_;
  ActorId next_actor_ = 0;
  std::uint32_t max_ = 3;
  std::map<std::pair<ActorId, ActorId>, std::deque<Packet>> queues_;  // by sender and receiver, in order
  std::map<std::uint64_t, Hash> values_{{0, 42}};
  std::map<GroupEpoch, std::uint64_t> last_steps_;
  bool restoring_ = false;  // a piece of the state was lost, or all who held it
  std::uint64_t checkpoint_ = 0, largest_ = 0, restores_ = 0;
};

TEST(MembershipModel, KeepsItsPromisesInRandomHistories) {
  const char* given = std::getenv("SENG_TEST_SEED");
  std::random_device device;
  const int rounds = given != nullptr ? 1 : 400;
  for (int round = 0; round < rounds; ++round) {
    const unsigned seed =
        given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : device();
    SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
    Model(seed).run(1500);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace seng
