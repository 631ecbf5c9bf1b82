#include "daemon/job.h"

#include <gtest/gtest.h>

namespace seng::job_test {
namespace {

namespace e = job_event;

std::string told(const std::vector<JobAction>& actions) {
  std::string out;
  for (const JobAction& action : actions) {
    if (!out.empty()) out += ' ';
    if (std::holds_alternative<job_action::RetireActors>(action)) out += "retire";
    if (std::holds_alternative<job_action::AskToStop>(action)) out += "ask";
    if (std::holds_alternative<job_action::EndActors>(action)) out += "end";
    if (const auto* change = std::get_if<job_action::StateChanged>(&action)) {
      out += std::string(change->event_kind) + (change->reason.empty() ? "" : "(" + change->reason + ")");
    }
  }
  return out;
}

struct Step {
  JobEventIn event;
  JobState state;
  std::string actions;
};
struct Story {
  const char* name;
  std::vector<Step> steps;
  friend void PrintTo(const Story& one, std::ostream* out) { *out << one.name; }
};

class Stories : public ::testing::TestWithParam<Story> {};

TEST_P(Stories, GoAsDrawn) {
  Job job;
  int n = 0;
  for (const Step& step : GetParam().steps) {
    EXPECT_EQ(told(job.on(step.event)), step.actions) << "step " << n;
    EXPECT_EQ(job.state(), step.state) << "step " << n;
    ++n;
  }
}

using S = JobState;
const e::Granted kGranted;

INSTANTIATE_TEST_SUITE_P(
    Table, Stories,
    ::testing::Values(
        Story{"Succeeds",
              {{kGranted, S::kStarting, "Starting"},
               {kGranted, S::kStarting, ""},
               {e::Trains{}, S::kRunning, "Running"},
               {e::Trains{}, S::kRunning, ""},
               {e::Finished{false}, S::kSucceeded, "Succeeded retire"},
               {e::GivenUp{"late"}, S::kSucceeded, ""},
               {e::StopAsked{"u"}, S::kSucceeded, ""}}},
        Story{"GivenUpWhileStarting",
              {{kGranted, S::kStarting, "Starting"},
               {e::GivenUp{"died"}, S::kFailed, "Failed(died) end"},
               {e::GivenUp{"too"}, S::kFailed, ""},
               {e::Trains{}, S::kFailed, ""}}},
        Story{"GivenUpWhileRunning",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::GivenUp{"died"}, S::kFailed, "Failed(died) end"},
               {e::Finished{false}, S::kFailed, ""}}},
        Story{"TheLeaderSaysThatItFailed",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::Finished{false, "diverged"}, S::kFailed, "Failed(diverged) retire"}}},
        Story{"StoppedWhileQueued",
              {{e::StopAsked{"u"}, S::kStopped, "Stopped(u)"}, {kGranted, S::kStopped, ""}}},
        Story{"StoppedWhileStarting",
              {{kGranted, S::kStarting, "Starting"}, {e::StopAsked{"u"}, S::kStopped, "Stopped(u) end"}}},
        Story{"StoppedWhileRunning",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
               {e::StopAsked{"v"}, S::kRunning, ""},
               {e::Finished{true}, S::kStopped, "Stopped(u) retire"}}},
        Story{"StopCameTooLate",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
               {e::Finished{false}, S::kSucceeded, "Succeeded retire"}}},
        Story{"StopIsNotObeyed",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::StopTimedOut{}, S::kRunning, ""},
               {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
               {e::StopTimedOut{}, S::kStopped,
                "Stopped(u; its actors did not finish their step in time and were ended) end"}}},
        Story{"QueuedAgainByTheDaemonsStop",
              {{e::StopAsked{"d", true}, S::kQueued, ""},
               {kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::StopAsked{"d", true}, S::kRunning, "Stopping(d) ask"},
               {e::Finished{true}, S::kQueued, "Queued(d) retire"},
               {kGranted, S::kStarting, "Starting"},
               {e::StopAsked{"d", true}, S::kQueued, "Queued(d) end"}}},
        Story{"StoppedByTheUserWhileTheDaemonStops",
              {{kGranted, S::kStarting, "Starting"},
               {e::Trains{}, S::kRunning, "Running"},
               {e::StopAsked{"d", true}, S::kRunning, "Stopping(d) ask"},
               {e::StopAsked{"u"}, S::kRunning, "Stopping(u)"},
               {e::StopAsked{"d", true}, S::kRunning, ""},
               {e::Finished{true}, S::kStopped, "Stopped(u) retire"}}},
        Story{"NothingFitsAQueuedJob",
              {{e::Trains{}, S::kQueued, ""},
               {e::Finished{false}, S::kQueued, ""},
               {e::GivenUp{"x"}, S::kQueued, ""},
               {e::StopTimedOut{}, S::kQueued, ""}}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace seng::job_test
