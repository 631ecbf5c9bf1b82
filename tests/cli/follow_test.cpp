// submit --wait, --follow, watch and wait, in one process with a fake daemon.
#include "cli/follow.h"

#include <csignal>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "protocol/spec/job_spec.h"
#include "tests/cli/fake_daemon.h"

namespace seng::testing::follow_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

const char kJob[] =
    "name: fashion-lenet\nmodel: lenet\ndata: {name: fashion-mnist, root: sets}\nbatch: {global: 256, micro: "
    "32}\n"
    "epochs: 5\noptimizer: seng\n";

std::vector<EpochMetrics> five_epochs() {
  std::vector<EpochMetrics> epochs;
  for (int i = 1; i <= 5; ++i) {
    EpochMetrics e;
    e.epoch = i;
    e.step = 234 * i;
    e.train_loss = 1.0 / i;
    e.test_accuracy = 0.8 + 0.02 * i;
    epochs.push_back(e);
  }
  return epochs;
}

// Takes any job and lets it go through the states.
void serve_job(FakeDaemon& daemon, std::vector<JobRecord> states, std::string* submitted = nullptr) {
  daemon.on<VersionRequest, VersionReply>(
      [](const VersionRequest&) -> Result<VersionReply> { return VersionReply{}; });
  JobRecord first = states.front();
  first.state = JobState::kQueued;
  daemon.on<SubmitRequest, SubmitReply>([=](const SubmitRequest& request) -> Result<SubmitReply> {
    if (submitted != nullptr) *submitted = request.spec_yaml;
    return SubmitReply{first};
  });
  daemon.watch_states(std::move(states), five_epochs());
}

TEST(Submit, SendsTheEffectiveSpecificationAndPrintsTheNumber) {
  FakeDaemon daemon;
  std::string submitted;
  serve_job(daemon, {running_job()}, &submitted);
  const CtlRun run = ctl(daemon, {"submit", "-", "--set", "optimizer.lr=0.05", "--name", "mine"},
                         {.input = kJob, .environment = {}, .working_directory = "/work/here"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_EQ(run.out, "3\n");
  EXPECT_THAT(run.err, HasSubstr("submitted job 3"));
  const auto spec = parse_job_spec(submitted, "submitted");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->name, "mine");
  EXPECT_EQ(spec->optimizer.lr.initial, 0.05);
  EXPECT_EQ(spec->data_root, "/work/here/sets");
  EXPECT_EQ(daemon.count(MessageKind::kWatchRequest), 0);
}

TEST(Submit, WaitPrintsOneObjectWithEveryPromisedField) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job(), ended_job(JobState::kSucceeded)});
  const CtlRun run = ctl(daemon, {"submit", "-", "--wait", "-o", "json"}, {.input = kJob});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  const auto result = Json::parse(run.out, nullptr, false);
  ASSERT_TRUE(result.is_object()) << run.out;
  for (const char* field :
       {"id", "name", "state", "epochs", "steps", "samples_seen", "train_loss", "test_accuracy",
        "images_per_second", "weights_sha256", "state_sha256", "checkpoint", "actors"}) {
    EXPECT_TRUE(result.contains(field)) << field;
  }
  EXPECT_EQ(result["state"], "succeeded");
  EXPECT_EQ(result["steps"], 1172);
  EXPECT_EQ(result["test_accuracy"], 0.9184);
}

TEST(Submit, FollowShowsProgressEpochsAndTheResult) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job(), ended_job(JobState::kSucceeded)});
  const CtlRun run = ctl(daemon, {"submit", "-", "--follow"}, {.input = kJob});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_THAT(run.err, HasSubstr("fashion-lenet  46 %"));
  std::size_t rows = 0;
  for (const EpochMetrics& epoch : five_epochs()) rows += run.out.find(epoch_row(epoch)) != std::string::npos;
  EXPECT_EQ(rows, 5u) << run.out;
  EXPECT_THAT(run.out, HasSubstr("job 3 (fashion-lenet) succeeded: 5 epochs, 1172 steps in 1:32"));
  EXPECT_THAT(run.out, HasSubstr("test accuracy   91.84 %"));
  EXPECT_THAT(run.out, HasSubstr("weights SHA-256 " + std::string(64, 'a')));
  EXPECT_THAT(run.out, HasSubstr("checkpoint      /state/jobs/3/checkpoints/step-00001172"));
}

TEST(Submit, OnATerminalTheBarIsDrawnAndTakenAway) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job(), ended_job(JobState::kSucceeded)});
  const CtlRun run =
      ctl(daemon, {"submit", "-", "--follow"}, {.input = kJob, .terminal = true, .width = 120});
  EXPECT_THAT(run.err, HasSubstr(fmt::format("\r{}\033[K", progress_line(running_job(), 119))));
  EXPECT_TRUE(run.err.ends_with("\r\033[K")) << run.err;
}

TEST(Submit, ABadFileNeverReachesTheDaemon) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  const CtlRun run = ctl(daemon, {"submit", "-", "--set", "batch.micro=33"}, {.input = kJob});
  EXPECT_EQ(run.code, ExitCode::kUsage);
  EXPECT_THAT(run.err, HasSubstr("--set batch.micro=33: batch.micro: 33 does not divide batch.global, 256"));
  EXPECT_EQ(run.out, "");
  const CtlRun place = ctl(daemon, {"submit", "-"}, {.input = std::string(kJob) + "sed: 1\n"});
  EXPECT_EQ(place.err, "<stdin>:7:1: sed: unknown key; did you mean \"seed\"?\n");
  EXPECT_EQ(daemon.count(MessageKind::kSubmitRequest), 0);
}

TEST(Submit, ErrorsOfTheDaemonHaveThePlaceOfWhatWasTyped) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  std::string message;
  daemon.on<SubmitRequest, SubmitReply>([&](const SubmitRequest&) -> Result<SubmitReply> {
    return fail(ErrorCode::kInvalidArgument, message);
  });
  const auto said = [&](const std::string& refusal, std::vector<std::string> words) {
    message = refusal;
    words.insert(words.begin(), {"submit", "-"});
    return ctl(daemon, words, {.input = kJob}).err;
  };
  EXPECT_EQ(
      said("data: not found; looked in:\n    /x\n  so\nseed: 7 is odd\nno key", {"--set", "data.root=/x"}),
      "--set data.root=/x: data: not found; looked in:\n    /x\n  so\n<stdin>: seed: 7 is odd\n<stdin>: no "
      "key\n");
  EXPECT_EQ(said("engine.tune: not here", {"--tune"}), "--tune: engine.tune: not here\n");
  EXPECT_EQ(said("name: taken", {"--name", "mine"}), "--name mine: name: taken\n");
  EXPECT_EQ(said("initial.weights: /w: no such file", {"--init-from", "/w"}),
            "--init-from /w: initial.weights: /w: no such file\n");
  EXPECT_EQ(said("<stdin>:90:3: seed: 7 is odd", {}), "<stdin>: seed: 7 is odd\n")
      << "of the text as it was sent";
}

TEST(Submit, ARefusalOfTheDaemonIsAUsageErrorItsOwnTroubleIsNot) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  ErrorCode code = ErrorCode::kInvalidArgument;
  daemon.on<SubmitRequest, SubmitReply>([&](const SubmitRequest&) -> Result<SubmitReply> {
    return fail(code, "the job needs 70000 MiB of memory");
  });
  for (const ErrorCode refusal : {ErrorCode::kInvalidArgument, ErrorCode::kNotFound}) {
    code = refusal;
    const CtlRun run = ctl(daemon, {"submit", "-"}, {.input = kJob});
    EXPECT_EQ(run.code, ExitCode::kUsage);
    EXPECT_THAT(run.err, HasSubstr("70000 MiB"));
  }
  for (const ErrorCode trouble : {ErrorCode::kIo, ErrorCode::kExhausted}) {  // its disk is full
    code = trouble;
    EXPECT_EQ(ctl(daemon, {"submit", "-"}, {.input = kJob}).code, ExitCode::kFailed);
  }
}

TEST(Submit, OnATerminalTheNumberIsSaidOnce) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  const CtlRun run = ctl(daemon, {"submit", "-"}, {.input = kJob, .terminal = true});
  EXPECT_THAT(run.err, HasSubstr("submitted job 3"));
  EXPECT_EQ(run.out, "");
}

TEST(Submit, AProblemNamesTheOptionThatWasTyped) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  const CtlRun run = ctl(daemon, {"submit", "-", "--name", "a b"}, {.input = kJob});
  EXPECT_EQ(run.code, ExitCode::kUsage);
  EXPECT_TRUE(run.err.starts_with("--name a b: name:")) << run.err;
}

TEST(Submit, NotesAreTalk) {
  FakeDaemon daemon;
  serve_job(daemon, {running_job()});
  const CtlRun run =
      ctl(daemon, {"submit", "-", "--set", "optimizer=sgd", "--set", "optimizer.trust_region=1"},
          {.input = kJob});
  EXPECT_EQ(run.code, ExitCode::kOk);
  EXPECT_EQ(run.out, "3\n");
  EXPECT_THAT(run.err, HasSubstr("note: optimizer.trust_region has no effect"));
}

TEST(Wait, TheExitCodeIsTheJobs) {
  const std::pair<JobState, ExitCode> cases[] = {{JobState::kSucceeded, ExitCode::kOk},
                                                 {JobState::kFailed, ExitCode::kJobFailed},
                                                 {JobState::kStopped, ExitCode::kJobStopped}};
  for (const auto& [state, code] : cases) {
    FakeDaemon daemon;
    daemon.watch_states({running_job(), running_job(), ended_job(state)});
    const CtlRun run = ctl(daemon, {"wait", "fashion-lenet"});
    EXPECT_EQ(run.code, code);
    EXPECT_THAT(run.out, HasSubstr(std::string(job_state_name(state))));
    EXPECT_EQ(run.err.find("failed: actor 1 died") != std::string::npos, state == JobState::kFailed);
  }
}

TEST(Wait, AsksForTheNumberOnceItKnowsIt) {
  FakeDaemon daemon;
  std::vector<std::string> asked;
  std::vector<std::uint64_t> revisions;
  daemon.on<WatchRequest, WatchReply>([&](const WatchRequest& request) -> Result<WatchReply> {
    asked.push_back(request.job);
    revisions.push_back(request.after_revision);
    WatchReply reply{asked.size() < 3 ? running_job() : ended_job(JobState::kSucceeded), {}};
    reply.job.revision = 40 + asked.size();
    return reply;
  });
  EXPECT_EQ(ctl(daemon, {"wait", "fashion-lenet"}).code, ExitCode::kOk);
  EXPECT_EQ(asked, (std::vector<std::string>{"fashion-lenet", "3", "3"}));
  EXPECT_EQ(revisions, (std::vector<std::uint64_t>{0, 41, 42}));
}

TEST(Wait, TimesOut) {
  FakeDaemon daemon;
  daemon.watch_states({running_job()});
  const CtlRun run = ctl(daemon, {"wait", "3", "--timeout", "0.2"});
  EXPECT_EQ(run.code, ExitCode::kTimeout);
  EXPECT_THAT(run.err, HasSubstr("has not ended after 0.2 s (running, step 550); it goes on"));
  EXPECT_EQ(run.out, "");
}

TEST(Wait, EndsAtAStep) {
  FakeDaemon daemon;
  JobRecord before = running_job(), after = running_job();
  before.step = 9;
  after.step = 12;
  daemon.watch_states({before, after});
  const CtlRun run = ctl(daemon, {"wait", "3", "--step", "10", "-o", "json"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_EQ(Json::parse(run.out)["steps"], 12);
}

TEST(Wait, AJobThatEndsBeforeTheStepHasACodeOfItsOwn) {
  FakeDaemon daemon;
  daemon.watch_states({running_job(), ended_job(JobState::kSucceeded)});
  const CtlRun run = ctl(daemon, {"wait", "3", "--step", "99999"});
  EXPECT_EQ(run.code, ExitCode::kNotReached);
  EXPECT_THAT(run.err, HasSubstr("ended with step 1172 and never reached step 99999"));
  for (const auto& [state, code] : {std::pair(JobState::kFailed, ExitCode::kJobFailed),
                                    std::pair(JobState::kStopped, ExitCode::kJobStopped)}) {
    daemon.watch_states({ended_job(state)});
    const CtlRun never = ctl(daemon, {"wait", "3", "--step", "99999"});
    EXPECT_EQ(never.code, code);
    EXPECT_THAT(never.err, HasSubstr("never reached step 99999"));
    EXPECT_EQ(ctl(daemon, {"wait", "3", "--step", "1172"}).code, ExitCode::kOk) << "it was committed";
  }
}

// In the order given, within one time limit; the first result that is none of success is the exit code.
TEST(Wait, SeveralJobs) {
  FakeDaemon daemon;
  daemon.on<WatchRequest, WatchReply>([](const WatchRequest& request) -> Result<WatchReply> {
    if (request.job == "9") return fail(ErrorCode::kNotFound, "there is no job 9");
    JobRecord job = ended_job(request.job == "5" ? JobState::kStopped : JobState::kSucceeded);
    job.id = static_cast<JobId>(request.job[0] - '0');
    return WatchReply{job, {}};
  });
  EXPECT_EQ(ctl(daemon, {"wait", "3", "4"}).code, ExitCode::kOk);
  const CtlRun table = ctl(daemon, {"wait", "3", "5", "9"});
  EXPECT_EQ(table.code, ExitCode::kJobStopped);
  EXPECT_THAT(table.out, HasSubstr("job 3 ("));
  EXPECT_THAT(table.out, HasSubstr("job 5 ("));
  EXPECT_THAT(table.err, HasSubstr("there is no job 9"));
  const auto json = nlohmann::json::parse(ctl(daemon, {"wait", "3", "4", "-o", "json"}).out);
  EXPECT_EQ(json["jobs"].size(), 2u);
}

TEST(Wait, NoSuchJobAndNoDaemon) {
  FakeDaemon daemon;
  daemon.on<WatchRequest, WatchReply>([](const WatchRequest&) -> Result<WatchReply> {
    return fail(ErrorCode::kNotFound, "there is no job 9");
  });
  EXPECT_EQ(ctl(daemon, {"wait", "9"}).code, ExitCode::kNoSuchJob);
  daemon.stop();
  const CtlRun run = ctl(daemon, {"wait", "9"});
  EXPECT_EQ(run.code, ExitCode::kNoDaemon);
  EXPECT_THAT(run.err, HasSubstr("sengd --state-dir " + daemon.dir()));
}

TEST(Watch, LivesThroughADaemonsRestart) {
  FakeDaemon daemon;
  std::atomic<int> questions = 0;
  daemon.on<WatchRequest, WatchReply>([&](const WatchRequest& request) -> Result<WatchReply> {
    // After the restart it must ask for everything.
    if (++questions > 1 && request.after_revision != 0) return WatchReply{running_job(), {}};
    return WatchReply{questions == 1 ? running_job() : ended_job(JobState::kSucceeded), {}};
  });
  std::thread restarter([&] {
    while (questions == 0) std::this_thread::yield();
    daemon.stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // an absence that is noticed
    daemon.start();
  });
  const CtlRun run = ctl(daemon, {"watch", "3"});
  restarter.join();
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_THAT(run.err, HasSubstr("sengd is away"));
  EXPECT_THAT(run.err, HasSubstr("sengd is back"));
  EXPECT_THAT(run.out, HasSubstr("succeeded"));
}

TEST(Watch, StreamsStatesAsJsonLines) {
  FakeDaemon daemon;
  daemon.watch_states({running_job(), ended_job(JobState::kStopped)});
  const CtlRun run = ctl(daemon, {"watch", "3", "-o", "json"});
  EXPECT_EQ(run.code, ExitCode::kJobStopped);
  std::istringstream lines(run.out);
  std::vector<std::string> states;
  for (std::string line; std::getline(lines, line);) states.push_back(Json::parse(line)["state"]);
  EXPECT_EQ(states, (std::vector<std::string>{"running", "stopped"}));
  EXPECT_EQ(run.err, "");
}

TEST(Watch, CtrlCDetachesAndSaysHowToComeBack) {
  FakeDaemon daemon;
  daemon.watch_states({running_job()});
  std::thread presser([&] {
    while (daemon.count(MessageKind::kWatchRequest) < 3) std::this_thread::yield();
    kill(getpid(), SIGINT);
  });
  const CtlRun run = ctl(daemon, {"watch", "fashion-lenet"});
  presser.join();
  EXPECT_EQ(run.code, ExitCode::kInterrupted);
  EXPECT_THAT(
      run.err,
      HasSubstr("detached; job 3 (fashion-lenet) goes on. Come back with\n  sengctl watch 3 --state-dir " +
                daemon.dir()));
}

// What waits for several jobs, with options, is not left for a `watch` of one.
TEST(Follow, WhatWasDetachedGoesOnWithTheSameCommandLine) {
  FakeDaemon daemon;
  daemon.watch_states({running_job()});
  std::thread presser([&] {
    while (daemon.count(MessageKind::kWatchRequest) < 3) std::this_thread::yield();
    kill(getpid(), SIGINT);
  });
  const CtlRun run = ctl({"wait", "3", "my job", "--timeout=600", "-o", "json", "--state-dir", daemon.dir()});
  presser.join();
  EXPECT_EQ(run.code, ExitCode::kInterrupted);
  EXPECT_THAT(run.err,
              HasSubstr("Come back with\n  sengctl wait 3 'my job' --timeout=600 -o json --state-dir " +
                        daemon.dir() + "\n"));
}

}  // namespace
}  // namespace seng::testing::follow_test
