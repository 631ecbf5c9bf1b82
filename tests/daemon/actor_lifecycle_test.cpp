#include "daemon/actor_lifecycle.h"

#include <csignal>
#include <random>

#include <gtest/gtest.h>

namespace seng::actor_lifecycle_test {
namespace {

namespace e = actor_event;

// "TERM", "KILL", "lost:said ...", "gone": what the actions are, in order.
std::string told(const std::vector<ActorAction>& actions) {
  std::string out;
  for (const ActorAction& action : actions) {
    if (!out.empty()) out += ' ';
    if (const auto* s = std::get_if<actor_action::Signal>(&action)) {
      out += s->number == SIGTERM ? "TERM" : s->number == SIGKILL ? "KILL" : "?";
    } else if (const auto* lost = std::get_if<actor_action::Lost>(&action)) {
      out += lost->why == actor_action::Lost::Why::kSaidSo   ? "lost:said:" + lost->message
             : lost->why == actor_action::Lost::Why::kSilent ? "lost:silent"
                                                             : "lost:exited";
    } else {
      out += "gone";
    }
  }
  return out;
}

const ExitStatus kExit0{false, 0}, kExit3{false, 3}, kKilled{true, SIGKILL};

struct Step {
  ActorEventIn event;
  double at = 0;
  ActorState state = ActorState::kSpawning;
  std::string actions;
};
struct Life {
  const char* name;
  std::vector<Step> steps;
  friend void PrintTo(const Life& one, std::ostream* out) { *out << one.name; }
};

class Lives : public ::testing::TestWithParam<Life> {};

TEST_P(Lives, GoAsDrawn) {
  ActorLifecycle life(Timeouts{}, 0);
  int n = 0;
  for (const Step& step : GetParam().steps) {
    EXPECT_EQ(told(life.on(step.event, step.at)), step.actions) << "step " << n;
    EXPECT_EQ(life.state(), step.state) << "step " << n << ": " << actor_state_name(life.state());
    ++n;
  }
}

using S = ActorState;
INSTANTIATE_TEST_SUITE_P(
    Table, Lives,
    ::testing::Values(
        Life{"Whole",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Reconfigured{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Reconfigured{}, 1, S::kPrepared, ""},
              {e::Ready{}, 2, S::kReady, ""},
              {e::Resumed{}, 3, S::kTraining, ""},
              {e::Reconfigured{}, 4, S::kPrepared, ""},
              {e::Ready{}, 5, S::kReady, ""},
              {e::Resumed{}, 6, S::kTraining, ""},
              {e::Finished{}, 7, S::kFinished, ""},
              {e::Exited{kExit0}, 8, S::kExited, "gone"}}},
        Life{"NeverReports",
             {{e::Timeout{}, 59, S::kSpawning, ""},
              {e::Timeout{}, 60, S::kStopping, "lost:silent TERM"},
              {e::Timeout{}, 65, S::kStopping, "KILL"},
              {e::Exited{kKilled}, 66, S::kExited, "gone"}}},
        Life{"Retired",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Retired{}, 2, S::kStopping, ""},
              {e::Finished{}, 3, S::kStopping, ""},
              {e::Exited{kExit0}, 3, S::kExited, "gone"}}},
        Life{"RetiredAndDoesNotGo",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Retired{}, 2, S::kStopping, ""},
              {e::Timeout{}, 12, S::kStopping, "KILL"},
              {e::Exited{kKilled}, 13, S::kExited, "gone"}}},
        Life{"HungAndKilled",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Kill{}, 2, S::kStopping, "KILL"},
              {e::Exited{kKilled}, 2, S::kExited, "gone"}}},
        Life{"NeverLoadsItsData",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Timeout{}, 300, S::kConnected, ""},
              {e::Timeout{}, 301, S::kStopping, "lost:silent TERM"},
              {e::Exited{{true, SIGTERM}}, 302, S::kExited, "gone"}}},
        Life{"KilledWhileSpawning", {{e::Exited{kKilled}, 1, S::kExited, "lost:exited gone"}}},
        Life{"KilledWhileConnected",
             {{e::Hello{}, 1, S::kConnected, ""}, {e::Exited{kKilled}, 1, S::kExited, "lost:exited gone"}}},
        Life{"KilledWhileReady",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Ready{}, 1, S::kReady, ""},
              {e::Exited{kKilled}, 1, S::kExited, "lost:exited gone"}}},
        Life{"KilledWhileTraining",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Ready{}, 1, S::kReady, ""},
              {e::Resumed{}, 1, S::kTraining, ""},
              {e::Exited{kKilled}, 1, S::kExited, "lost:exited gone"}}},
        Life{"ExitsAndItsLastWordIsLate",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Exited{kExit3}, 2, S::kParting, ""},
              {e::Failed{"no data"}, 2.1, S::kExited, "lost:said:no data gone"}}},
        Life{"ExitsAndItsFinishedIsLate",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Prepared{}, 1, S::kPrepared, ""},
              {e::Ready{}, 1, S::kReady, ""},
              {e::Resumed{}, 1, S::kTraining, ""},
              {e::Exited{kExit0}, 2, S::kParting, ""},
              {e::Finished{}, 2.1, S::kExited, "gone"}}},
        Life{"ExitsWithoutAWord",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Exited{kExit0}, 2, S::kParting, ""},
              {e::Timeout{}, 2.4, S::kParting, ""},
              {e::Timeout{}, 2.5, S::kExited, "lost:exited gone"}}},
        Life{"ExitsWithoutAWordAndIsNotWanted",
             {{e::Exited{kExit3}, 2, S::kParting, ""}, {e::Terminate{}, 2.1, S::kExited, "gone"}}},
        Life{"SaysThatItFails",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Failed{"no data"}, 2, S::kStopping, "lost:said:no data"},
              {e::Failed{"again"}, 2, S::kStopping, ""},
              {e::Finished{}, 2, S::kStopping, ""},
              {e::Terminate{}, 3, S::kStopping, ""},
              {e::Timeout{}, 7, S::kStopping, "KILL"},
              {e::Exited{kKilled}, 7, S::kExited, "gone"}}},
        Life{"LingersAfterFinished",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Finished{}, 5, S::kFinished, ""},
              {e::Timeout{}, 14.9, S::kFinished, ""},
              {e::Timeout{}, 15, S::kStopping, "KILL"},
              {e::Timeout{}, 99, S::kStopping, ""},
              {e::Exited{kKilled}, 99, S::kExited, "gone"}}},
        Life{"EndedByTheDaemon",
             {{e::Hello{}, 1, S::kConnected, ""},
              {e::Terminate{}, 2, S::kStopping, "TERM"},
              {e::Terminate{}, 2, S::kStopping, ""},
              {e::Failed{"interrupted"}, 2, S::kStopping, ""},
              {e::Exited{kExit3}, 3, S::kExited, "gone"}}},
        Life{"OutOfOrder",
             {{e::Resumed{}, 1, S::kSpawning, ""},
              {e::Ready{}, 1, S::kSpawning, ""},
              {e::Finished{}, 1, S::kSpawning, ""},
              {e::Reconfigured{}, 1, S::kSpawning, ""},
              {e::Hello{}, 1, S::kConnected, ""},
              {e::Resumed{}, 1, S::kConnected, ""},
              {e::Hello{}, 1, S::kConnected, ""}}},
        Life{"NothingAfterTheEnd",
             {{e::Exited{kKilled}, 1, S::kExited, "lost:exited gone"},
              {e::Exited{kKilled}, 1, S::kExited, ""},
              {e::Hello{}, 1, S::kExited, ""},
              {e::Terminate{}, 1, S::kExited, ""},
              {e::Failed{"x"}, 1, S::kExited, ""},
              {e::Timeout{}, 999, S::kExited, ""}}}),
    [](const auto& info) { return info.param.name; });

// Whatever comes in whatever order: Gone once and last, Lost at most once and never behind Finished, no
// signal after the exit, and with time an actor whose kill is obeyed is gone.
TEST(ActorLifecycle, KeepsItsPromisesInAnyOrder) {
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    ActorLifecycle life(Timeouts{}, 0);
    double now = 0;
    bool exited = false, gone = false, lost = false, finished = false;
    const auto feed = [&](const ActorEventIn& event) {
      const bool had_finished = life.finished();
      for (const ActorAction& action : life.on(event, now)) {
        ASSERT_FALSE(gone) << "an action behind Gone";
        if (std::holds_alternative<actor_action::Gone>(action)) {
          ASSERT_TRUE(exited);
          gone = true;
        } else if (std::holds_alternative<actor_action::Lost>(action)) {
          ASSERT_FALSE(lost);
          ASSERT_FALSE(had_finished);
          lost = true;
        } else {
          ASSERT_FALSE(exited) << "a signal to a process that is gone";
        }
      }
      finished = life.finished();
      ASSERT_EQ(gone, life.state() == ActorState::kExited);
    };
    for (int i = 0; i < 12; ++i) {
      now += (random() % 100) * 0.05;
      switch (random() % 12) {
        case 0:
          feed(e::Hello{});
          break;
        case 1:
          feed(e::Reconfigured{});
          break;
        case 2:
          feed(e::Ready{});
          break;
        case 3:
          feed(e::Resumed{});
          break;
        case 4:
          feed(e::Finished{});
          break;
        case 5:
          feed(e::Failed{"x"});
          break;
        case 6:
          if (!exited && random() % 3 == 0) {
            exited = true;
            feed(e::Exited{random() % 2 ? kExit0 : kKilled});
          }
          break;
        case 7:
          feed(e::Timeout{});
          break;
        case 8:
          feed(e::Terminate{});
          break;
        case 9:
          feed(e::Prepared{});
          break;
        case 10:
          feed(e::Retired{});
          break;
        case 11:
          if (random() % 3 == 0) feed(e::Kill{});
          break;
      }
      if (HasFatalFailure()) return;
    }
    feed(e::Terminate{});
    for (int i = 0; i < 4 && !gone; ++i) {
      if (life.deadline()) now = *life.deadline();
      feed(e::Timeout{});
      if (!exited && !life.deadline()) {
        exited = true;
        feed(e::Exited{kKilled});
      }
    }
    ASSERT_TRUE(gone) << actor_state_name(life.state());
    (void)finished;
  }
}

TEST(ExitStatusText, NamesSignals) {
  EXPECT_EQ(to_string(kExit3), "exit 3");
  EXPECT_EQ(to_string(kKilled), "signal 9 (KILL)");
  EXPECT_EQ(in_words(kKilled), "was killed by signal 9 (KILL)");
  EXPECT_EQ(in_words(kExit0), "exited with code 0");
}

}  // namespace
}  // namespace seng::actor_lifecycle_test
