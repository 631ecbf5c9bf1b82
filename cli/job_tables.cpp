#include "cli/job_tables.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/record_values.h"
#include "cli/text_format.h"

namespace seng {
namespace {

std::string progress_of(const JobRecord& job) {
  return job.steps_total == 0 ? "-" : fmt::format("{}/{}", job.step, job.steps_total);
}

std::string actors_of(const JobRecord& job) {
  const std::string limits = job.actors_min == job.actors_max
                                 ? std::to_string(job.actors_max)
                                 : fmt::format("{}-{}", job.actors_min, job.actors_max);
  return fmt::format("{} of {}", job.actors, limits);
}

}  // namespace

Table job_table(const std::vector<JobRecord>& jobs) {
  const bool restarts =
      std::any_of(jobs.begin(), jobs.end(), [](const JobRecord& job) { return job.restarts > 0; });
  std::vector<Column> columns = {{"ID", true},
                                 {"NAME", false, true},
                                 {"STATE"},
                                 {.title = "MODEL", .spare = 4},
                                 {.title = "OPTIMIZER", .spare = 7},
                                 {.title = "ACTORS", .spare = 2}};
  if (restarts) columns.push_back({.title = "RESTARTS", .right = true, .spare = 6});
  columns.insert(columns.end(), {{.title = "EPOCHS", .right = true, .spare = 5},
                                 {.title = "STEPS", .right = true},
                                 {.title = "LOSS", .right = true, .spare = 1},
                                 {.title = "TEST ACC", .right = true, .spare = 3},
                                 {.title = "IMAGES/S", .right = true, .spare = 8},
                                 {.title = "SUBMITTED", .spare = 9}});
  Table table(columns);
  for (const JobRecord& job : jobs) {
    std::vector<std::string> cells = {
        std::to_string(job.id), job.name,      std::string(job_state_name(job.state)), job.model,
        job.optimizer,          actors_of(job)};
    if (restarts) cells.push_back(job.restarts > 0 ? std::to_string(job.restarts) : "-");
    cells.insert(cells.end(),
                 {format_count(job.epochs), progress_of(job),
                  knows_training(job) ? format_loss(job.train_loss) : "-", format_percent(job.test_accuracy),
                  format_rate(job.images_per_second), format_time(job.submitted_at)});
    table.add(std::move(cells));
  }
  return table;
}

Table actor_table(const std::vector<ActorRecord>& actors) {
  Table table({{"ACTOR", true},
               {"STATE"},
               {"NODE", false, true},
               {"SLOT", true},
               {"PID", true},
               {"DEVICE"},
               {"MICRO-BATCHES"},
               {"STEP", true},
               {"MEMORY", true},
               {"SENT", true},
               {"FRAGMENTS", true},
               {"CURVATURE", true},
               {"EXIT", false, true}});
  for (const ActorRecord& a : actors) {
    table.add({std::to_string(a.actor), a.state, a.node, std::to_string(a.slot), std::to_string(a.pid),
               a.device, fmt::format("[{}, {})", a.first_micro, a.last_micro), std::to_string(a.step),
               format_bytes(a.memory_bytes), format_bytes(a.bytes_sent), format_bytes(a.fragment_bytes_sent),
               format_bytes(a.curvature_bytes), a.exit});
  }
  return table;
}

Table gpu_table(const std::vector<NodeRecord>& nodes) {
  Table table({{"NODE", false, true}, {"GPU"}, {"MODEL"}, {"MEMORY", true}, {"USED", true}, {"BUSY", true}});
  for (const NodeRecord& node : nodes) {
    for (const GpuRecord& gpu : node.gpus) {
      table.add({node.name, gpu.uuid, gpu.model, gpu.memory_bytes > 0 ? format_bytes(gpu.memory_bytes) : "-",
                 gpu.memory_bytes > 0 ? format_bytes(gpu.memory_used_bytes) : "-",
                 gpu.utilisation >= 0 ? fmt::format("{:.0f} %", 100 * gpu.utilisation) : "-"});
    }
  }
  return table;
}

Table slot_table(const std::vector<NodeRecord>& nodes) {
  Table table(
      {{"NODE", false, true}, {"STATE"}, {"SLOT", true}, {"DEVICE"}, {"THREADS", true}, {"ACTOR"}, {"GPU"}});
  for (const NodeRecord& node : nodes) {
    for (const SlotRecord& slot : node.slots) {
      table.add({node.name, node.state, std::to_string(slot.slot), slot.device, std::to_string(slot.threads),
                 slot.job == 0 ? "free" : actor_name(slot.job, slot.actor), slot.gpu});
    }
  }
  return table;
}

std::string event_line(const EventRecord& event, const Console& console) {
  const std::string_view severity = severity_name(event.severity);
  std::string words = fmt::format("{:<20}  ", one_line(event.kind));
  // Many texts say themselves of whom they are.
  const std::string actor = event.actor == kNoActor ? "" : fmt::format("actor {}", event.actor);
  if (!actor.empty() && !event.text.starts_with(actor + " ") && !event.text.starts_with(actor + ":"))
    words += actor + ": ";
  words += one_line(event.text);
  words.erase(words.find_last_not_of(' ') + 1);
  return fmt::format("{}  {}  {}\n", format_time(event.at),
                     colored(console, state_color(severity), fmt::format("{:<7}", severity)), words);
}

void print_checkpoint_notes(const std::vector<JobRecord>& jobs, Console& console) {
  console.out.flush();  // the table stands before
  for (const JobRecord& job : jobs)
    if (const std::string note = checkpoint_note(job); !note.empty())
      console.err << fmt::format("note: job {} ({}): {}\n", job.id, job.name, note);
}

void print_job(const JobRecord& job, Console& console) {
  const auto line = [&](const char* what, const std::string& value) {
    if (!value.empty()) console.out << fmt::format("{:<16} {}\n", what, value);
  };
  const auto count_of = [](const std::string& now, const std::string& total) { return now + " of " + total; };
  line("job", fmt::format("{} ({})", job.id, job.name));
  const std::string_view state = job_state_name(job.state);
  line("state", colored(console, state_color(state), state));
  line("reason", one_line(job.reason));
  line("model", job.model);
  line("optimizer", job.optimizer);
  line("actors", actors_of(job));
  if (job.restarts > 0) line("restarts", std::to_string(job.restarts));
  line("epochs", count_of(format_count(job.epochs), format_count(job.epochs_total)));
  line("steps", count_of(std::to_string(job.step), std::to_string(job.steps_total)));
  if (knows_training(job)) {
    line("train loss", format_loss(job.train_loss));
    line("train accuracy", format_percent(job.train_accuracy));
  }
  if (job.test_accuracy >= 0) {
    line("test loss", format_loss(job.test_loss));
    line("test accuracy", format_percent(job.test_accuracy));
  }
  if (has_diverged(job)) line("diverged", "its loss is not finite; the events say since which step");
  if (job.images_per_second > 0) line("images/s", format_rate(job.images_per_second));
  line("weights SHA-256", job.weights_sha256);
  line("state SHA-256", job.state_sha256);
  line("checkpoint", job.checkpoint);
  line("not written", one_line(job.checkpoint_error));
  line("submitted", format_time(job.submitted_at));
  if (job.started_at > 0) line("started", format_time(job.started_at));
  if (job.ended_at > 0) line("ended", format_time(job.ended_at));
}

}  // namespace seng
