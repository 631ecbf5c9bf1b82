// sengd: the daemon that owns a machine's jobs. See daemon.h.
#include <cstdio>
#include <exception>
#include <functional>
#include <string>

#include "daemon/daemon.h"
#include "daemon/daemon_options.h"
#include "daemon/detach.h"
#include "daemon/inventory.h"
#include "protocol/base/log.h"
#include "protocol/base/version.h"

namespace {

enum ExitCode { kOk = 0, kFailed = 1, kUsage = 2 };

void print_error(const std::string& text) {
  std::fprintf(stderr, "sengd: %s\n", text.c_str());
}

// `failed` gets the reason of a start that failed, `ready` is called when the daemon serves.
int serve(seng::Daemon& daemon, const std::function<void()>& ready,
          const std::function<void(const std::string&)>& failed) {
  try {
    if (auto started = daemon.start(); !started) {
      failed(started.error().message);
      return kFailed;
    }
    ready();
    if (auto ran = daemon.run(); !ran) {
      seng::log_error("{}", ran.error().message);
      return kFailed;
    }
    return kOk;
  } catch (const std::exception& error) {
    seng::log_error("sengd ends: {}", error.what());
    failed(error.what());
    return kFailed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using seng::DaemonOptions;
  if (!seng::fill_standard_streams()) return kFailed;
  const auto options = seng::parse_daemon_options(argc, argv);
  if (!options) {
    print_error(options.error().message);
    std::fputs("sengd --help lists the options.\n", stderr);
    return kUsage;
  }
  if (options->verb == DaemonOptions::Verb::kHelp) {
    std::fputs(seng::daemon_usage().c_str(), stdout);
    return kOk;
  }
  if (options->verb == DaemonOptions::Verb::kVersion) {
    std::printf("sengd %s\n", std::string(seng::seng_version()).c_str());
    return kOk;
  }
  auto daemon = seng::Daemon::plan(*options, seng::take_inventory());
  if (!daemon) {
    print_error(daemon.error().message);
    return kFailed;
  }
  if (options->verb == DaemonOptions::Verb::kPrintConfig) {
    std::fputs(daemon->config().c_str(), stdout);
    return kOk;
  }
  if (options->foreground)
    return serve(
        *daemon, [] {}, print_error);
  return seng::run_detached(
      [&](seng::Readiness& readiness) {
        return serve(
            *daemon, [&] { readiness.ready(); }, [&](const std::string& why) { readiness.failed(why); });
      },
      print_error);
}
