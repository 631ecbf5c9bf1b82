#include "daemon/recovery.h"

#include "daemon/actor_lifecycle.h"

namespace seng {

Recovery recover_job(const JobRecord& record, const std::vector<StoredActor>& actors) {
  Recovery out;
  for (const StoredActor& a : actors) {
    const bool exited = a.record.state == actor_state_name(ActorState::kExited);
    if (!exited && a.record.pid > 0) {
      out.leftovers.push_back({static_cast<pid_t>(a.record.pid), a.start_time_ticks});
    }
  }
  if (record.state == JobState::kQueued) {
    out.verdict = Recovery::Verdict::kQueue;
  } else if (!is_terminal(record.state)) {
    out.verdict = Recovery::Verdict::kAbandon;
    out.reason = "the daemon stopped while it ran; ";
    out.reason +=
        record.checkpoint.empty() ? "it has no checkpoint" : "its newest checkpoint is " + record.checkpoint;
  }
  return out;
}

}  // namespace seng
