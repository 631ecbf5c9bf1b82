// sengd: puts the head, its servers and the machine together on one event loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/daemon_options.h"
#include "daemon/head_context.h"
#include "daemon/inventory.h"
#include "daemon/state_dir.h"
#include "protocol/base/error.h"

namespace seng {

class Daemon {
 public:
  // What the options amount to on this machine. kInvalidArgument, kIo: with the remedy.
  static Result<Daemon> plan(const DaemonOptions& options, const Inventory& inventory);

  Daemon(Daemon&&) noexcept;
  ~Daemon();

  // "key: value" lines of everything that was decided, for --print-config.
  std::string config() const;

  // Locks the state directory, opens log and store, binds the sockets. Blocks SIGTERM, SIGINT and SIGHUP, so
  // it must be called before any thread is made. When it returns requests are queued and will be answered.
  Status start();
  // Serves until SIGTERM or SIGINT, then stops cleanly. The error is the event loop's, or that the state
  // directory was taken away meanwhile.
  Status run();

 private:
  struct Parts;
  Daemon();
  void on_signal();
  void on_state_changed();
  void before_sleep();
  void arm_timer();
  void begin_stop(const std::string& why);
  Status open_parts();

  DaemonOptions options_;
  HeadOptions head_options_;
  StateDir state_dir_;
  std::unique_ptr<Parts> parts_;
  std::vector<std::string> warnings_;  // of plan(), when there was no log yet
};

}  // namespace seng
