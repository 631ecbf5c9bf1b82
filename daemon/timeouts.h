// Every time limit of the daemon. All derive from one number, the lease, so that nobody has to nest them by
// hand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seng {

struct Timeouts {
  // An actor that has said nothing for this long is suspect. Actors report at least twice per lease.
  double lease_s = 1.0;

  double start_s() const { return 60 * lease_s; }  // from fork to hello: loading libraries on a busy machine
  double last_word_s() const { return 0.5 * lease_s; }  // for bytes in the socket of an actor that has exited
  double linger_s() const { return 10 * lease_s; }      // from Finished to exit
  double terminate_s() const { return 5 * lease_s; }    // from SIGTERM to SIGKILL
  // For a job that was asked to stop: its step in flight and a checkpoint.
  double stop_job_s() const { return 120 * lease_s; }
  // The same when the daemon itself is stopping: somebody waits for it.
  double stop_daemon_s() const { return 30 * lease_s; }
  double admission_s() const { return 60 * lease_s; }  // for `seng-actor plan`, which may load a data set
  double flush_s() const { return 1 * lease_s; }       // metrics wait at most this long for their transaction
  double store_retry_s() const { return 5 * lease_s; }  // after a failed transaction
};

struct NamedTimeout {
  std::string name;
  double seconds = 0;
  std::string meaning;
};
std::vector<NamedTimeout> list_timeouts(const Timeouts& timeouts);

}  // namespace seng
