// Head: what users and actors ask, without changing anything.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "daemon/head.h"
#include "daemon/recovery.h"
#include "protocol/base/text.h"

namespace seng {

std::vector<JobRecord> Head::jobs() const {
  std::map<JobId, JobRecord> all = over_;
  for (const auto& [id, run] : runs_) all[id] = run->record();
  std::vector<JobRecord> out;
  for (auto& [id, record] : all) out.push_back(std::move(record));
  return out;
}

Result<JobRecord> Head::find(const std::string& job) const {
  if (job.empty()) return fail(ErrorCode::kInvalidArgument, "no job is named");
  JobId number = 0;
  const auto parsed = std::from_chars(job.data(), job.data() + job.size(), number);
  if (parsed.ec == std::errc() && parsed.ptr == job.data() + job.size()) {
    if (const auto run = runs_.find(number); run != runs_.end()) return run->second->record();
    if (const auto record = over_.find(number); record != over_.end()) return record->second;
    return fail(ErrorCode::kNotFound, fmt::format("there is no job {}", number));
  }
  // The newest of that name.
  const JobRecord* found = nullptr;
  std::vector<std::string> names;
  const auto look = [&](const JobRecord& record) {
    names.push_back(record.name);
    if (record.name == job && (found == nullptr || record.id > found->id)) found = &record;
  };
  for (const auto& [id, run] : runs_) look(run->record());
  for (const auto& [id, record] : over_) look(record);
  if (found != nullptr) return *found;
  return fail(ErrorCode::kNotFound,
              fmt::format("there is no job named \"{}\"{}", job.substr(0, 200), did_you_mean(job, names)));
}

Result<std::vector<ActorRecord>> Head::actors(JobId job) const {
  if (const auto run = runs_.find(job); run != runs_.end()) return run->second->actors();
  const auto stored = ports_.store.actors(job);
  if (!stored) return fail(stored.error());
  std::vector<ActorRecord> out;
  for (const StoredActor& a : *stored) {
    out.push_back(a.record);
    out.back().log_path = place_now(a.record.log_path, job_dir(options_, job));
  }
  return out;
}

Result<DescribeReply> Head::describe(const std::string& job) const {
  DescribeReply reply;
  const auto record = find(job);
  if (!record) return fail(record.error());
  const auto stored = ports_.store.job(record->id);
  if (!stored) return fail(stored.error());
  auto all = actors(record->id);
  if (!all) return fail(std::move(all).error());
  auto events = ports_.store.newest_events(record->id, 20);
  if (!events) return fail(std::move(events).error());
  reply.job = *record;
  if (const auto run = runs_.find(record->id); run != runs_.end() && reply.job.reason.empty())
    reply.job.reason = run->second->shortfall();
  reply.spec_yaml = stored->spec_yaml;
  reply.plan_json = stored->plan_json;
  reply.tuning = stored->tuning;
  reply.actors = *std::move(all);
  reply.events = *std::move(events);
  return reply;
}

NodeRecord Head::node() const {
  NodeRecord node;
  node.name = options_.node;
  node.state = stopping_ ? "stopping" : "up";
  node.cores = options_.cores;
  node.memory_bytes = options_.memory_bytes;
  node.cpu_model = options_.cpu_model;
  for (std::uint32_t slot = 0; slot < options_.slots; ++slot) {
    const SlotDevice device = device_of(options_, slot);
    node.slots.push_back({slot, device.device, options_.threads_per_slot, 0, kNoActor, device.gpu});
  }
  if (options_.read_gpus) node.gpus = options_.read_gpus();
  for (const auto& [id, run] : runs_) {
    for (const SlotUse& use : run->slots()) {
      if (use.slot >= node.slots.size()) continue;  // adopted from a daemon with more slots
      node.slots.at(use.slot).job = id;
      node.slots.at(use.slot).actor = run->actor_on(use.slot);
    }
  }
  return node;
}

Result<Welcome> Head::hello(JobId job, ActorId actor, const ActorHello& hello) {
  JobRun* run = running(job);
  if (run == nullptr) return fail(ErrorCode::kNotFound, fmt::format("no job {} runs here", job));
  return run->on_hello(actor, hello);
}

void Head::welcomed(JobId job) {
  if (JobRun* run = running(job)) run->welcomed();
}

bool Head::knows(JobId job, ActorId actor) const {
  const auto run = runs_.find(job);
  return run != runs_.end() && !is_terminal(run->second->record().state) && run->second->knows(actor);
}

void Head::on_message(JobId job, ActorId actor, const Message& message) {
  if (JobRun* run = running(job)) run->on_message(actor, message);
}

}  // namespace seng
