#include "actors/told_reports.h"

#include <utility>

namespace seng {
namespace {

// More than come in the second that the store waits.
constexpr std::size_t kMost = 16;

}  // namespace

void ToldReports::keep(Message report) {
  // Of a checkpoint that could not be written the next daemon must hear only where nothing came behind it:
  // the last one, which it has tried again.
  if (!reports_.empty()) {
    const auto checkpoint = parse_body<CheckpointReport>(reports_.back());
    if (checkpoint && !checkpoint->error.empty()) reports_.pop_back();
  }
  reports_.push_back(std::move(report));
  if (reports_.size() > kMost) reports_.pop_front();
}

}  // namespace seng
