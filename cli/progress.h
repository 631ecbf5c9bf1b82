// A job's progress while it is followed: one line on `err` redrawn in place where that is a terminal, else
// lines now and then; on `out` a row per finished epoch.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/console.h"
#include "protocol/base/clock.h"
#include "protocol/messages/records.h"

namespace seng {

// "fashion-lenet  47 % [####....]  epoch 2.35/5  step 550/1172  loss 0.3412  ...", at most `columns` wide:
// the bar shrinks first, then the less important parts go. 0: no bar, everything else.
std::string progress_line(const JobRecord& job, std::size_t columns);
// Seconds to the end at the present speed; negative: not known.
double seconds_left(const JobRecord& job);

std::string epoch_header();  // without a line's end
std::string epoch_row(const EpochMetrics& epoch);

struct ProgressOptions {
  bool progress = true;         // the line on err
  bool epochs = true;           // the rows on out
  double redraw_seconds = 0.1;  // on a terminal, at least this between two drawings
  double line_seconds = 10;     // elsewhere, this between two lines of a state
};

class ProgressDisplay {
 public:
  // Both must outlive it.
  ProgressDisplay(Console& console, const Clock& clock, ProgressOptions options)
      : console_(console), clock_(clock), options_(options) {}
  ~ProgressDisplay() { erase(); }

  // That checkpoints cannot be written is said with and without progress. `epochs`: all so far; those shown
  // before are not shown again.
  void update(const JobRecord& job, const std::vector<EpochMetrics>& epochs);
  // A line of talk above the progress.
  void say(const std::string& text);
  // Takes the progress line away.
  void erase();

 private:
  void draw(const JobRecord& job);
  void note_checkpoint(const JobRecord& job);

  Console& console_;
  const Clock& clock_;
  const ProgressOptions options_;
  std::size_t epochs_shown_ = 0;
  bool drawn_ = false;  // a progress line stands on the terminal
  bool any_ = false;
  double last_draw_ = 0;
  JobState last_state_ = JobState::kQueued;
  std::string last_reason_;
  bool lacks_checkpoint_ = false;  // said so
  std::uint64_t last_step_ = 0;
};

}  // namespace seng
