// Command lines, help and completion: all by the one table of commands.
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "cli/command.h"
#include "tests/cli/fake_daemon.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

TEST(Usage, WrongCommandLinesAreExitCode2AndSayWhy) {
  const struct {
    std::vector<std::string> words;
    const char* said;
  } cases[] = {
      {{}, "no command given"},
      {{"lsit"}, "unknown command \"lsit\"; did you mean \"list\"?"},
      {{"submti", "x"}, "did you mean \"submit\"?"},
      {{"zzzzzz"}, "unknown command \"zzzzzz\"\n"},
      {{"--addres", "x", "list"}, "unknown option --addres; did you mean \"--address\"?"},
      {{"list", "--fromat", "json"}, "unknown option --fromat; did you mean \"--format\"?"},
      {{"list", "-x"}, "unknown option -x"},
      {{"list", "-o", "xml"}, "unknown format \"xml\"; expected table, json or yaml"},
      {{"list", "-o"}, "required argument"},
      {{"list", "-o", "json", "-o", "yaml"}, "more than once"},
      {{"list", "extra"}, "list: unexpected argument \"extra\""},
      {{"submit"}, "submit: FILE is missing"},
      {{"submit", "/nonexistent.yaml"}, "/nonexistent.yaml: cannot open: No such file or directory\n"},
      {{"submit", "/tmp"}, "/tmp: a directory; expected a job's file\n"},
      {{"submit", "x", "--timeout", "3"}, "--timeout goes with --wait or --follow"},
      {{"wait", "3", "--timeout", "-1"}, "--timeout: expected seconds"},
      {{"wait", "3", "--timeout", "soon"}, "--timeout: \"soon\"; expected seconds, as 30 or 0.5"},
      {{"wait", "3", "--timeout", ""}, "--timeout: \"\"; expected seconds"},
      {{"wait", "3", "--timeout", "nan"}, "--timeout: expected seconds"},
      {{"wait", "3", "--step", "-1"}, "--step: \"-1\"; expected a whole number"},
      {{"logs", "3", "--actor", "99999999999999999999999"}, "--actor: 99999999999999999999999 is too large"},
      {{"logs"}, "logs: JOB is missing"},
      {{"submit", "x", "--resume", "3", "--init-from", "y"}, "--resume and --init-from exclude each other"},
      {{"submit", "--resume", "/nonexistent"}, "there is no checkpoint in /nonexistent"},
      {{"scale"}, "scale: JOB N is missing"},
      {{"scale", "3"}, "scale: N is missing"},
      {{"-o", "jsn", "list"}, "unknown format \"jsn\"; did you mean \"json\"?"},
      {{"-o", "json", "logs", "3"}, "logs: unknown option -o"},
      {{"rm", "3"}, "did you mean \"delete\"?"},
      {{"help", "kill"}, "help: unknown command \"kill\"; did you mean \"stop\"?"},
      {{"help", "zzzzzz"}, "`sengctl help` lists the commands"},
      {{"scale", "3", "0"}, "scale: \"0\"; expected a number of actors from 1 to 1024"},
      {{"scale", "3", "-1"}, "unknown option -1"},
      {{"scale", "3", "2x"}, "\"2x\"; expected a number"},
      {{"scale", "3", "1025"}, "from 1 to 1024"},
      {{"scael", "3", "2"}, "did you mean \"scale\"?"},
      {{"drain", "3"}, "drain: --actor K is missing"},
      {{"logs", "3", "--tail", ""}, "--tail: \"\"; expected a whole number"},
      {{"drain", "3", "--actor", "x"}, "--actor: \"x\"; expected a whole number"},
      {{"drain", "3", "--actor", "4294967295"}, "there is no actor 4294967295"},
      {{"export", "3"}, "--output FILE is missing"},
      {{"cancel", "3"}, "unknown command \"cancel\"; did you mean \"stop\"?"},
      {{"ps"}, "did you mean \"list\"?"},
      {{"completion", "bahs"}, "did you mean \"bash\"?"},
      {{"completion", "zsh"}, "expected bash"},
      {{"help", "lst"}, "did you mean \"list\"?"},
      {{"list", "--address", "http://x"}, "http://x"},
      {{"list", "--address", ""}, "--address: expected an address, got nothing"},
      {{"list", "--state-dir", ""}, "--state-dir: expected a directory, got nothing"},
      {{"--state-dir", "", "--version"}, "--state-dir: expected a directory, got nothing"},
      {{"-o", "json"}, "no command given"},
      {{"submit", "-", "--name", ""}, "--name: expected a name, got nothing\n"},
  };
  for (const auto& c : cases) {
    const CtlRun run = ctl(c.words, {.input = "", .environment = {{"HOME", "/nonexistent"}}});
    EXPECT_EQ(run.code, ExitCode::kUsage) << (c.words.empty() ? "" : c.words[0]);
    EXPECT_THAT(run.err, HasSubstr(c.said));
    EXPECT_EQ(run.out, "");
  }
}

TEST(Usage, WithoutAHomeThereIsNoDefaultDaemon) {
  const CtlRun run = ctl({"list"}, {.input = "", .environment = {}});
  EXPECT_EQ(run.code, ExitCode::kUsage);
  EXPECT_THAT(run.err, HasSubstr("no state directory: give --state-dir or set SENG_STATE_DIR or HOME"));
}

TEST(Usage, HelpOfEveryCommandNamesItsOptions) {
  const CtlRun overview = ctl({"help"});
  EXPECT_EQ(overview.code, ExitCode::kOk);
  EXPECT_EQ(overview.err, "");
  EXPECT_EQ(ctl({"--help"}).out, overview.out);
  EXPECT_EQ(ctl({"-h"}).out, overview.out);
  for (const Command& command : commands()) {
    const std::string name(command.name);
    EXPECT_THAT(overview.out, HasSubstr("\n  " + name + " "));
    const CtlRun help = ctl({"help", name});
    EXPECT_EQ(help.code, ExitCode::kOk);
    EXPECT_EQ(ctl({name, "--help"}).out, help.out) << "without its operands";
    EXPECT_THAT(help.out, HasSubstr("usage: sengctl " + name));
    for (const OptionName& option : option_names(options_of(command)))
      EXPECT_THAT(help.out, HasSubstr(option.long_name));
    std::istringstream lines(help.out);
    for (std::string line; std::getline(lines, line);) EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST(Usage, AnOptionHasOneName) {
  const CtlRun help = ctl({"export", "--help"});
  EXPECT_THAT(help.out, HasSubstr("--output FILE"));
  EXPECT_THAT(help.out, ::testing::Not(HasSubstr("--to")));
  EXPECT_THAT(ctl({"export", "/none/", "--to", "/none/x"}).err, HasSubstr("no checkpoint in /none"))
      << "as it was once called";
  EXPECT_EQ(ctl({"export", "/none/", "--to", "x", "--output", "x"}).code, ExitCode::kUsage);
}

TEST(Usage, ReadingVerbsTakeAFormat) {
  for (const char* name : {"submit", "validate", "list", "status", "describe", "watch", "stop", "scale",
                           "drain", "delete", "wait", "events", "metrics", "nodes", "version"}) {
    const auto names = option_names(options_of(*find_command(name)));
    EXPECT_TRUE(std::any_of(names.begin(), names.end(), [](const OptionName& o) {
      return o.long_name == "--format" && o.short_name == "-o" && o.takes_value;
    })) << name;
  }
}

TEST(Usage, TheAddressIsTheNearestOneGiven) {
  std::istringstream in;
  std::ostringstream out, err;
  Console console{in, out, err};
  const auto endpoint = [&](std::map<std::string, std::string> environment, std::string address,
                            std::string dir) {
    const Surroundings surroundings{std::move(environment), "/", "/"};
    Session session(console, surroundings);
    session.set_options(std::move(address), std::move(dir));
    return session.endpoint();
  };
  std::map<std::string, std::string> environment = {{"HOME", "/home/u"}};
  EXPECT_EQ(endpoint(environment, "", ""), "ipc:///home/u/.local/state/seng/sengd.sock");
  environment["XDG_STATE_HOME"] = "/xdg";
  EXPECT_EQ(endpoint(environment, "", ""), "ipc:///xdg/seng/sengd.sock");
  environment["SENG_STATE_DIR"] = "/said";
  EXPECT_EQ(endpoint(environment, "", ""), "ipc:///said/sengd.sock");
  environment["SENG_ADDRESS"] = "tcp://localhost:1";
  EXPECT_EQ(endpoint(environment, "", ""), "tcp://localhost:1");
  EXPECT_EQ(endpoint(environment, "", "/dir"), "ipc:///dir/sengd.sock");
  EXPECT_EQ(endpoint(environment, "tcp://localhost:2", "/dir"), "tcp://localhost:2");
}

TEST(Usage, VersionAsAnOptionAsksTheDaemonThatIsNamed) {
  const CtlRun run = ctl({"--state-dir", "/nonexistent/x", "--version"});
  EXPECT_EQ(run.code, ExitCode::kOk);
  EXPECT_THAT(run.err, HasSubstr("ipc:///nonexistent/x/sengd.sock"));
  EXPECT_EQ(run.out, ctl({"version", "--state-dir", "/nonexistent/x"}).out);
}

TEST(Usage, GlobalOptionsMayStandBeforeTheCommand) {
  FakeDaemon daemon;
  daemon.on<ListRequest, ListReply>([](const ListRequest&) -> Result<ListReply> { return ListReply{}; });
  EXPECT_EQ(ctl({"--state-dir", daemon.dir(), "list"}).code, ExitCode::kOk);
  EXPECT_EQ(ctl({"--state-dir=" + daemon.dir(), "list", "-o", "json"}).code, ExitCode::kOk);
  EXPECT_EQ(ctl({"list", "-ojson", "--address", daemon.endpoint()}).code, ExitCode::kOk);
  const CtlRun format = ctl({"-o", "json", "--address", daemon.endpoint(), "list"});
  EXPECT_EQ(format.code, ExitCode::kOk) << format.err;
  EXPECT_EQ(nlohmann::json::parse(format.out), nlohmann::json::parse(R"({"jobs": []})"));
  EXPECT_EQ(ctl({"list"}, {.input = "", .environment = {{"SENG_ADDRESS", daemon.endpoint()}}}).code,
            ExitCode::kOk);
}

// What bash would offer for the words, the last of them being typed.
std::string completions(const std::string& words) {
  const TempDir dir;
  std::ofstream(dir.path() + "/script") << ctl({"completion", "bash"}).out;
  const std::string script = "source " + dir.path() +
                             "/script; _sengctl_jobs() { echo 3 fashion-lenet; }; COMP_WORDS=(" + words +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sengctl; echo ${COMPREPLY[@]}";
  const RunResult result = run({"bash", "-c", script});
  EXPECT_EQ(result.err, "");
  return result.out;
}

TEST(Completion, OffersCommandsOptionsAndValues) {
  std::string all;
  for (const Command& command : commands()) {
    if (!all.empty()) all += ' ';
    all += command.name;
  }
  EXPECT_EQ(completions("sengctl ''"), all + "\n");
  EXPECT_EQ(completions("sengctl wa"), "watch wait\n");
  EXPECT_EQ(completions("sengctl --state-dir /x li"), "list\n");
  EXPECT_EQ(completions("sengctl submit --fo"), "--follow --format\n");
  EXPECT_EQ(completions("sengctl list -o ''"), "table json yaml\n");
  EXPECT_EQ(completions("sengctl metrics 3 --series s"), "step\n");
  EXPECT_EQ(completions("sengctl list --state st"), "starting stopped\n");
  EXPECT_EQ(completions("sengctl delete 3 fash"), "fashion-lenet\n");
  EXPECT_EQ(completions("sengctl delete 3 --ch"), "--checkpoints\n");
  EXPECT_EQ(completions("sengctl logs 3 --tail ''"), "\n");
  EXPECT_EQ(completions("sengctl watch fash"), "fashion-lenet\n");
  EXPECT_EQ(completions("sengctl wait 3 --timeout ''"), "\n");
  EXPECT_EQ(completions("sengctl scale fash"), "fashion-lenet\n");
  EXPECT_EQ(completions("sengctl submit --resume fash"), "fashion-lenet\n");
  EXPECT_EQ(completions("sengctl submit --re"), "--resume\n");
  EXPECT_EQ(completions("sengctl help exp"), "export\n");
}

// A seng-actor of the test's own.
class Validate : public ::testing::Test {
 protected:
  void plan_with(const std::string& script) {
    const std::string path = dir_.path() + "/seng-actor";
    std::ofstream(path) << "#!/bin/sh\n" << script;
    chmod(path.c_str(), 0700);
  }
  CtlRun validate(std::vector<std::string> words, const std::string& extra = "") {
    words.insert(words.begin(), {"validate", "-"});
    return ctl(
        words,
        {.input =
             "model: lenet\ndata: mnist\nbatch: {global: 64, micro: 8}\nsteps: 5\noptimizer: seng\n" + extra,
         .environment = {},
         .working_directory = "/",
         .binary_directory = dir_.path()});
  }
  TempDir dir_;
};

TEST_F(Validate, PrintsTheSpecificationAndThePlan) {
  plan_with(R"([ "$1" = plan ] || exit 9
grep -q '  micro: 4' || exit 8
echo '{"ok":true,"parameters":421834,"steps_total":5,"memory_per_actor_bytes":1048576,"blocks":[{"name":"conv1","kind":"convolution","m":32,"n":9,"parameters":288,"representation":"explicit","curvature_bytes":294912}]}'
)");
  const CtlRun run = validate({"--set", "batch.micro=4"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  for (const char* part : {"  micro: 4\n", "parameters         421834\n", "memory per actor   1.0 MiB\n",
                           "conv1  convolution", "explicit", "288.0 KiB"}) {
    EXPECT_THAT(run.out, HasSubstr(part));
  }
  const auto json = nlohmann::json::parse(validate({"--set", "batch.micro=4", "-o", "json"}).out);
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["spec"]["batch"]["micro"], 4);
  EXPECT_EQ(json["plan"]["parameters"], 421834);
}

TEST_F(Validate, NotesWhatNeedsGpus) {
  plan_with("cat >/dev/null; echo '{\"ok\":true,\"blocks\":[]}'\n");
  EXPECT_EQ(validate({}).err, "");
  const CtlRun run = validate({"--set", "engine.precision=bf16", "--set", "exchange=nccl"});
  EXPECT_EQ(run.code, ExitCode::kOk);
  EXPECT_EQ(
      run.err,
      "note: engine.precision is bf16, which GPUs alone compute in: sengd refuses the job where none of "
      "its slots is a GPU's\n"
      "note: exchange.path is nccl, which GPUs alone have: sengd refuses the job where none of its slots "
      "is a GPU's; auto takes ZeroMQ there\n");
  const auto json = nlohmann::json::parse(validate({"--set", "engine.tune=true", "-o", "json"}).out);
  EXPECT_EQ(json["notes"].size(), 1u);
}

// A refusal's lines: each error has one place, before its first.
TEST_F(Validate, ErrorsBeginWithOnePlaceAndGoOnIndented) {
  plan_with(R"(cat >/dev/null
cat <<'END'
{"ok":false,"errors":["data: not found; looked in:\n    /x\n  name it as data.root","seed: 1 is odd"]}
END
exit 2
)");
  EXPECT_EQ(validate({"--set", "data.root=/x"}).err,
            "--set data.root=/x: data: not found; looked in:\n    /x\n  name it as data.root\n<stdin>: seed: "
            "1 is odd\n");
  EXPECT_EQ(nlohmann::json::parse(validate({"-o", "json"}).out)["errors"].size(), 2u);
}

TEST_F(Validate, RefusalsAreExitCode2) {
  plan_with(
      "cat >/dev/null; echo '{\"ok\":false,\"errors\":[\"model.name: unknown network \\\"lennet\\\"\"]}'; "
      "exit 2\n");
  const CtlRun plan = validate({});
  EXPECT_EQ(plan.code, ExitCode::kUsage);
  EXPECT_EQ(plan.err, "<stdin>:1:1: model.name: unknown network \"lennet\"\n");
  EXPECT_EQ(plan.out, "");
  const CtlRun json = validate({"-o", "json"}, "sed: 3\n");
  EXPECT_EQ(json.code, ExitCode::kUsage);
  EXPECT_EQ(nlohmann::json::parse(json.out)["errors"][0],
            "<stdin>:6:1: sed: unknown key; did you mean \"seed\"?");
}

TEST_F(Validate, ABrokenPlannerIsToldFromABrokenJob) {
  EXPECT_THAT(validate({}).err, HasSubstr("no seng-actor beside sengctl"));
  for (const char* script :
       {"exit 0\n", "echo words; exit 0\n", "echo '{}'\n", "echo some words >&2; exit 7\n", "kill -9 $$\n",
        "echo '{\"ok\":1}' ; exit 1\n"}) {
    plan_with(script);
    const CtlRun run = validate({});
    EXPECT_EQ(run.code, ExitCode::kFailed) << script << run.err;
    EXPECT_THAT(run.err, HasSubstr("seng-actor plan")) << script;
  }
}

}  // namespace
}  // namespace seng::testing
