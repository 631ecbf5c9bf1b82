// The daemon's directory and where everything lies in it. All of it is closed to other users.
//
//   STATE/sengd.lock  held by the running daemon, tells its pid
//   STATE/seng.db     the store
//   STATE/sengd.sock  for sengctl
//   STATE/logs/sengd.log
//   STATE/run/        sockets: actors.sock, and a<job>.<actor> of each actor
//   STATE/jobs/<id>/  logs/, checkpoints/
#pragma once

#include <string>

#include "protocol/base/error.h"
#include "protocol/base/unique_fd.h"

namespace seng {

// SENG_STATE_DIR, $XDG_STATE_HOME/seng, or ~/.local/state/seng.
Result<std::string> default_state_dir();

class StateDir {
 public:
  // The layout below `path`, made absolute. kInvalidArgument: a socket's path would be too long, with the
  // remedy. Where only those of the actors are, they go below $XDG_RUNTIME_DIR.
  static Result<StateDir> plan(const std::string& path);

  // Makes the directories and takes the lock. kExists: another daemon has it, and which.
  Status take(double wall_now);
  // A descriptor that can be read when the directory that was taken may have gone: somebody removed or
  // renamed it. Read it empty, then ask gone().
  Result<UniqueFd> watch() const;
  // The lock that this process holds is not the file at its path any more.
  bool gone() const;

  const std::string& path() const { return path_; }
  const std::string& run_dir() const { return run_dir_; }
  std::string control_socket() const { return path_ + "/sengd.sock"; }
  std::string actor_socket() const { return run_dir_ + "/actors.sock"; }
  std::string database() const { return path_ + "/seng.db"; }
  std::string log_file() const { return path_ + "/logs/sengd.log"; }
  std::string lock_file() const { return path_ + "/sengd.lock"; }

 private:
  std::string path_, run_dir_;
  UniqueFd lock_;
};

}  // namespace seng
