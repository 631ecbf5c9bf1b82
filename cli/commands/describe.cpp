#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_tables.h"
#include "cli/plan_report.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"
#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

// As validate and submit gave them; a daemon of another version may have jobs that this program cannot read.
std::vector<std::string> notes_of(const DescribeReply& reply) {
  const auto spec = parse_job_spec(reply.spec_yaml, "job");
  return spec ? notes_on(*spec) : std::vector<std::string>{};
}

void print_tuning(const TuningRecord& tuning, Console& console) {
  console.out << fmt::format("\ntuning\n{} for {}, ", counted(tuning.count, "choice"),
                             one_line(tuning.device));
  if (tuning.actor == kNoActor) {
    console.out << "that came with the specification or a checkpoint\n";
    return;
  }
  console.out << fmt::format(
      "measured by actor {} at {}\na micro-batch's convolutions: {:.3f} ms, by the library's own expectation "
      "{:.3f} ms\n",
      tuning.actor, format_time(tuning.at), tuning.chosen_ms, tuning.expected_ms);
}

void print_description(const DescribeReply& reply, Console& console) {
  print_job(reply.job, console);
  for (const std::string& note : notes_of(reply)) console.out << fmt::format("{:<16} {}\n", "note", note);
  const auto plan = parsed_value(reply.plan_json);
  if (plan.is_object()) {
    console.out << "\nplan\n";
    print_plan_summary(plan, console);
  }
  if (!reply.tuning.choices.empty()) print_tuning(reply.tuning, console);
  if (!reply.actors.empty()) {
    console.out << "\nactors\n";
    actor_table(reply.actors).print(console);
    for (const ActorRecord& actor : reply.actors)
      console.out << fmt::format("log of {}: {}\n", actor.actor, actor.log_path);
  }
  if (!reply.events.empty()) {
    console.out << "\nevents\n";
    for (const EventRecord& event : reply.events) console.out << event_line(event, console);
  }
  if (plan.is_object() && plan.contains("blocks")) {
    console.out << "\nblocks\n";
    print_plan_blocks(plan, console);
  }
  console.out << "\nspecification\n" << reply.spec_yaml;
  if (!reply.spec_yaml.ends_with('\n')) console.out << "\n";
}

}  // namespace

ExitCode run_describe(const Arguments& arguments, Session& session) {
  const auto reply = session.client().ask<DescribeReply>(DescribeRequest{arguments.operand(0)});
  if (!reply) return session.fail(reply.error());
  if (arguments.format() == OutputFormat::kTable) {
    print_description(*reply, session.console());
    return ExitCode::kOk;
  }
  auto actors = nlohmann::ordered_json::array(), events = actors;
  for (const ActorRecord& actor : reply->actors) actors.push_back(actor_value(actor));
  for (const EventRecord& event : reply->events) events.push_back(event_value(event));
  print_value(session.console(), arguments.format(),
              {{"job", job_value(reply->job)},
               {"spec", spec_value(reply->spec_yaml)},
               {"notes", notes_of(*reply)},
               {"plan", parsed_value(reply->plan_json)},
               {"tuning", tuning_value(reply->tuning)},
               {"actors", std::move(actors)},
               {"events", std::move(events)}});
  return ExitCode::kOk;
}

}  // namespace seng
