#include "cli/progress.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "cli/record_values.h"
#include "cli/text_format.h"

namespace seng {
namespace {

constexpr std::size_t kLongestBar = 32, kShortestBar = 6;

double fraction_done(const JobRecord& job) {
  if (job.steps_total == 0) return 0;
  return std::min(1.0, static_cast<double>(job.step) / static_cast<double>(job.steps_total));
}

std::string bar(double fraction, std::size_t cells) {
  const auto full = static_cast<std::size_t>(std::floor(fraction * static_cast<double>(cells) + 1e-9));
  return fmt::format("[{}{}]", std::string(full, '#'), std::string(cells - full, '.'));
}

// `rank`: the highest goes first where the line is too narrow.
struct Part {
  std::string text;
  int rank;
  bool is_bar = false;
};

// `steady`: numbers are padded, so that a line that is redrawn stands still as they grow.
std::vector<Part> parts_of(const JobRecord& job, bool steady) {
  const auto padded = [&](const std::string& text, std::size_t width) {
    const std::size_t shown = display_width(text);
    return steady && shown < width ? std::string(width - shown, ' ') + text : text;
  };
  const double fraction = fraction_done(job);
  const std::string epochs_total = format_count(job.epochs_total),
                    steps_total = std::to_string(job.steps_total),
                    epochs = steady ? fmt::format("{:.2f}", job.epochs) : format_count(job.epochs);
  std::vector<Part> parts = {
      {one_line(job.name), 7},
      {padded(fmt::format("{:.0f} %", std::floor(100 * fraction)), 5), 6},
      {bar(fraction, kShortestBar), 4, true},
      {fmt::format("epoch {}/{}", epochs, epochs_total), 1},
      {fmt::format("step {}/{}", padded(std::to_string(job.step), steps_total.size()), steps_total), 2}};
  if (knows_training(job)) {
    parts.push_back({"loss " + padded(format_loss(job.train_loss), 6), 0});
    parts.push_back({"acc " + padded(format_percent(job.train_accuracy), 7), 5});
  }
  if (job.test_accuracy >= 0) parts.push_back({"test " + padded(format_percent(job.test_accuracy), 7), 8});
  if (job.images_per_second > 0)
    parts.push_back({padded(format_rate(job.images_per_second), 4) + " img/s", 3});
  if (const double left = seconds_left(job); left >= 0)
    parts.push_back({padded(format_duration(left), 5) + " left", 2});
  return parts;
}

std::string joined(const std::vector<Part>& parts) {
  std::string out;
  for (const Part& part : parts) out += (out.empty() ? "" : "  ") + part.text;
  return out;
}

}  // namespace

double seconds_left(const JobRecord& job) {
  if (job.images_per_second <= 0 || job.step == 0 || job.steps_total < job.step) return -1;
  const double batch = static_cast<double>(job.samples_seen) / static_cast<double>(job.step);
  return static_cast<double>(job.steps_total - job.step) * batch / job.images_per_second;
}

std::string progress_line(const JobRecord& job, std::size_t columns) {
  if (job.state != JobState::kRunning) {
    const std::string reason = job.reason.empty() ? "" : ": " + one_line(job.reason);
    const std::string text = fmt::format("{}  {}{}", one_line(job.name), job_state_name(job.state), reason);
    return columns == 0 ? text : cut_to(text, columns);
  }
  std::vector<Part> parts = parts_of(job, columns > 0);
  if (columns == 0) {
    std::erase_if(parts, [](const Part& part) { return part.is_bar; });
    return joined(parts);
  }
  while (parts.size() > 1 && display_width(joined(parts)) > columns) {
    parts.erase(std::max_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.rank < b.rank; }));
  }
  // The bar takes what is left.
  const std::size_t used = std::min(columns, display_width(joined(parts)));
  for (Part& part : parts) {
    if (part.is_bar)
      part.text = bar(fraction_done(job), std::min(kLongestBar, kShortestBar + columns - used));
  }
  return cut_to(joined(parts), columns);
}

std::string epoch_header() {
  return fmt::format("{:>7} {:>8} {:>11} {:>10} {:>10} {:>9} {:>9} {:>9}", "epoch", "step", "train loss",
                     "train acc", "test loss", "test acc", "seconds", "images/s");
}

std::string epoch_row(const EpochMetrics& epoch) {
  const bool tested = epoch.test_accuracy >= 0;
  return fmt::format("{:>7} {:>8} {:>11} {:>10} {:>10} {:>9} {:>9.1f} {:>9}\n", format_count(epoch.epoch),
                     epoch.step, format_loss(epoch.train_loss), format_percent(epoch.train_accuracy),
                     tested ? format_loss(epoch.test_loss) : "-", format_percent(epoch.test_accuracy),
                     epoch.seconds, format_rate(epoch.images_per_second));
}

void ProgressDisplay::update(const JobRecord& job, const std::vector<EpochMetrics>& epochs) {
  if (options_.epochs && epochs.size() > epochs_shown_) {
    erase();
    if (epochs_shown_ == 0) console_.out << colored(console_, Color::kBold, epoch_header()) << "\n";
    for (; epochs_shown_ < epochs.size(); ++epochs_shown_) console_.out << epoch_row(epochs[epochs_shown_]);
    console_.out.flush();
  }
  note_checkpoint(job);
  if (!options_.progress || is_terminal(job.state)) return;
  const double now = clock_.now();
  const bool changed = !any_ || job.state != last_state_ || job.reason != last_reason_;
  const double interval = console_.err_is_terminal ? options_.redraw_seconds : options_.line_seconds;
  const bool due = now - last_draw_ >= interval && (console_.err_is_terminal || job.step != last_step_);
  const bool erased = console_.err_is_terminal && any_ && !drawn_;
  if (!changed && !due && !erased) return;
  // While a job waits its line has the reason; beside one that trains it stands above.
  if (job.state == JobState::kRunning && !job.reason.empty() && job.reason != last_reason_)
    say("note: " + one_line(job.reason));
  any_ = true;
  last_draw_ = now;
  last_state_ = job.state;
  last_reason_ = job.reason;
  last_step_ = job.step;
  draw(job);
}

// As it begins and as it ends: each new attempt has other words.
void ProgressDisplay::note_checkpoint(const JobRecord& job) {
  if (is_terminal(job.state)) return;
  const std::string note = checkpoint_note(job);
  if (note.empty() != lacks_checkpoint_) return;
  lacks_checkpoint_ = !note.empty();
  const std::string whose = fmt::format("note: job {} ({}): ", job.id, one_line(job.name));
  if (note.empty()) return say(whose + "its checkpoints are written again");
  // The reason of a job that waits for its last one says the same, and is shown beside the progress.
  if (options_.progress && job.reason.find(job.checkpoint_error) != std::string::npos) return;
  say(whose + note);
}

void ProgressDisplay::draw(const JobRecord& job) {
  if (!console_.err_is_terminal) {
    console_.err << progress_line(job, 0) << "\n";
    return;
  }
  // The last column stays free: some terminals wrap when it is written.
  const auto columns = static_cast<std::size_t>(std::max(2, console_.width()) - 1);
  console_.err << "\r" << progress_line(job, columns) << "\033[K" << std::flush;
  drawn_ = true;
}

void ProgressDisplay::say(const std::string& text) {
  erase();
  console_.err << text << "\n";
}

void ProgressDisplay::erase() {
  if (drawn_) console_.err << "\r\033[K" << std::flush;
  drawn_ = false;
}

}  // namespace seng
