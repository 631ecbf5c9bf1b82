#include "daemon/timeouts.h"

namespace seng {

std::vector<NamedTimeout> list_timeouts(const Timeouts& t) {
  return {
      {"lease", t.lease_s, "silence after which an actor is suspect; the others derive from it"},
      {"start", t.start_s(), "from an actor's start to its hello"},
      {"prepare", t.prepare_s(), "from an actor's hello to its data and network being loaded"},
      {"rejoin", t.rejoin_s(), "a silent actor, out of the group after a lease, is killed and replaced"},
      {"adopt", t.adopt_s(), "for the actors of the daemon before, to be heard by a new one"},
      {"transition", t.transition_s(), "for each phase of a change of membership"},
      {"warm_up_stall", t.warm_up_stall_s(),
       "a newcomer that catches up without progress is taken in as it is"},
      {"warm_up", t.warm_up_s(), "the same, though it makes progress"},
      {"max_back_off", t.max_back_off_s(), "between restarts of actors that die at once"},
      {"compute_floor", t.compute_floor_s(),
       "a computing actor without progress hangs; 20 times its mean micro-batch, if that is longer"},
      {"compute_unknown", t.compute_unknown_s(), "the same, before it has finished its first micro-batch"},
      {"save", t.save_s(), "an evaluating or saving actor without progress hangs"},
      {"standstill", t.standstill_s(), "all actors wait for one another: a connection is cut"},
      {"last_word", t.last_word_s(), "for the last message of an actor that has exited"},
      {"linger", t.linger_s(), "from an actor's last message to its exit"},
      {"terminate", t.terminate_s(), "from SIGTERM to SIGKILL"},
      {"stop_job", t.stop_job_s(), "for a job asked to stop: step in flight and checkpoint"},
      {"stop_daemon", t.stop_daemon_s(), "the same, when sengd itself is stopped"},
      {"admission", t.admission_s(), "for `seng-actor plan` at submit"},
      {"gather", t.gather_s(), "heartbeats wait for one another, where nothing else comes"},
      {"steer", t.steer_s(), "between two looks at a group of which only heartbeats come"},
      {"flush", t.flush_s(), "until metrics are in the store"},
      {"store_retry", t.store_retry_s(),
       "between attempts while the store, or a job's last checkpoint, cannot be written"},
      {"rebalance", t.rebalance_s(), "at least between changes of actors' shares by their measured speed"},
  };
}

}  // namespace seng
