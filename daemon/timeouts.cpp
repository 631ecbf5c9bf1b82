#include "daemon/timeouts.h"

namespace seng {

std::vector<NamedTimeout> list_timeouts(const Timeouts& t) {
  return {
      {"lease", t.lease_s, "silence after which an actor is suspect; the others derive from it"},
      {"start", t.start_s(), "from an actor's start to its hello"},
      {"last_word", t.last_word_s(), "for the last message of an actor that has exited"},
      {"linger", t.linger_s(), "from an actor's last message to its exit"},
      {"terminate", t.terminate_s(), "from SIGTERM to SIGKILL"},
      {"stop_job", t.stop_job_s(), "for a job asked to stop: step in flight and checkpoint"},
      {"stop_daemon", t.stop_daemon_s(), "the same, when sengd itself is stopped"},
      {"admission", t.admission_s(), "for `seng-actor plan` at submit"},
      {"flush", t.flush_s(), "until metrics are in the store"},
      {"store_retry", t.store_retry_s(), "between attempts while the store cannot be written"},
  };
}

}  // namespace seng
