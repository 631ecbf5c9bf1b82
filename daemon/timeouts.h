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
  double prepare_s() const { return 300 * lease_s; }    // from hello to prepared: loading a data set
  double last_word_s() const { return 0.5 * lease_s; }  // for bytes in the socket of an actor that has exited
  double linger_s() const { return 10 * lease_s; }      // from Finished to exit
  double terminate_s() const { return 5 * lease_s; }    // from SIGTERM to SIGKILL
  double rejoin_s() const { return 10 * lease_s; }  // a silent actor may be heard again; then it is killed
  double adopt_s() const { return 2 * lease_s; }    // for the actors of a daemon before to say hello
  double transition_s() const {
    return 120 * lease_s;
  }  // for each phase of a transition that waits on nobody's step
  // A newcomer that catches up while the group trains is taken in as it is: without progress, or at the
  // latest.
  double warm_up_stall_s() const { return 20 * lease_s; }
  double warm_up_s() const { return 120 * lease_s; }
  double max_back_off_s() const { return 60 * lease_s; }  // between restarts of actors that die at once
  double compute_floor_s() const {
    return 2 * lease_s;
  }  // a computing actor's counter stands still: at least
  double compute_unknown_s() const { return 60 * lease_s; }  // likewise, before its speed is known
  double save_s() const { return 60 * lease_s; }       // an evaluating or saving actor's counter stands still
  double standstill_s() const { return 3 * lease_s; }  // all wait for each other
  // For a job that was asked to stop: its step in flight and a checkpoint.
  double stop_job_s() const { return 120 * lease_s; }
  // The same when the daemon itself is stopping: somebody waits for it.
  double stop_daemon_s() const { return 30 * lease_s; }
  double admission_s() const { return 60 * lease_s; }  // for `seng-actor plan`, which may load a data set
  // Heartbeats are read together, where nothing else happens.
  double gather_s() const { return 0.05 * lease_s; }
  // Between two looks at a group that only says it is alive.
  double steer_s() const { return 0.05 * lease_s; }
  double flush_s() const { return 1 * lease_s; }  // metrics wait at most this long for their transaction
  double store_retry_s() const { return 5 * lease_s; }  // after a failed transaction or last checkpoint
  double rebalance_s() const { return 20 * lease_s; }   // between changes of ranges by speed
};

struct NamedTimeout {
  std::string name;
  double seconds = 0;
  std::string meaning;
};
std::vector<NamedTimeout> list_timeouts(const Timeouts& timeouts);

}  // namespace seng
