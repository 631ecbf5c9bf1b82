// Who is to be in a job's group: what follows from a loss, a newcomer, a wish to grow, shrink or drain. Pure.
// It is asked again after everything that happened and looks at what is, not at what was; it keeps only the
// account of restarts.
//
// - A member is lost, or silent for a lease: at once the next membership without it, whoever is left.
//   A silent one keeps its slot for `rejoin_s`: heard again it is a newcomer, else it is killed and replaced.
// - Nobody is left: newcomers that have followed the group go on from their state, else actors are started
// anew
//   and restore. Not while a silent one may come back with the state, unless the group had gone on without it
//   and a newcomer has followed the group at least as far: such a one is a newcomer itself.
// - Lost actors are replaced, at most `restarts_max` in `restart_window_s`, with growing pauses where they
//   die soon after their start without having committed a step. When no more are allowed the survivors go on,
//   if there are actors.min of them.
// - Newcomers, and who leaves, are taken together in one planned change when the group trains. So is a
//   change of ranges, the members being the same. Before that all newcomers warm up (warm_up.h), together.
// - Before the first step an actor that fails by its own word, or exits by itself, would fail again: the job
//   fails, unless enough others started. One killed by a signal is replaced.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/group_epoch.h"
#include "daemon/timeouts.h"
#include "protocol/base/ids.h"

namespace seng {

struct ActorView {
  ActorId actor = kNoActor;
  bool prepared = false;     // may be named in a membership
  bool holds_state = false;  // see GroupEpochs
  bool draining = false;     // somebody wants it replaced
  bool warm = false;         // a newcomer: its warm-up is done, or is not waited for any more
  // Nothing was heard for a lease, and when that began.
  std::optional<double> silent_since = std::nullopt;
  bool follows_state = false;  // see GroupEpochs
  std::uint64_t step = 0;      // the last applied one that it has told
};

struct GroupView {
  GroupEpochs::Phase phase = GroupEpochs::Phase::kIdle;
  std::vector<ActorId> members, leavers;  // of the current membership, in its order; some may be gone
  std::vector<ActorView> actors;          // that live and that nobody has ended yet, by number
  bool trained = false;                   // the job, ever
  bool stopping = false;
  std::uint32_t min = 1, max = 1;
  std::uint32_t limit = 0xffffffffu;  // others need the slots: not more than that now
  bool uneven = false;                // speed.h: the members should share the work otherwise
  std::vector<ActorId> warming;       // of whom the members were told that they warm up; done or not
  bool former_warm_up = false;        // a daemon before has told them of others
  bool try_again = false;             // last_checkpoint.h: they are idle, and should try to end again
};

namespace membership_action {
struct Begin {
  std::vector<ActorId> members;  // the first is the leader
  std::vector<ActorId> leavers;
  bool planned = false;
};
// These catch up with the group that trains, by what `source` serves them; without newcomers: nobody does any
// more.
struct WarmUp {
  std::vector<ActorId> newcomers;
  ActorId source = kNoActor;
  std::vector<ActorId> future;  // members of the group that is meant to come
};
// Ends one that is in no membership.
struct Dismiss {
  ActorId actor = kNoActor;
};
// Kills one that hangs; it is to be reported as lost.
struct Kill {
  ActorId actor = kNoActor;
  std::string why;
};
struct GiveUp {
  std::string reason;
};
// A stopping job has nobody left who could stop it in order.
struct StopNow {
  std::string why;
};
struct Note {
  std::string_view kind;
  std::string text;
};
}  // namespace membership_action

using MembershipAction =
    std::variant<membership_action::Begin, membership_action::WarmUp, membership_action::Dismiss,
                 membership_action::Kill, membership_action::GiveUp, membership_action::StopNow,
                 membership_action::Note>;

class MembershipPolicy {
 public:
  struct Options {
    Timeouts timeouts;
    std::uint32_t restarts_max = 20;  // within the window
    double restart_window_s = 3600;
  };
  struct Loss {
    enum class Why { kSaidSo, kEnded, kKilled } why = Why::kKilled;  // kKilled: by a signal, or who knows
    std::string cause;                                               // for the user
    double lived_s = 0;
    bool trained = false;    // the job had, when it came
    bool committed = false;  // the actor itself, at least a step: it did not die of its start
    bool in_vain = false;    // any other would fail alike
  };

  explicit MembershipPolicy(Options options) : options_(options) {}

  void lost(const Loss& loss, double now);
  // So many were started. Returns how many of them are restarts.
  std::uint32_t started(std::uint32_t count, const GroupView& view, double now);
  // The user has changed the limits: what was given up is tried again.
  void forgive() { given_up_ = debt_ = 0; }

  // Actors of the view that are not about to leave.
  static std::uint32_t staying(const GroupView& view);
  // How many more actors the job would have now.
  std::uint32_t wants(const GroupView& view, double now) const;
  std::vector<MembershipAction> decide(const GroupView& view, double now);
  // What keeps it from starting the replacements that it owes, in words; empty: nothing does.
  std::string shortfall(const GroupView& view, double now) const;
  // When wants() or decide() may give something else though nothing happens.
  std::optional<double> deadline(const GroupView& view, double now) const;

 private:
  using Actions = std::vector<MembershipAction>;
  std::uint32_t restarts_left(double now) const;
  std::uint32_t replaceable(double now) const;
  bool account(const GroupView& view, double now, Actions& out);
  void decide_anew(const GroupView& view, Actions& out) const;
  void decide_planned(const GroupView& view, Actions& out) const;
  std::uint32_t dismiss_surplus(const GroupView& view, Actions& out) const;
  membership_action::Begin next_group(const GroupView& view, const std::vector<ActorId>& newcomers,
                                      bool starting, std::uint32_t surplus) const;

  Options options_;
  std::deque<double> restarts_;  // their times
  std::uint32_t debt_ = 0;       // lost and not replaced yet
  std::uint32_t given_up_ = 0;   // failed before the first step: not replaced
  std::uint32_t quick_ = 0;      // deaths in a row, each soon after its start and before a step
  double not_before_ = 0;        // the next restart
  std::string fatal_, last_cause_;
  bool exhausted_ = false;  // said so
};

}  // namespace seng
