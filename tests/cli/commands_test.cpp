// Every reading verb against a fake daemon, as table, JSON and YAML.
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/sha256.h"
#include "tests/cli/fake_daemon.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

Json json_of(const CtlRun& run) {
  return Json::parse(run.out, nullptr, false);
}

std::string without_colours(const std::string& text) {
  return std::regex_replace(text, std::regex("\033\\[[0-9;]*m"), "");
}

// Knows one running job, 3, and one that has ended.
class Commands : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.on<ListRequest, ListReply>(
        [this](const ListRequest&) -> Result<ListReply> { return ListReply{jobs_}; });
    daemon_.on<NodesRequest, NodesReply>([](const NodesRequest&) -> Result<NodesReply> {
      NodeRecord node;
      node.name = "here";
      node.state = "up";
      node.cores = 2;
      node.memory_bytes = std::uint64_t{8} << 30;
      node.cpu_model = "Some CPU";
      node.slots = {{0, "cpu", 1, 3, 1}, {1, "cpu", 1, 0, kNoActor}};
      return NodesReply{{node}};
    });
    daemon_.on<VersionRequest, VersionReply>([](const VersionRequest&) -> Result<VersionReply> {
      VersionReply reply;
      reply.version = "9.9.9";
      reply.protocol_major = 1;
      reply.pid = 4242;
      reply.started_at = 1769860800;
      reply.state_dir = "/state";
      reply.node = "here";
      return reply;
    });
    daemon_.on<WatchRequest, WatchReply>([this](const WatchRequest& request) -> Result<WatchReply> {
      if (request.job != "3" && request.job != "fashion-lenet")
        return fail(ErrorCode::kNotFound, "there is no job \"" + request.job + "\"");
      return WatchReply{jobs_[0], {}};
    });
    daemon_.on<DescribeRequest, DescribeReply>([this](const DescribeRequest&) -> Result<DescribeReply> {
      DescribeReply reply;
      reply.job = jobs_[0];
      reply.spec_yaml = "name: fashion-lenet\nbatch:\n  global: 256\n";
      reply.plan_json =
          R"({"ok":true,"parameters":421834,"initial":{"step":6,"checkpoint":"/c/step-6"},"memory_per_actor_bytes":66479718,"memory":{"data":1024},
              "blocks":[{"name":"conv7","kind":"convolution","representation":"low_rank","rank":5,
                         "model_step_ms":1.25,"curvature_bytes":2048}]})";
      ActorRecord actor;
      actor.actor = 1;
      actor.state = "training";
      actor.pid = 77;
      actor.bytes_sent = 1000;
      actor.log_path = "/state/jobs/3/logs/actor-1.log";
      reply.actors = {actor};
      reply.tuning = tuning_;
      reply.events = {event(5, "Started", "epoch 1.1 with 2 actors")};
      return reply;
    });
  }
  static EventRecord event(std::uint64_t id, const std::string& kind, const std::string& text) {
    EventRecord event;
    event.id = id;
    event.at = 1769860801;
    event.job = 3;
    event.kind = kind;
    event.text = text;
    return event;
  }

  FakeDaemon daemon_;
  TuningRecord tuning_;
  std::vector<JobRecord> jobs_ = {running_job(), ended_job(JobState::kFailed)};
};

TEST_F(Commands, List) {
  const CtlRun table = ctl(daemon_, {"list"});
  EXPECT_EQ(table.code, ExitCode::kOk);
  EXPECT_THAT(table.out, HasSubstr("ID  NAME"));
  EXPECT_THAT(table.out,
              HasSubstr(" 3  fashion-lenet  running  lenet  seng       2 of 1-2    2.35   550/1172"));
  EXPECT_EQ(table.err, "");
  const Json json = json_of(ctl(daemon_, {"list", "-o", "json"}));
  ASSERT_EQ(json["jobs"].size(), 2u);
  EXPECT_EQ(json["jobs"][0], job_value(jobs_[0]));
  EXPECT_THAT(ctl(daemon_, {"list", "-o", "yaml"}).out,
              HasSubstr("jobs:\n  - id: 3\n    name: fashion-lenet\n"));
}

TEST_F(Commands, AJobWhoseCheckpointsCannotBeWrittenIsNoted) {
  const std::string why = "step 400: cannot write /c: No space left on device";
  EXPECT_EQ(ctl(daemon_, {"list"}).err, "");
  for (JobRecord& job : jobs_) job.checkpoint_error = why;  // the other one has ended
  const std::string note =
      "note: job 3 (fashion-lenet): its newest checkpoint cannot be written: " + why + "\n";
  EXPECT_EQ(ctl(daemon_, {"list"}).err, note);
  EXPECT_EQ(ctl(daemon_, {"status"}).err, note);
  EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out, HasSubstr("not written      " + why + "\n"));
  EXPECT_EQ(json_of(ctl(daemon_, {"list", "-o", "json"}))["jobs"][0]["checkpoint_error"], why);
}

TEST_F(Commands, AnEmptyListIsEmptyDataAndAHint) {
  jobs_.clear();
  const CtlRun table = ctl(daemon_, {"list"});
  EXPECT_EQ(table.code, ExitCode::kOk);
  EXPECT_EQ(table.out, "");
  EXPECT_THAT(table.err, HasSubstr("no jobs"));
  EXPECT_EQ(json_of(ctl(daemon_, {"list", "--format=json"})), (Json{{"jobs", Json::array()}}));
}

TEST_F(Commands, StatusOfAJob) {
  const CtlRun table = ctl(daemon_, {"status", "fashion-lenet"});
  EXPECT_THAT(table.out, HasSubstr("state            running\n"));
  EXPECT_THAT(table.out, HasSubstr("steps            550 of 1172\n"));
  EXPECT_EQ(json_of(ctl(daemon_, {"status", "3", "-o", "json"})), job_value(jobs_[0]));
  const CtlRun none = ctl(daemon_, {"status", "9"});
  EXPECT_EQ(none.code, ExitCode::kNoSuchJob);
  EXPECT_EQ(none.out, "");
  EXPECT_EQ(none.err, "sengctl: there is no job \"9\"\n");
}

TEST_F(Commands, StatusOfTheDaemon) {
  const CtlRun table = ctl(daemon_, {"status"});
  EXPECT_THAT(table.out, HasSubstr("1 of 2 slots busy"));
  EXPECT_THAT(table.out, HasSubstr("jobs: 1 failed, 1 running"));
  const Json json = json_of(ctl(daemon_, {"status", "-o", "json"}));
  EXPECT_EQ(json["daemon"]["pid"], 4242);
  EXPECT_EQ(json["slots"], (Json{{"total", 2}, {"busy", 1}}));
  EXPECT_EQ(json["jobs"]["running"], 1);
  EXPECT_EQ(json["jobs"]["queued"], 0);
  EXPECT_EQ(json["open"].size(), 1u);
}

TEST_F(Commands, Describe) {
  const CtlRun table = ctl(daemon_, {"describe", "3"});
  for (const char* part :
       {"job              3 (fashion-lenet)", "parameters         421834",
        "memory per actor   63.4 MiB (data 1.0 KiB)", "training", "/state/jobs/3/logs/actor-1.log",
        "epoch 1.1 with 2 actors", "  global: 256", "\nconv7  convolution", "low_rank      5     1.25"}) {
    EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out, HasSubstr("begins with        step 6 of /c/step-6\n"));
    EXPECT_THAT(table.out, HasSubstr(part));
  }
  const Json json = json_of(ctl(daemon_, {"describe", "3", "-o", "json"}));
  EXPECT_EQ(json["job"]["id"], 3);
  EXPECT_EQ(json["spec"]["batch"]["global"], 256);
  EXPECT_EQ(json["plan"]["parameters"], 421834);
  EXPECT_EQ(json["actors"][0]["pid"], 77);
  EXPECT_EQ(json["actors"][0]["bytes_sent"], 1000);
  EXPECT_EQ(json["events"][0]["kind"], "Started");
  EXPECT_TRUE(json["events"][0]["actor"].is_null());
}

TEST_F(Commands, DescribeSaysHowTheJobIsTuned) {
  EXPECT_TRUE(json_of(ctl(daemon_, {"describe", "3", "-o", "json"}))["tuning"].is_null());
  EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out, Not(HasSubstr("tuning")));
  tuning_.choices = "H100; forward f32 nhwc 2x1x8x8 4x3x3 s1 p1 = 6";
  tuning_.device = "H100";
  tuning_.count = 1;
  EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out,
              HasSubstr("\ntuning\n1 choice for H100, that came with the specification or a checkpoint\n"));
  EXPECT_TRUE(json_of(ctl(daemon_, {"describe", "3", "-o", "json"}))["tuning"]["expected_ms"].is_null());
  tuning_.actor = 2;
  tuning_.at = 1769860801;
  tuning_.expected_ms = 4;
  tuning_.chosen_ms = 3;
  const std::string out = ctl(daemon_, {"describe", "3"}).out;
  EXPECT_THAT(out, HasSubstr("1 choice for H100, measured by actor 2 at 2026-"));
  EXPECT_THAT(out, HasSubstr("convolutions: 3.000 ms, by the library's own expectation 4.000 ms\n"));
  const Json json = json_of(ctl(daemon_, {"describe", "3", "-o", "json"}))["tuning"];
  EXPECT_EQ(json["choices"], tuning_.choices);
  EXPECT_EQ(json["actor"], 2);
  EXPECT_EQ(json["chosen_ms"], 3);
}

TEST_F(Commands, VersionWithAndWithoutADaemon) {
  const Json json = json_of(ctl(daemon_, {"version", "-o", "json"}));
  EXPECT_EQ(json["daemon"]["pid"], 4242);
  EXPECT_FALSE(json["client"]["version"].get<std::string>().empty());
  EXPECT_THAT(ctl(daemon_, {"version"}).out, HasSubstr("sengd   9.9.9 (protocol 1.0) on here, pid 4242"));
  daemon_.stop();
  const CtlRun alone = ctl(daemon_, {"version", "-o", "json"});
  EXPECT_EQ(alone.code, ExitCode::kOk);
  EXPECT_TRUE(json_of(alone)["daemon"].is_null());
}

TEST_F(Commands, Nodes) {
  EXPECT_THAT(ctl(daemon_, {"nodes"}).out, HasSubstr("here  up        0  cpu           1  3/1\n"));
  const Json json = json_of(ctl(daemon_, {"nodes", "-o", "json"}));
  EXPECT_EQ(json["nodes"][0]["slots"][0]["job"], 3);
  EXPECT_TRUE(json["nodes"][0]["slots"][1]["job"].is_null());
}

TEST_F(Commands, Stop) {
  daemon_.on<StopRequest, StopReply>(
      [this](const StopRequest&) -> Result<StopReply> { return StopReply{jobs_[0]}; });
  EXPECT_THAT(ctl(daemon_, {"stop", "3"}).out, HasSubstr("stops after its step in flight"));
  jobs_[0].state = JobState::kStopped;
  EXPECT_EQ(ctl(daemon_, {"stop", "3"}).out, "job 3 (fashion-lenet) has stopped\n");
  EXPECT_EQ(json_of(ctl(daemon_, {"stop", "3", "-o", "json"}))["state"], "stopped");
}

TEST_F(Commands, StopWaits) {
  std::vector<std::string> stopped;
  daemon_.on<StopRequest, StopReply>([&](const StopRequest& request) -> Result<StopReply> {
    stopped.push_back(request.job);
    return StopReply{jobs_[0]};
  });
  int looks = 0;
  daemon_.on<WatchRequest, WatchReply>([&](const WatchRequest&) -> Result<WatchReply> {
    WatchReply reply{jobs_[0], {}};
    if (++looks % 2 == 0) reply.job.state = JobState::kStopped;
    reply.job.revision += static_cast<std::uint64_t>(looks);
    return reply;
  });
  const CtlRun run = ctl(daemon_, {"stop", "3", "--wait"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_EQ(run.out, "job 3 (fashion-lenet) has stopped\n");
  EXPECT_EQ(looks, 2);
  const Json json = json_of(ctl(daemon_, {"stop", "3", "fashion-lenet", "3", "--wait", "-o", "json"}));
  ASSERT_EQ(json["jobs"].size(), 1u) << "it is one job";
  EXPECT_EQ(json["jobs"][0]["state"], "stopped");
  EXPECT_EQ(stopped, (std::vector<std::string>{"3", "3", "fashion-lenet"}));
  daemon_.on<WatchRequest, WatchReply>([&](const WatchRequest&) -> Result<WatchReply> {
    return WatchReply{jobs_[0], {}};
  });
  EXPECT_EQ(ctl(daemon_, {"stop", "3", "--wait", "--timeout", "0.05"}).code, ExitCode::kTimeout);
  EXPECT_EQ(ctl(daemon_, {"stop", "3", "--timeout", "1"}).code, ExitCode::kUsage);
}

TEST_F(Commands, StopWaitsForTheOthersOfOneThatWasDeleted) {
  daemon_.on<StopRequest, StopReply>([&](const StopRequest& request) -> Result<StopReply> {
    JobRecord job = jobs_[0];
    job.id = static_cast<JobId>(std::stoul(request.job));
    return StopReply{job};
  });
  daemon_.on<WatchRequest, WatchReply>([&](const WatchRequest& request) -> Result<WatchReply> {
    if (request.job == "3") return fail(ErrorCode::kNotFound, "there is no job 3");
    WatchReply reply{jobs_[0], {}};
    reply.job.id = 4;
    reply.job.state = JobState::kStopped;
    return reply;
  });
  const CtlRun run = ctl(daemon_, {"stop", "3", "4", "--wait"});
  EXPECT_EQ(run.code, ExitCode::kNoSuchJob);
  EXPECT_EQ(run.out, "job 4 (fashion-lenet) has stopped\n");
  EXPECT_THAT(run.err, HasSubstr("there is no job 3"));
}

TEST_F(Commands, AJobThatIsNamedTwiceIsShownOnce) {
  const std::string once = ctl(daemon_, {"status", "3"}).out;
  EXPECT_EQ(ctl(daemon_, {"status", "3", "3", "fashion-lenet"}).out, once);
  EXPECT_EQ(json_of(ctl(daemon_, {"status", "3", "fashion-lenet", "-o", "json"}))["jobs"].size(), 1u);
}

TEST_F(Commands, SeveralJobsAreStoppedEachByItself) {
  jobs_[1].id = 4;
  daemon_.on<StopRequest, StopReply>([this](const StopRequest& request) -> Result<StopReply> {
    if (request.job == "9") return fail(ErrorCode::kNotFound, "there is no job 9");
    return StopReply{jobs_[request.job == "3" ? 0 : 1]};
  });
  const CtlRun table = ctl(daemon_, {"stop", "9", "3", "4"});
  EXPECT_EQ(table.code, ExitCode::kNoSuchJob);
  EXPECT_EQ(table.err, "sengctl: there is no job 9\n");
  EXPECT_THAT(table.out, HasSubstr("job 3 (fashion-lenet) stops"));
  EXPECT_THAT(table.out, HasSubstr("has ended already: failed"));
  const Json json = json_of(ctl(daemon_, {"stop", "3", "4", "-o", "json"}));
  EXPECT_EQ(json, (Json{{"jobs", {job_value(jobs_[0]), job_value(jobs_[1])}}}));
}

TEST_F(Commands, StatusOfSeveralJobs) {
  jobs_[1].id = 4;
  daemon_.on<WatchRequest, WatchReply>([this](const WatchRequest& request) -> Result<WatchReply> {
    return WatchReply{jobs_[request.job == "4" ? 1 : 0], {}};
  });
  const CtlRun table = ctl(daemon_, {"status", "3", "4"});
  EXPECT_EQ(table.code, ExitCode::kOk);
  EXPECT_THAT(table.out, HasSubstr("steps            550 of 1172\n"));
  EXPECT_THAT(table.out, HasSubstr("steps            1172 of 1172\n"));
  const Json json = json_of(ctl(daemon_, {"status", "3", "4", "-o", "json"}));
  EXPECT_EQ(json, (Json{{"jobs", {job_value(jobs_[0]), job_value(jobs_[1])}}}));
}

TEST_F(Commands, Delete) {
  std::vector<std::string> asked;
  daemon_.on<DeleteRequest, DeleteReply>([&](const DeleteRequest& request) -> Result<DeleteReply> {
    asked.push_back(request.job + (request.checkpoints ? " all" : ""));
    if (request.job == "3") return fail(ErrorCode::kInvalidArgument, "job 3 is running");
    return DeleteReply{jobs_[1], request.checkpoints ? "" : "/state/jobs/4/checkpoints"};
  });
  const CtlRun kept = ctl(daemon_, {"delete", "4"});
  EXPECT_EQ(kept.code, ExitCode::kOk);
  EXPECT_THAT(kept.out, HasSubstr("is deleted; its checkpoints stay in /state/jobs/4/checkpoints\n"));
  const CtlRun all = ctl(daemon_, {"delete", "4", "--checkpoints"});
  EXPECT_THAT(all.out, HasSubstr("is deleted\n"));
  const CtlRun both = ctl(daemon_, {"delete", "3", "4", "-o", "json"});
  EXPECT_EQ(both.code, ExitCode::kUsage);
  EXPECT_THAT(both.err, HasSubstr("job 3 is running"));
  EXPECT_EQ(json_of(both)["deleted"].size(), 1u);
  EXPECT_EQ(json_of(both)["deleted"][0]["kept"], "/state/jobs/4/checkpoints");
  EXPECT_EQ(asked, (std::vector<std::string>{"4", "4 all", "3", "4"}));
  EXPECT_EQ(ctl(daemon_, {"delete"}).code, ExitCode::kUsage);
}

TEST_F(Commands, ListOfSomeStatesAndOfTheNewest) {
  jobs_.push_back(ended_job(JobState::kSucceeded));
  const auto states = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "list");
    words.insert(words.end(), {"-o", "json"});
    const Json json = json_of(ctl(daemon_, words));
    std::string out;
    for (const Json& job : json["jobs"]) out += job["state"].get<std::string>() + " ";
    return out;
  };
  EXPECT_EQ(states({}), "running failed succeeded ");
  EXPECT_EQ(states({"--state", "open"}), "running ");
  EXPECT_EQ(states({"--state", "failed,succeeded"}), "failed succeeded ");
  EXPECT_EQ(states({"--limit", "2"}), "failed succeeded ");
  EXPECT_EQ(states({"--state", "failed,running", "--limit", "1"}), "failed ");
  EXPECT_EQ(states({"--limit", "0"}), "");
  const CtlRun none = ctl(daemon_, {"list", "--limit", "0"});
  EXPECT_EQ(none.code, ExitCode::kOk);
  EXPECT_EQ(none.out + none.err, "") << "as asked";
  EXPECT_THAT(ctl(daemon_, {"list", "--state", "queued"}).err, HasSubstr("no such jobs"));
  const CtlRun wrong = ctl(daemon_, {"list", "--state", "runing"});
  EXPECT_EQ(wrong.code, ExitCode::kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean \"running\"?"));
  EXPECT_EQ(ctl(daemon_, {"list", "--limit", "-1"}).code, ExitCode::kUsage);
}

TEST_F(Commands, RestartsAreShownWhereThereWereSome) {
  EXPECT_THAT(ctl(daemon_, {"list"}).out, Not(HasSubstr("RESTARTS")));
  EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out, Not(HasSubstr("restarts")));
  EXPECT_EQ(json_of(ctl(daemon_, {"status", "3", "-o", "json"}))["restarts"], 0);
  jobs_[0].restarts = 4;
  EXPECT_THAT(ctl(daemon_, {"list"}).out, HasSubstr("ACTORS    RESTARTS  EPOCHS"));
  EXPECT_THAT(ctl(daemon_, {"status"}).out, HasSubstr("2 of 1-2         4    2.35"));
  EXPECT_THAT(ctl(daemon_, {"describe", "3"}).out, HasSubstr("restarts         4\n"));
  EXPECT_EQ(json_of(ctl(daemon_, {"status", "3", "-o", "json"}))["restarts"], 4);
}

TEST_F(Commands, ScaleSaysWhatWillHappen) {
  JobRecord& job = jobs_[0];
  daemon_.on<ScaleRequest, ScaleReply>([&](const ScaleRequest& request) -> Result<ScaleReply> {
    if (request.job != "3") return fail(ErrorCode::kNotFound, "there is no job \"" + request.job + "\"");
    if (request.actors > 100) return fail(ErrorCode::kInvalidArgument, "the node has 100 slots");
    job.actors_max = std::min(request.actors, 8u);  // its micro-batches
    return ScaleReply{job};
  });
  const CtlRun grows = ctl(daemon_, {"scale", "3", "4"});
  EXPECT_EQ(grows.code, ExitCode::kOk);
  EXPECT_EQ(grows.out, "job 3 (fashion-lenet) grows from 2 to 4 actors as slots get free\n");
  EXPECT_EQ(grows.err, "");
  const CtlRun capped = ctl(daemon_, {"scale", "3", "9"});
  EXPECT_THAT(capped.out, HasSubstr("grows from 2 to 8 actors"));
  EXPECT_EQ(capped.err, "note: the job has work for 8 actors at most\n");
  EXPECT_THAT(ctl(daemon_, {"scale", "3", "1"}).out, HasSubstr("shrinks from 2 to 1 actor behind a step"));
  EXPECT_THAT(ctl(daemon_, {"scale", "3", "2"}).out, HasSubstr("keeps its 2 actors"));
  const Json json = json_of(ctl(daemon_, {"scale", "3", "5", "-o", "json"}));
  EXPECT_EQ(json, job_value(job));
  EXPECT_EQ(job.actors_max, 5u);
  job.actors = 0;
  EXPECT_THAT(ctl(daemon_, {"scale", "3", "2"}).out, HasSubstr("starts with at most 2 actors"));
  job.state = JobState::kSucceeded;
  EXPECT_THAT(ctl(daemon_, {"scale", "3", "2"}).out, HasSubstr("has ended already: succeeded"));
  EXPECT_EQ(ctl(daemon_, {"scale", "9", "2"}).code, ExitCode::kNoSuchJob);
  const CtlRun refused = ctl(daemon_, {"scale", "3", "101"});
  EXPECT_EQ(refused.code, ExitCode::kUsage);
  EXPECT_THAT(refused.err, HasSubstr("the node has 100 slots"));
}

TEST_F(Commands, Drain) {
  daemon_.on<DrainRequest, DrainReply>([&](const DrainRequest& request) -> Result<DrainReply> {
    if (request.actor != 1) return fail(ErrorCode::kNotFound, "job 3 has no actor 7 in its group");
    return DrainReply{jobs_[0]};
  });
  const CtlRun run = ctl(daemon_, {"drain", "3", "--actor", "1"});
  EXPECT_EQ(run.code, ExitCode::kOk);
  EXPECT_EQ(run.out,
            "actor 1 leaves job 3 (fashion-lenet) behind a step; another one is started in its place\n");
  EXPECT_EQ(json_of(ctl(daemon_, {"drain", "3", "--actor", "1", "-o", "json"})), job_value(jobs_[0]));
  const CtlRun none = ctl(daemon_, {"drain", "3", "--actor", "7"});
  EXPECT_EQ(none.code, ExitCode::kNoSuchJob);
  EXPECT_THAT(none.err, HasSubstr("no actor 7"));
  jobs_[0].state = JobState::kFailed;
  EXPECT_THAT(ctl(daemon_, {"drain", "3", "--actor", "1"}).out, HasSubstr("has ended already: failed"));
}

TEST_F(Commands, EventsGoOnUntilThereAreNoMore) {
  daemon_.on<EventsRequest, EventsReply>([](const EventsRequest& request) -> Result<EventsReply> {
    EventsReply reply;  // two at a time, whatever was asked for
    for (std::uint64_t id = request.after_id + 1; id <= std::min<std::uint64_t>(request.after_id + 2, 5);
         ++id)
      reply.events.push_back(event(id, "Kind" + std::to_string(id), "line\none"));
    return reply;
  });
  const Json json = json_of(ctl(daemon_, {"events", "3", "-o", "json"}));
  EXPECT_EQ(json["events"].size(), 5u);
  const CtlRun table = ctl(daemon_, {"events", "3"});
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 5);
  EXPECT_THAT(table.out, HasSubstr("line one"));
  jobs_[0].state = JobState::kSucceeded;
  const CtlRun followed = ctl(daemon_, {"events", "3", "-f", "-o", "json"});
  EXPECT_EQ(followed.code, ExitCode::kOk);
  EXPECT_EQ(std::count(followed.out.begin(), followed.out.end(), '\n'), 5);
}

TEST_F(Commands, MetricsAreFetchedPageByPage) {
  daemon_.on<MetricsRequest, MetricsReply>([](const MetricsRequest& request) -> Result<MetricsReply> {
    MetricsReply reply;
    for (std::uint64_t step = request.after_step + 1; step <= 25 && reply.steps.size() < 10; ++step) {
      StepMetrics metrics;
      metrics.step = step;
      metrics.loss = 1.0 / static_cast<double>(step);
      metrics.refreshed = step == 1;
      metrics.bytes_sent = 2048;
      metrics.seconds = step == 3 ? 0 : 0.25;          // told by one who did not make it
      if (step == 2) metrics.refresh_seconds = 0.125;  // overlapped: behind the refresh
      reply.steps.push_back(metrics);
    }
    reply.more = !reply.steps.empty() && reply.steps.back().step < 25;
    EpochMetrics epoch;
    epoch.epoch = 1;
    reply.epochs = {epoch};
    return reply;
  });
  const Json all = json_of(ctl(daemon_, {"metrics", "3", "-o", "json"}));
  ASSERT_EQ(all["steps"].size(), 25u);
  EXPECT_EQ(all["steps"][24]["step"], 25);
  EXPECT_EQ(all["steps"][0]["refreshed"], true);
  EXPECT_TRUE(all["steps"][0]["refresh_seconds"].is_null());
  EXPECT_EQ(all["steps"][1]["refresh_seconds"], 0.125);
  EXPECT_EQ(all["steps"][1]["seconds"], 0.25);
  EXPECT_EQ(all["steps"][1]["bytes_sent"], 2048);
  for (const char* own : {"seconds", "bytes_sent", "fragment_bytes_sent", "curvature_bytes"})
    EXPECT_TRUE(all["steps"][2][own].is_null()) << own;
  EXPECT_TRUE(all["epochs"][0]["test_accuracy"].is_null());
  EXPECT_FALSE(json_of(ctl(daemon_, {"metrics", "3", "--series", "epoch", "-o", "json"})).contains("steps"));
  EXPECT_FALSE(json_of(ctl(daemon_, {"metrics", "3", "--series", "step", "-o", "json"})).contains("epochs"));
  const CtlRun steps = ctl(daemon_, {"metrics", "3", "--series", "step"});
  EXPECT_EQ(std::count(steps.out.begin(), steps.out.end(), '\n'), 26);
  EXPECT_THAT(steps.out, HasSubstr("0.1250"));
  EXPECT_THAT(steps.out, Not(HasSubstr("0.0000")));
  EXPECT_EQ(ctl(daemon_, {"metrics", "3", "--series", "stp"}).code, ExitCode::kUsage);
}

TEST_F(Commands, LogsOfOneAndOfAllActors) {
  const std::map<ActorId, std::string> logs = {{0, std::string(700'000, 'a') + "\n"}, {1, "bb\n"}};
  daemon_.on<LogsRequest, LogsReply>([=](const LogsRequest& request) -> Result<LogsReply> {
    const auto log = logs.find(request.actor);
    if (log == logs.end()) return fail(ErrorCode::kNotFound, "job 3 has no actor 7; it has 0 to 1");
    LogsReply reply;
    reply.data =
        log->second.substr(std::min<std::size_t>(request.offset, log->second.size()), request.max_bytes);
    reply.size = log->second.size();
    reply.ended = true;
    reply.actors = {0, 1};
    return reply;
  });
  EXPECT_EQ(ctl(daemon_, {"logs", "3", "--actor", "0"}).out, logs.at(0));
  EXPECT_EQ(ctl(daemon_, {"logs", "3", "--actor", "1"}).out, "bb\n");
  const CtlRun all = ctl(daemon_, {"logs", "3", "-f"});
  EXPECT_EQ(all.code, ExitCode::kOk);
  EXPECT_EQ(all.out, "==> actor 0 <==\n" + logs.at(0) + "\n==> actor 1 <==\nbb\n");
  const CtlRun none = ctl(daemon_, {"logs", "3", "--actor", "7"});
  EXPECT_EQ(none.code, ExitCode::kNoSuchJob);
  EXPECT_THAT(none.err, HasSubstr("it has 0 to 1"));
}

// A newer job may be submitted under the name meanwhile.
TEST_F(Commands, WhatFollowsANameKeepsToTheJobThatItMeantFirst) {
  std::vector<std::string> watched, asked;
  daemon_.on<WatchRequest, WatchReply>([&](const WatchRequest& request) -> Result<WatchReply> {
    watched.push_back(request.job);
    return WatchReply{watched.size() < 3 ? running_job() : ended_job(JobState::kSucceeded), {}};
  });
  daemon_.on<LogsRequest, LogsReply>([&](const LogsRequest& request) -> Result<LogsReply> {
    asked.push_back(request.job);
    LogsReply reply;
    reply.ended = asked.size() > 2;
    return reply;
  });
  daemon_.on<EventsRequest, EventsReply>([&](const EventsRequest& request) -> Result<EventsReply> {
    asked.push_back(request.job);
    return EventsReply{};
  });
  EXPECT_EQ(ctl(daemon_, {"events", "fashion-lenet", "-f"}).code, ExitCode::kOk);
  EXPECT_EQ(watched, (std::vector<std::string>{"fashion-lenet", "3", "3"}));
  EXPECT_EQ(asked, (std::vector<std::string>{"3", "3", "3"}));
  watched.clear(), asked.clear();
  EXPECT_EQ(ctl(daemon_, {"logs", "fashion-lenet", "-f"}).code, ExitCode::kOk);
  EXPECT_EQ(watched, (std::vector<std::string>{"fashion-lenet"}));
  EXPECT_GE(asked.size(), 3u);
  for (const std::string& job : asked) EXPECT_EQ(job, "3");
}

TEST_F(Commands, AnEventNamesItsActorOnce) {
  daemon_.on<EventsRequest, EventsReply>([](const EventsRequest& request) -> Result<EventsReply> {
    EventsReply reply;
    if (request.after_id > 0) return reply;
    reply.events = {event(1, "ActorLost", "actor 1 died"), event(2, "ActorLost", "actor 11 died"),
                    event(3, "ActorStarted", "process 5")};
    for (EventRecord& each : reply.events) each.actor = 1;
    return reply;
  });
  const std::string out = ctl(daemon_, {"events", "3"}).out;
  EXPECT_THAT(out, HasSubstr("ActorLost             actor 1 died"));
  EXPECT_THAT(out, HasSubstr("actor 1: actor 11 died"));
  EXPECT_THAT(out, HasSubstr("actor 1: process 5"));
}

TEST_F(Commands, TheLastLinesOfLogs) {
  std::map<ActorId, std::string> logs = {{0, ""}, {1, "a\nb\nc\n"}};
  for (int i = 0; i < 100'000; ++i) logs[0] += "line " + std::to_string(i) + "\n";
  logs[0] += "not ended";
  daemon_.on<LogsRequest, LogsReply>([=](const LogsRequest& request) -> Result<LogsReply> {
    const std::string& log = logs.at(request.actor);
    LogsReply reply;
    reply.data = log.substr(std::min<std::size_t>(request.offset, log.size()), request.max_bytes);
    reply.size = log.size();
    reply.ended = true;
    reply.actors = {0, 1};
    return reply;
  });
  const auto tail = [&](const char* actor, const char* lines) {
    return ctl(daemon_, {"logs", "3", "--actor", actor, "--tail", lines}).out;
  };
  EXPECT_EQ(tail("1", "1"), "c\n");
  EXPECT_EQ(tail("1", "2"), "b\nc\n");
  EXPECT_EQ(tail("1", "3"), logs.at(1));
  EXPECT_EQ(tail("1", "4"), logs.at(1));
  EXPECT_EQ(tail("1", "0"), "");
  EXPECT_EQ(tail("0", "2"), "line 99999\nnot ended");
  const std::string many = tail("0", "90001");  // more than a reply holds
  EXPECT_TRUE(many.starts_with("line 10000\nline 10001\n")) << many.substr(0, 40);
  EXPECT_EQ(ctl(daemon_, {"logs", "3", "--tail", "1"}).out,
            "==> actor 0 <==\nnot ended\n==> actor 1 <==\nc\n");
}

class Export : public Commands {
 protected:
  void SetUp() override {
    Commands::SetUp();
    checkpoint_ = dir_.path() + "/step-00000012";
    mkdir(checkpoint_.c_str(), 0700);
    content_.assign(3'000'000, 'w');
    content_ += "end";
    write("model.safetensors", content_);
    write_manifest(to_hex(sha256(content_.data(), content_.size())), content_.size());
    jobs_[0].checkpoint = checkpoint_;
  }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(checkpoint_ + "/" + name) << text;
  }
  void write_manifest(const std::string& hash, std::uint64_t bytes) {
    write("manifest.json", Json{{"format", 1},
                                {"files",
                                 {{{"name", "optimizer.safetensors"}, {"bytes", 1}, {"sha256", "00"}},
                                  {{"name", "model.safetensors"}, {"bytes", bytes}, {"sha256", hash}}}}}
                               .dump());
  }
  std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files() {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir_.path())) ++n;
    return n;
  }

  TempDir dir_;
  std::string checkpoint_, content_;
  std::string target_ = dir_.path() + "/out.safetensors";
};

TEST_F(Export, CopiesWhatTheManifestVouchesFor) {
  const CtlRun run = ctl(daemon_, {"export", "3", "--output", target_});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_EQ(read(target_), content_);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, HasSubstr(to_hex(sha256(content_.data(), content_.size()))));
  const mode_t mask = umask(0);
  umask(mask);
  struct stat info;
  ASSERT_EQ(stat(target_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666u & ~mask);
  EXPECT_EQ(files(), 2u);  // nothing left aside
}

TEST_F(Export, TakesItsFormatAsEveryOtherCommand) {
  const CtlRun run = ctl(daemon_, {"export", "3", "--output", target_, "-o", "json"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  const Json value = Json::parse(run.out);
  EXPECT_EQ(value["file"], target_);
  EXPECT_EQ(value["bytes"], content_.size());
  EXPECT_EQ(ctl(daemon_, {"export", "3", "-o", "json"}).code, ExitCode::kUsage) << "no file is named";
}

// Of a job that was deleted, say: sengd is not asked.
TEST_F(Export, TakesADirectoryThatSengdDoesNotKnow) {
  daemon_.stop();
  for (const std::string& from : {checkpoint_, dir_.path(), dir_.path() + "/"}) {
    const CtlRun run = ctl(daemon_, {"export", from, "--output", target_, "--force", "-o", "json"});
    ASSERT_EQ(run.code, ExitCode::kOk) << run.err;
    EXPECT_EQ(read(target_), content_);
    unlink(target_.c_str());
    EXPECT_TRUE(Json::parse(run.out)["job"].is_null());
    EXPECT_EQ(Json::parse(run.out)["checkpoint"], checkpoint_);
  }
  const CtlRun none = ctl(daemon_, {"export", dir_.path() + "/none", "--output", target_});
  EXPECT_EQ(none.code, ExitCode::kFailed);
  EXPECT_THAT(none.err, HasSubstr("there is no checkpoint in " + dir_.path() + "/none"));
}

TEST_F(Export, ReplacesOnlyWhenForced) {
  std::ofstream(target_) << "precious";
  const CtlRun run = ctl(daemon_, {"export", "3", "--output", target_});
  EXPECT_EQ(run.code, ExitCode::kFailed);
  EXPECT_THAT(run.err, HasSubstr("--force"));
  EXPECT_EQ(read(target_), "precious");
  EXPECT_EQ(ctl(daemon_, {"export", "3", "--output", target_, "--force"}).code, ExitCode::kOk);
  EXPECT_EQ(read(target_), content_);
}

TEST_F(Export, TakesThePlaceOfFilesAlone) {
  const std::string pipe = dir_.path() + "/pipe", link = dir_.path() + "/link",
                    nowhere = dir_.path() + "/nowhere";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink("absent", nowhere);
  for (const std::string& there : {pipe, dir_.path(), nowhere}) {
    for (const bool force : {false, true}) {
      std::vector<std::string> words = {"export", "3", "--output", there};
      if (force) words.push_back("--force");
      const CtlRun run = ctl(daemon_, words);
      EXPECT_EQ(run.code, ExitCode::kFailed) << there;
      EXPECT_THAT(run.err, HasSubstr(there + " is "));
      EXPECT_THAT(run.err, ::testing::Not(HasSubstr("--force")));
    }
  }
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  std::ofstream(target_) << "old";
  std::filesystem::create_symlink(target_, link);
  EXPECT_EQ(ctl(daemon_, {"export", "3", "--output", link, "--force"}).code, ExitCode::kOk);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read(target_), content_);
}

TEST_F(Export, RefusesADamagedCheckpointAndWritesNothing) {
  std::string flipped = content_;
  flipped[1'000'000] ^= 1;
  const auto refused = [&](const char* said) {
    const CtlRun run = ctl(daemon_, {"export", "3", "--output", target_});
    EXPECT_EQ(run.code, ExitCode::kFailed);
    EXPECT_THAT(run.err, HasSubstr(said));
    EXPECT_EQ(files(), 1u) << said;
  };
  write("model.safetensors", flipped);
  refused("the checkpoint is damaged, nothing was written");
  write("model.safetensors", content_.substr(1));
  refused("3000002 bytes");
  unlink((checkpoint_ + "/model.safetensors").c_str());
  refused("model.safetensors");
  for (const char* manifest :
       {"", "{", "[]", "{}", R"({"files":3})", R"({"files":[3,{"name":"model.safetensors"}]})",
        R"({"files":[{"name":"model.safetensors","bytes":-1,"sha256":"x"}]})"}) {
    write("manifest.json", manifest);
    refused("manifest.json");
  }
}

// Another user, where this one may read everything. In this process alone, and back at its end.
class AsNobody {
 public:
  AsNobody() { EXPECT_TRUE(!root_ || seteuid(65534) == 0); }
  ~AsNobody() { EXPECT_TRUE(!root_ || seteuid(0) == 0); }

 private:
  const bool root_ = geteuid() == 0;
};

TEST_F(Export, SaysWhatCannotBeReadOrWrittenAndWhy) {
  const std::string job = dir_.path() + "/job", checkpoints = job + "/checkpoints",
                    newer = checkpoints + "/step-00000014", open = dir_.path() + "/open";
  std::filesystem::create_directories(newer);
  std::filesystem::copy(checkpoint_, checkpoints + "/step-00000012");
  std::ofstream(newer + "/manifest.json") << "{}";
  mkdir(open.c_str(), 0700);
  for (const std::string& path : {dir_.path(), job, checkpoints, checkpoints + "/step-00000012"})
    chmod(path.c_str(), 0755);
  chmod(open.c_str(), 0777);
  const auto said = [&](const std::string& closed, const std::string& from, const std::string& to) {
    chmod(closed.c_str(), 0);
    CtlRun run;
    {
      const AsNobody nobody;
      run = ctl({"export", from, "--output", to});
    }
    chmod(closed.c_str(), 0755);
    EXPECT_EQ(run.code, ExitCode::kFailed);
    EXPECT_THAT(run.err, ::testing::StartsWith("sengctl: cannot "));
    EXPECT_THAT(run.err, ::testing::EndsWith(": Permission denied\n"));
    EXPECT_THAT(run.err, Not(HasSubstr("no checkpoint")));
    return run.err;
  };
  const std::string free = open + "/out";
  EXPECT_THAT(said(job, job, free), HasSubstr("read " + job + "/manifest.json"));
  EXPECT_THAT(said(checkpoints, job, free), HasSubstr("read " + checkpoints + ":"));
  EXPECT_THAT(said(newer, job, free), HasSubstr("read " + newer + "/manifest.json")) << "not an older one";
  const std::string whole = checkpoints + "/step-00000012";
  EXPECT_THAT(said(whole + "/model.safetensors", whole, free), HasSubstr("open " + whole + "/model"));
  EXPECT_THAT(said(open, whole, free), HasSubstr("write " + free));
  EXPECT_THAT(said(newer, whole, checkpoints + "/out"), HasSubstr("write into " + checkpoints));
  EXPECT_THAT(ctl({"export", whole, "--output", dir_.path() + "/none/x"}).err,
              HasSubstr("cannot write into " + dir_.path() + "/none: No such file or directory"));
  EXPECT_THAT(ctl({"submit", "--resume", target_ + "/"}).err,
              HasSubstr("there is no checkpoint in " + target_ + "/: No such file or directory; expected"));
}

TEST_F(Export, SaysWhenThereIsNothingYet) {
  jobs_[0].checkpoint.clear();
  const CtlRun run = ctl(daemon_, {"export", "3", "--output", target_});
  EXPECT_EQ(run.code, ExitCode::kFailed);
  EXPECT_THAT(run.err, HasSubstr("no checkpoint yet: it is running at step 550"));
  EXPECT_EQ(ctl(daemon_, {"export", "3"}).code, ExitCode::kUsage);
  jobs_[0].checkpoint = checkpoint_;
  EXPECT_EQ(ctl(daemon_, {"export", "3", "--output", dir_.path() + "/none/x"}).code, ExitCode::kFailed);
}

TEST_F(Commands, AListFitsTheTerminalAndIsWholeInAPipe) {
  for (const int width : {60, 80, 200}) {
    const CtlRun run = ctl(daemon_, {"list"}, {.environment = {}, .terminal = true, .width = width});
    std::istringstream lines(without_colours(run.out));
    for (std::string line; std::getline(lines, line);)
      EXPECT_LE(display_width(line), static_cast<std::size_t>(width)) << line;
    for (const char* column : {"ID", "NAME", "STATE", "STEPS"}) EXPECT_THAT(run.out, HasSubstr(column));
  }
  EXPECT_THAT(ctl(daemon_, {"list"}).out, HasSubstr("SUBMITTED"));
}

TEST_F(Commands, AnAnswerThatNeverComesIsExitCode3) {
  daemon_.ignore(MessageKind::kListRequest);
  const CtlRun run = ctl(daemon_, {"list"});
  EXPECT_EQ(run.code, ExitCode::kNoDaemon);
  EXPECT_THAT(run.err, HasSubstr("did not answer within 5 s"));
}

}  // namespace
}  // namespace seng::testing
