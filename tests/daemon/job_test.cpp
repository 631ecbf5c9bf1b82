#include "daemon/job.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

namespace e = job_event;

std::string told(const std::vector<JobAction>& actions) {
  std::string out;
  for (const JobAction& action : actions) {
    if (!out.empty()) out += ' ';
    if (std::holds_alternative<job_action::SpawnActors>(action)) out += "spawn";
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
const e::Granted kGranted{{0, 1}};

INSTANTIATE_TEST_SUITE_P(
    Table, Stories,
    ::testing::Values(Story{"Succeeds",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {kGranted, S::kStarting, ""},
                             {e::Trains{}, S::kRunning, "Running"},
                             {e::Trains{}, S::kRunning, ""},
                             {e::Finished{0, false}, S::kRunning, ""},
                             {e::Finished{0, false}, S::kRunning, ""},
                             {e::Finished{7, false}, S::kRunning, ""},
                             {e::Finished{1, false}, S::kSucceeded, "Succeeded"},
                             {e::Lost{1, "late"}, S::kSucceeded, ""},
                             {e::StopAsked{"u"}, S::kSucceeded, ""}}},
                      Story{"LostWhileStarting",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::Lost{1, "died"}, S::kFailed, "Failed(died) end"},
                             {e::Lost{0, "too"}, S::kFailed, ""},
                             {e::Trains{}, S::kFailed, ""}}},
                      Story{"LostWhileRunning",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::Trains{}, S::kRunning, "Running"},
                             {e::Finished{0, false}, S::kRunning, ""},
                             {e::Lost{5, "stranger"}, S::kRunning, ""},
                             {e::Lost{1, "died"}, S::kFailed, "Failed(died) end"},
                             {e::Finished{1, false}, S::kFailed, ""}}},
                      Story{"StoppedWhileQueued",
                            {{e::StopAsked{"u"}, S::kStopped, "Stopped(u)"}, {kGranted, S::kStopped, ""}}},
                      Story{"StoppedWhileStarting",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::StopAsked{"u"}, S::kStopped, "Stopped(u) end"}}},
                      Story{"StoppedWhileRunning",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::Trains{}, S::kRunning, "Running"},
                             {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
                             {e::StopAsked{"v"}, S::kRunning, ""},
                             {e::Finished{0, true}, S::kRunning, ""},
                             {e::Finished{1, true}, S::kStopped, "Stopped(u)"}}},
                      Story{"StopCameTooLate",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::Trains{}, S::kRunning, "Running"},
                             {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
                             {e::Finished{0, false}, S::kRunning, ""},
                             {e::Finished{1, false}, S::kSucceeded, "Succeeded"}}},
                      Story{
                          "StopIsNotObeyed",
                          {{kGranted, S::kStarting, "Starting spawn"},
                           {e::Trains{}, S::kRunning, "Running"},
                           {e::StopTimedOut{}, S::kRunning, ""},
                           {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
                           {e::StopTimedOut{}, S::kStopped,
                            "Stopped(u; its actors did not finish their step in time and were ended) end"}}},
                      Story{"CrashWhileStopping",
                            {{kGranted, S::kStarting, "Starting spawn"},
                             {e::Trains{}, S::kRunning, "Running"},
                             {e::StopAsked{"u"}, S::kRunning, "Stopping(u) ask"},
                             {e::Lost{0, "died"}, S::kFailed, "Failed(died) end"}}},
                      Story{"NothingFitsAQueuedJob",
                            {{e::Trains{}, S::kQueued, ""},
                             {e::Finished{0, false}, S::kQueued, ""},
                             {e::Lost{0, "x"}, S::kQueued, ""},
                             {e::StopTimedOut{}, S::kQueued, ""},
                             {e::Abandoned{"x"}, S::kQueued, ""}}}),
    [](const auto& info) { return info.param.name; });

TEST(Job, FoundRunningByANewDaemonIsFailed) {
  for (const JobState state : {JobState::kStarting, JobState::kRunning}) {
    Job job(state);
    EXPECT_EQ(told(job.on(e::Abandoned{"gone"})), "Failed(gone)");
    EXPECT_EQ(job.state(), JobState::kFailed);
  }
}

}  // namespace
}  // namespace seng
