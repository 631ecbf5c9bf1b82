#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/store.h"
#include "daemon/store_schema.h"
#include "daemon/store_sqlite_database.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

// Metrics kept while the database cannot be written; then the oldest go.
constexpr std::size_t kMaxQueued = 200'000;
constexpr std::uintmax_t kCheckedAtOpen = 64
                                          << 20;  // bytes of a database that is checked page by page at start

class SqliteStore final : public Store {
 public:
  Status open(const std::string& path);

  std::uint64_t incarnation() const override { return incarnation_; }
  JobId next_job_id() const override { return next_job_; }

  Status add_job(const StoredJob& job) override;
  Status remove_job(JobId job) override;
  Status put_epoch(JobId job, const StoredEpoch& epoch) override;
  Status put_tuning(JobId job, const TuningRecord& tuning) override;
  void put_record(const JobRecord& record) override { queue_.records[record.id] = record; }
  void put_actor(JobId job, const StoredActor& actor) override {
    queue_.actors[{job, actor.record.actor}] = actor;
  }
  EventRecord add_event(EventRecord event) override;
  void add_steps(JobId job, const std::vector<StepMetrics>& steps) override;
  void add_epoch_metrics(JobId job, const EpochMetrics& m) override {
    queue_.epoch_metrics.emplace_back(job, m);
  }
  void add_checkpoint(JobId job, const StoredCheckpoint& c) override {
    queue_.checkpoints.emplace_back(job, c);
  }
  void drop_steps_after(JobId job, std::uint64_t step) override;
  void drop_checkpoints_after(JobId job, std::uint64_t step) override;
  bool dirty() const override;
  Status flush() override;

  Result<std::vector<JobRecord>> jobs() override;
  Result<StoredJob> job(JobId job) override;
  Result<std::vector<StoredActor>> actors(JobId job) override;
  Result<std::vector<StoredEpoch>> epochs(JobId job) override;
  Result<std::vector<EventRecord>> events(JobId job, std::uint64_t after_id, std::uint32_t limit) override;
  Result<std::vector<EventRecord>> newest_events(JobId job, std::uint32_t limit) override;
  Result<std::vector<StepMetrics>> steps(JobId job, std::uint64_t after_step, std::uint32_t limit) override;
  Result<std::vector<EpochMetrics>> epoch_metrics(JobId job, std::uint64_t after_step) override;
  Result<std::vector<StoredCheckpoint>> checkpoints(JobId job) override;

 private:
  struct Queue {
    std::map<JobId, JobRecord> records;  // only the newest matters
    std::map<std::pair<JobId, ActorId>, StoredActor> actors;
    std::deque<EventRecord> events;
    std::deque<std::pair<JobId, StepMetrics>> steps;
    std::deque<std::pair<JobId, EpochMetrics>> epoch_metrics;
    std::map<JobId, std::uint64_t> steps_dropped_after, dropped_after;  // before the next ones are added
    std::deque<std::pair<JobId, StoredCheckpoint>> checkpoints;
  };
  template <class Body>
  Status guarded(const char* doing, Body body);
  template <class T, class Body>
  Result<T> reading(const char* doing, Body body);
  template <class Body>
  Status transaction(const char* doing, Body body);
  Error explain(const SqliteError& error, const char* doing) const;
  void write_queue();
  void write_metrics();
  void write_steps();
  EventRecord event_of(const Statement& row) const;

  std::string path_;
  Database db_;
  std::uint64_t incarnation_ = 0;
  JobId next_job_ = 1;
  std::uint64_t next_event_ = 1;
  Queue queue_;
};

Error SqliteStore::explain(const SqliteError& error, const char* doing) const {
  const std::string said = fmt::format("cannot {} {}: {}", doing, path_, error.message);
  switch (error.kind) {
    case SqliteError::Kind::kDamaged:
      return {ErrorCode::kCorrupt, said +
                                       "; the file is damaged. Move it away to start with an empty store; "
                                       "the jobs' directories stay as they are"};
    case SqliteError::Kind::kFull:
      return {ErrorCode::kExhausted, said + "; free some space on its file system"};
    case SqliteError::Kind::kDenied:
      return {ErrorCode::kIo, said + "; the file and its directory must be writable by this user"};
    case SqliteError::Kind::kOther:
      break;
  }
  return {ErrorCode::kIo, said};
}

template <class Body>
Status SqliteStore::guarded(const char* doing, Body body) {
  try {
    body();
    return {};
  } catch (const SqliteError& error) {
    return fail(explain(error, doing));
  }
}

template <class T, class Body>
Result<T> SqliteStore::reading(const char* doing, Body body) {
  // Unwritten rows are not seen then, which is better than no answer.
  if (auto written = flush(); !written) log_debug("{}", written.error().message);
  T out;
  SENG_TRY(guarded(doing, [&] { body(out); }));
  return out;
}

template <class Body>
Status SqliteStore::transaction(const char* doing, Body body) {
  return guarded(doing, [&] { db_.transaction(body); });
}

Status SqliteStore::open(const std::string& path) {
  path_ = path;
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  const bool existed = !ignored && size > 0;
  Status prepared = guarded("open", [&] {
    db_.open(path);
    // With FULL a transaction that was committed survives a power cut as well. There is about one a second,
    // so it costs one sync a second; NORMAL could lose an epoch that remote members have already heard of.
    db_.run(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; "
        "PRAGMA cache_size = -512;");  // KiB: reads are rare and small
    if (!existed) return;
    Statement check(db_, size <= kCheckedAtOpen ? "PRAGMA quick_check(1)" : "SELECT 'ok'");
    check.step();
    if (const std::string said = check.text_at(0); said != "ok")
      throw SqliteError{SqliteError::Kind::kDamaged, said};
  });
  if (!prepared) return prepared;
  int schema = 0;
  SENG_TRY(guarded("open", [&] {
    Statement version(db_, "PRAGMA user_version"), application(db_, "PRAGMA application_id");
    version.step();
    application.step();
    schema = static_cast<int>(version.integer_at(0));
    Statement tables(db_, "SELECT count(*) FROM sqlite_master");
    tables.step();
    if (tables.integer_at(0) > 0 && application.integer_at(0) != kStoreApplicationId) {
      throw SqliteError{SqliteError::Kind::kDamaged, "it is some other program's database"};
    }
  }));
  if (schema > kStoreSchema) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{} was written by a newer sengd (schema {}; this one knows {}): start that one, or "
                    "choose another --state-dir",
                    path_, schema, kStoreSchema));
  }
  return transaction("prepare", [&] {
    for (int i = schema; i < kStoreSchema; ++i) db_.run(kMigrations[i]);
    db_.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kStoreApplicationId,
                        kStoreSchema));
    db_.run("UPDATE meta SET value = value + 1 WHERE key = 'incarnation'");
    Statement numbers(db_,
                      "SELECT (SELECT value FROM meta WHERE key = 'incarnation'), "
                      "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs'), "
                      "(SELECT coalesce(max(id), 0) FROM events)");
    numbers.step();
    incarnation_ = numbers.integer_at(0);
    next_job_ = numbers.integer_at(1) + 1;
    next_event_ = numbers.integer_at(2) + 1;
  });
}

Status SqliteStore::add_job(const StoredJob& job) {
  SENG_TRY(transaction("write", [&] {
    Statement(db_, "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)")
        .integer(job.record.id)
        .text(job.record.name)
        .text(job_state_name(job.record.state))
        .record(job.record)
        .text(job.spec_yaml)
        .text(job.plan_json)
        .record(job.tuning)
        .run();
  }));
  next_job_ = std::max(next_job_, job.record.id + 1);
  return {};
}

Status SqliteStore::remove_job(JobId job) {
  SENG_TRY(flush());  // what is queued of it would come behind its end
  return transaction("write", [&] {
    Statement(db_, "DELETE FROM jobs WHERE id = ?").integer(job).run();
    for (const char* table : {"epochs", "actors", "events", "steps", "epoch_metrics", "checkpoints"})
      Statement(db_, fmt::format("DELETE FROM {} WHERE job = ?", table).c_str()).integer(job).run();
  });
}

Status SqliteStore::put_epoch(JobId job, const StoredEpoch& epoch) {
  return transaction("write", [&] {
    Statement(db_, "INSERT INTO epochs VALUES (?, ?, ?, ?)")
        .integer(job)
        .integer(epoch.epoch.incarnation)
        .integer(epoch.epoch.counter)
        .record(epoch)
        .run();
  });
}

Status SqliteStore::put_tuning(JobId job, const TuningRecord& tuning) {
  return transaction("write", [&] {
    Statement(db_, "UPDATE jobs SET tuning = ? WHERE id = ?").record(tuning).integer(job).run();
  });
}

EventRecord SqliteStore::add_event(EventRecord event) {
  event.id = next_event_++;
  queue_.events.push_back(event);
  if (queue_.events.size() > kMaxQueued) queue_.events.pop_front();
  return event;
}

void SqliteStore::add_steps(JobId job, const std::vector<StepMetrics>& steps) {
  for (const StepMetrics& step : steps) queue_.steps.emplace_back(job, step);
  while (queue_.steps.size() > kMaxQueued) queue_.steps.pop_front();
}

void SqliteStore::drop_steps_after(JobId job, std::uint64_t step) {
  std::erase_if(queue_.steps,
                [&](const auto& queued) { return queued.first == job && queued.second.step > step; });
  auto& after = queue_.steps_dropped_after.try_emplace(job, step).first->second;
  after = std::min(after, step);
}

void SqliteStore::drop_checkpoints_after(JobId job, std::uint64_t step) {
  std::erase_if(queue_.checkpoints,
                [&](const auto& queued) { return queued.first == job && queued.second.step > step; });
  auto& after = queue_.dropped_after.try_emplace(job, step).first->second;
  after = std::min(after, step);
}

bool SqliteStore::dirty() const {
  return !queue_.records.empty() || !queue_.actors.empty() || !queue_.events.empty() ||
         !queue_.steps.empty() || !queue_.epoch_metrics.empty() || !queue_.steps_dropped_after.empty() ||
         !queue_.dropped_after.empty() || !queue_.checkpoints.empty();
}

void SqliteStore::write_steps() {
  Statement drop(db_, "DELETE FROM steps WHERE job = ? AND step > ?");
  for (const auto& [job, step] : queue_.steps_dropped_after) drop.integer(job).integer(step).run();
  Statement add(db_, "INSERT OR IGNORE INTO steps VALUES (?, ?, ?)");
  for (const auto& [job, metrics] : queue_.steps) {
    add.integer(job).integer(metrics.step).record(metrics).run();
    if (db_.changed() || metrics.seconds <= 0) continue;
    Statement there(db_, "SELECT record FROM steps WHERE job = ? AND step = ?");
    there.integer(job).integer(metrics.step);
    if (there.step() && there.record_at<StepMetrics>(0, "steps row").seconds > 0) continue;
    Statement(db_, "REPLACE INTO steps VALUES (?, ?, ?)")
        .integer(job)
        .integer(metrics.step)
        .record(metrics)
        .run();
  }
}

void SqliteStore::write_metrics() {
  write_steps();
  Statement epoch(db_, "INSERT OR REPLACE INTO epoch_metrics VALUES (?, ?, ?)");
  for (const auto& [job, metrics] : queue_.epoch_metrics) {
    epoch.integer(job).integer(metrics.step).record(metrics).run();
  }
  Statement drop(db_, "DELETE FROM checkpoints WHERE job = ? AND step > ?");
  for (const auto& [job, step] : queue_.dropped_after) drop.integer(job).integer(step).run();
  Statement checkpoint(db_, "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)");
  for (const auto& [job, c] : queue_.checkpoints) {
    checkpoint.integer(job)
        .integer(c.step)
        .real(c.at)
        .text(c.path)
        .text(c.weights_sha256)
        .text(c.state_sha256)
        .run();
  }
}

void SqliteStore::write_queue() {
  Statement job(db_, "UPDATE jobs SET state = ?, record = ? WHERE id = ?");
  for (const auto& [id, record] : queue_.records) {
    job.text(job_state_name(record.state)).record(record).integer(id).run();
  }
  Statement actor(db_, "INSERT OR REPLACE INTO actors VALUES (?, ?, ?, ?, ?, ?)");
  for (const auto& [key, a] : queue_.actors) {
    actor.integer(key.first).integer(key.second).integer(static_cast<std::uint64_t>(a.record.pid));
    actor.integer(a.start_time_ticks).text(a.token).record(a.record).run();
  }
  Statement event(db_, "INSERT INTO events VALUES (?, ?, ?, nullif(?, 4294967295), ?, ?, ?)");
  for (const EventRecord& e : queue_.events) {
    event.integer(e.id).real(e.at).integer(e.job).integer(e.actor).integer(static_cast<unsigned>(e.severity));
    event.text(e.kind).text(e.text).run();
  }
  write_metrics();
}

Status SqliteStore::flush() {
  if (!dirty()) return {};
  SENG_TRY(transaction("write", [&] { write_queue(); }));
  queue_ = {};
  return {};
}

Result<std::vector<JobRecord>> SqliteStore::jobs() {
  return reading<std::vector<JobRecord>>("read", [&](auto& out) {
    Statement rows(db_, "SELECT record, id FROM jobs ORDER BY id");
    while (rows.step())
      out.push_back(rows.record_at<JobRecord>(0, fmt::format("jobs row {}", rows.integer_at(1))));
  });
}

Result<StoredJob> SqliteStore::job(JobId job) {
  bool found = false;
  auto stored = reading<StoredJob>("read", [&](StoredJob& out) {
    Statement row(db_, "SELECT record, spec_yaml, plan_json, tuning FROM jobs WHERE id = ?");
    if (!row.integer(job).step()) return;
    found = true;
    out = {row.record_at<JobRecord>(0, fmt::format("jobs row {}", job)), row.text_at(1), row.text_at(2)};
    if (!row.text_at(3).empty()) out.tuning = row.record_at<TuningRecord>(3, fmt::format("jobs row {}", job));
  });
  if (stored && !found) return fail(ErrorCode::kNotFound, fmt::format("there is no job {}", job));
  return stored;
}

Result<std::vector<StoredActor>> SqliteStore::actors(JobId job) {
  return reading<std::vector<StoredActor>>("read", [&](auto& out) {
    Statement rows(db_, "SELECT record, start_time_ticks, token FROM actors WHERE job = ? ORDER BY actor");
    rows.integer(job);
    while (rows.step())
      out.push_back({rows.record_at<ActorRecord>(0, "actors row"), rows.integer_at(1), rows.text_at(2)});
  });
}

Result<std::vector<StoredEpoch>> SqliteStore::epochs(JobId job) {
  return reading<std::vector<StoredEpoch>>("read", [&](auto& out) {
    Statement rows(db_, "SELECT record FROM epochs WHERE job = ? ORDER BY incarnation, counter");
    rows.integer(job);
    while (rows.step()) out.push_back(rows.record_at<StoredEpoch>(0, "epochs row"));
  });
}

EventRecord SqliteStore::event_of(const Statement& row) const {
  EventRecord event;
  event.id = row.integer_at(0);
  event.at = row.real_at(1);
  event.job = row.integer_at(2);
  event.actor = static_cast<ActorId>(row.integer_at(3));
  event.severity = static_cast<Severity>(std::clamp<std::uint64_t>(row.integer_at(4), 1, 3));
  event.kind = row.text_at(5);
  event.text = row.text_at(6);
  return event;
}

Result<std::vector<EventRecord>> SqliteStore::events(JobId job, std::uint64_t after_id, std::uint32_t limit) {
  return reading<std::vector<EventRecord>>("read", [&](auto& out) {
    Statement rows(
        db_, job == 0 ? "SELECT id, at, job, ifnull(actor, 4294967295), severity, kind, text FROM events "
                        "WHERE ?1 = 0 AND id > ?2 ORDER BY id LIMIT ?3"
                      : "SELECT id, at, job, ifnull(actor, 4294967295), severity, kind, text FROM events "
                        "WHERE job = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    rows.integer(job).integer(after_id).integer(limit);
    while (rows.step()) out.push_back(event_of(rows));
  });
}

Result<std::vector<EventRecord>> SqliteStore::newest_events(JobId job, std::uint32_t limit) {
  auto out = reading<std::vector<EventRecord>>("read", [&](auto& found) {
    Statement rows(db_,
                   "SELECT id, at, job, ifnull(actor, 4294967295), severity, kind, text FROM events "
                   "WHERE job = ? ORDER BY id DESC LIMIT ?");
    rows.integer(job).integer(limit);
    while (rows.step()) found.push_back(event_of(rows));
  });
  if (out) std::reverse(out->begin(), out->end());
  return out;
}

Result<std::vector<StepMetrics>> SqliteStore::steps(JobId job, std::uint64_t after_step,
                                                    std::uint32_t limit) {
  return reading<std::vector<StepMetrics>>("read", [&](auto& out) {
    Statement rows(db_, "SELECT record FROM steps WHERE job = ? AND step > ? ORDER BY step LIMIT ?");
    rows.integer(job).integer(after_step).integer(limit);
    while (rows.step()) out.push_back(rows.record_at<StepMetrics>(0, "steps row"));
  });
}

Result<std::vector<EpochMetrics>> SqliteStore::epoch_metrics(JobId job, std::uint64_t after_step) {
  // Asked for with every change of a watched job: no transaction for that.
  std::map<std::uint64_t, EpochMetrics> found;
  SENG_TRY(guarded("read", [&] {
    Statement rows(db_, "SELECT record FROM epoch_metrics WHERE job = ? AND step > ? ORDER BY step");
    rows.integer(job).integer(after_step);
    while (rows.step()) {
      auto metrics = rows.record_at<EpochMetrics>(0, "epoch_metrics row");
      found[metrics.step] = metrics;
    }
  }));
  for (const auto& [queued_for, metrics] : queue_.epoch_metrics) {
    if (queued_for == job && metrics.step > after_step) found[metrics.step] = metrics;
  }
  std::vector<EpochMetrics> out;
  for (auto& [step, metrics] : found) out.push_back(metrics);
  return out;
}

Result<std::vector<StoredCheckpoint>> SqliteStore::checkpoints(JobId job) {
  return reading<std::vector<StoredCheckpoint>>("read", [&](auto& out) {
    Statement rows(db_,
                   "SELECT step, at, path, weights_sha256, state_sha256 FROM checkpoints WHERE job = ? "
                   "ORDER BY step");
    rows.integer(job);
    while (rows.step())
      out.push_back({rows.integer_at(0), rows.real_at(1), rows.text_at(2), rows.text_at(3), rows.text_at(4)});
  });
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::string& path) {
  auto store = std::make_unique<SqliteStore>();
  SENG_TRY(store->open(path));
  return store;
}

}  // namespace seng
