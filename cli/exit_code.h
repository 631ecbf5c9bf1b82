// What sengctl's exit codes mean. README.md documents them; they never change their meaning.
#pragma once

namespace seng {

enum class ExitCode : int {
  kOk = 0,
  kJobFailed = 1,
  kUsage = 2,     // a wrong command line, or a job that is refused
  kNoDaemon = 3,  // no sengd answers
  kNoSuchJob = 4,
  kJobStopped = 5,     // the job that was waited for ended as stopped
  kFailed = 6,         // anything else: a file that cannot be written, an error inside sengd
  kNotReached = 7,     // the job that was waited for succeeded before the step that was named
  kTimeout = 124,      // as timeout(1)
  kInterrupted = 130,  // Ctrl-C
};

}  // namespace seng
