#include "daemon/recovery.h"

#include "daemon/actor_lifecycle.h"

namespace seng {

std::string place_now(const std::string& stored, const std::string& job_dir) {
  // "/jobs/7/", the part that both have.
  const std::size_t jobs = job_dir.rfind('/', job_dir.rfind('/') - 1);
  const std::string tail = job_dir.substr(jobs) + "/";
  const std::size_t at = stored.rfind(tail);
  return at == std::string::npos ? stored : job_dir + "/" + stored.substr(at + tail.size());
}

Recovery recover_job(const JobRecord& record, const std::vector<StoredActor>& actors, bool had_membership) {
  Recovery out;
  const bool ran = record.state == JobState::kStarting || record.state == JobState::kRunning;
  if (ran && had_membership) {
    out.verdict = Recovery::Verdict::kAdopt;
    return out;
  }
  if (!is_terminal(record.state)) out.verdict = Recovery::Verdict::kQueue;
  for (const StoredActor& a : actors) {
    const bool exited = a.record.state == actor_state_name(ActorState::kExited);
    if (!exited && a.record.pid > 0) {
      out.leftovers.push_back({static_cast<pid_t>(a.record.pid), a.start_time_ticks});
    }
  }
  return out;
}

}  // namespace seng
