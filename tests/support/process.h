// Real processes for tests: run to the end with a time limit, or start and watch. Nothing here asserts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

namespace seng::testing {

struct RunResult {
  int exit_code = -1;  // -1: killed by a signal or timed out
  int signal = 0;
  bool timed_out = false;
  std::string out, err;
};

struct RunOptions {
  std::string input;                               // given to the program's standard input
  std::map<std::string, std::string> environment;  // added to this process's; an empty value removes
  int timeout_seconds = 60;                        // the program is killed after it
  std::string working_directory;
};

RunResult run(const std::vector<std::string>& command, const RunOptions& options = {});

// A directory under /tmp (socket paths must be short), removed with all its content at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Processes whose command line holds `text`, without this one.
std::vector<pid_t> processes_with(const std::string& text);

// Polls the kernel's word on it, without a fixed sleep deciding anything: true once `pid` is gone (or a
// zombie).
bool wait_until_gone(pid_t pid, int timeout_seconds);

}  // namespace seng::testing
