#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/job_tables.h"
#include "cli/record_values.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kPage = 1000;
constexpr int kEventPollMs = 300;

// All events after `after`, which moves on.
Answer<std::vector<EventRecord>> events_after(Session& session, const std::string& job,
                                              std::uint64_t& after) {
  std::vector<EventRecord> all;
  while (true) {
    EventsRequest request;
    request.job = job;
    request.after_id = after;
    request.limit = kPage;
    auto reply = session.client().ask<EventsReply>(request);
    if (!reply) return tl::unexpected(std::move(reply).error());
    const std::uint64_t before = after;
    for (EventRecord& event : reply->events) {
      if (event.id <= after) continue;
      after = event.id;
      all.push_back(std::move(event));
    }
    if (after == before) return all;  // a page may be shorter than asked for and not the last
  }
}

void print_events(Session& session, OutputFormat format, const std::vector<EventRecord>& events) {
  Console& console = session.console();
  for (const EventRecord& event : events) {
    if (format == OutputFormat::kTable) {
      console.out << event_line(event, console);
    } else if (format == OutputFormat::kYaml) {
      console.out << "---\n" << yaml_text(event_value(event));
    } else {
      console.out << event_value(event).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    }
  }
  console.out.flush();
}

ExitCode follow_events(const Arguments& arguments, Session& session) {
  const Interrupt interrupt;
  std::string job = arguments.operand(0);
  std::uint64_t after = 0;
  bool seen = false;
  while (true) {
    // The state first: what happens between the two questions is then not missed.
    WatchRequest request;
    request.job = job;
    const auto state = session.client().ask<WatchReply>(request);
    const bool ended = state && is_terminal(state->job.state);
    if (state) job = std::to_string(state->job.id);  // the name may come to mean a newer job
    const auto events = state ? events_after(session, job, after) : tl::unexpected(state.error());
    if (events) {
      print_events(session, arguments.format(), *events);
    } else if (!(seen && events.error().gone())) {
      return session.fail(events.error());
    }
    seen = true;
    if ((ended && events) || !session.console().out) return ExitCode::kOk;
    if (interrupt.wait(kEventPollMs)) {
      session.console().err << fmt::format("detached; come back with\n  {}\n", session.again());
      return ExitCode::kInterrupted;
    }
  }
}

}  // namespace

ExitCode run_events(const Arguments& arguments, Session& session) {
  if (arguments.has("follow")) return follow_events(arguments, session);
  std::uint64_t after = 0;
  const auto events = events_after(session, arguments.operand(0), after);
  if (!events) return session.fail(events.error());
  if (arguments.format() == OutputFormat::kTable) {
    print_events(session, OutputFormat::kTable, *events);
    return ExitCode::kOk;
  }
  Json list = Json::array();
  for (const EventRecord& event : *events) list.push_back(event_value(event));
  print_value(session.console(), arguments.format(), {{"events", std::move(list)}});
  return ExitCode::kOk;
}

}  // namespace seng
