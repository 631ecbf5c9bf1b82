#include "daemon/store.h"

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/store_schema.h"
#include "tests/support/process.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> open() {
    auto store = open_sqlite_store(path_);
    EXPECT_TRUE(store) << (store ? "" : store.error().message);
    return store ? *std::move(store) : nullptr;
  }
  Error open_error() {
    auto store = open_sqlite_store(path_);
    EXPECT_FALSE(store);
    return store ? Error{} : store.error();
  }
  void sql(const std::string& statement) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    ASSERT_EQ(sqlite3_exec(db, statement.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(db);
  }

  TempDir dir_;
  const std::string path_ = dir_.path() + "/seng.db";
};

JobRecord record_of(JobId id, const std::string& name) {
  JobRecord record;
  record.id = id;
  record.name = name;
  record.train_loss = 0.1 * static_cast<double>(id);
  record.epoch = {2, id};
  record.revision = 7;
  return record;
}

StepMetrics step_of(std::uint64_t step) {
  StepMetrics out;
  out.step = step;
  out.loss = 1.0 / static_cast<double>(step);
  return out;
}

TEST_F(StoreTest, EverythingComesBackAfterReopening) {
  {
    auto store = open();
    EXPECT_EQ(store->incarnation(), 1u);
    EXPECT_EQ(store->next_job_id(), 1u);
    ASSERT_TRUE(store->add_job({record_of(1, "one"), "spec: 1", "{\"plan\":1}"}));
    ASSERT_TRUE(store->add_job({record_of(2, "two"), std::string("zero\0inside", 11), ""}));
    EXPECT_EQ(store->next_job_id(), 3u);
    ASSERT_TRUE(
        store->put_epoch(1, {{1, 1}, 5.5, {{0, "n", "ipc://x", 0, 3, ""}, {1, "n", "ipc://y", 3, 8, ""}}}));
    TuningRecord tuning;
    tuning.choices = "H100; a = 1";
    tuning.chosen_ms = 2.5;
    ASSERT_TRUE(store->put_tuning(1, tuning));
    JobRecord changed = record_of(1, "one");
    changed.state = JobState::kRunning;
    changed.train_loss = NAN;
    store->put_record(changed);
    StoredActor actor;
    actor.record.actor = 1;
    actor.record.state = "training";
    actor.record.pid = 4321;
    actor.start_time_ticks = ~0ull >> 1;
    actor.token = "secret";
    store->put_actor(1, actor);
    EventRecord event;
    event.job = 1;
    event.at = 1.25;
    event.severity = Severity::kWarning;
    event.kind = "Odd";
    event.text = "what's \"this\"?";
    EXPECT_EQ(store->add_event(event).id, 1u);
    event.actor = 3;
    EXPECT_EQ(store->add_event(event).id, 2u);
    event.job = 2;
    EXPECT_EQ(store->add_event(event).id, 3u);
    store->add_steps(1, {step_of(1), step_of(2), step_of(3)});
    store->add_steps(1, {step_of(3), step_of(4)});
    EpochMetrics epoch;
    epoch.step = 4;
    epoch.test_accuracy = 0.5;
    store->add_epoch_metrics(1, epoch);
    store->add_checkpoint(1, {4, 9.5, "/c/4", "w", "s"});
    EXPECT_TRUE(store->dirty());
    ASSERT_TRUE(store->flush());
    EXPECT_FALSE(store->dirty());
  }
  auto store = open();
  EXPECT_EQ(store->incarnation(), 2u);
  EXPECT_EQ(store->next_job_id(), 3u);
  const auto jobs = store->jobs();
  ASSERT_TRUE(jobs);
  ASSERT_EQ(jobs->size(), 2u);
  EXPECT_EQ((*jobs)[0].state, JobState::kRunning);
  EXPECT_TRUE(std::isnan((*jobs)[0].train_loss));
  EXPECT_EQ((*jobs)[0].epoch, (GroupEpoch{2, 1}));
  EXPECT_EQ(store->job(2)->spec_yaml, std::string("zero\0inside", 11));
  EXPECT_EQ(store->job(1)->plan_json, "{\"plan\":1}");
  EXPECT_EQ(store->job(1)->tuning.choices, "H100; a = 1");
  EXPECT_EQ(store->job(1)->tuning.chosen_ms, 2.5);
  EXPECT_EQ(store->job(2)->tuning.choices, "");
  EXPECT_EQ(store->job(9).error().code, ErrorCode::kNotFound);
  const auto actors = store->actors(1);
  ASSERT_EQ(actors->size(), 1u);
  EXPECT_EQ((*actors)[0].token, "secret");
  EXPECT_EQ((*actors)[0].start_time_ticks, ~0ull >> 1);
  EXPECT_EQ((*actors)[0].record.pid, 4321);
  const auto epochs = store->epochs(1);
  ASSERT_EQ(epochs->size(), 1u);
  EXPECT_EQ((*epochs)[0].members[1].endpoint, "ipc://y");
  EXPECT_EQ(store->events(1, 0, 10)->size(), 2u);
  EXPECT_EQ(store->events(1, 1, 10)->size(), 1u);
  EXPECT_EQ(store->events(0, 0, 10)->size(), 3u);
  EXPECT_EQ(store->events(0, 0, 2)->size(), 2u);
  EXPECT_EQ((*store->events(1, 0, 10))[0].actor, kNoActor);
  EXPECT_EQ((*store->events(1, 0, 10))[1].actor, 3u);
  EXPECT_EQ((*store->events(1, 0, 10))[1].text, "what's \"this\"?");
  EXPECT_EQ((*store->newest_events(1, 1))[0].id, 2u);
  EXPECT_EQ(store->steps(1, 0, 100)->size(), 4u);
  EXPECT_EQ((*store->steps(1, 2, 1))[0].step, 3u);
  EXPECT_EQ((*store->epoch_metrics(1, 0))[0].test_accuracy, 0.5);
  EXPECT_EQ((*store->checkpoints(1))[0].path, "/c/4");
  EventRecord next;
  EXPECT_EQ(store->add_event(next).id, 4u);
}

TEST_F(StoreTest, DropsCheckpointsAfterAStep) {
  auto store = open();
  const auto steps = [&](JobId job) {
    std::vector<std::uint64_t> out;
    const auto found = store->checkpoints(job);
    for (const StoredCheckpoint& c : *found) out.push_back(c.step);
    return out;
  };
  for (const JobId job : {1u, 2u})
    for (const std::uint64_t step : {3u, 4u}) store->add_checkpoint(job, {step, 0, "/c", "w", "s"});
  ASSERT_TRUE(store->flush());
  for (const std::uint64_t step : {2u, 6u}) store->add_checkpoint(1, {step, 0, "/c", "w", "s"});
  store->drop_checkpoints_after(1, 2);
  EXPECT_TRUE(store->dirty());
  store->add_checkpoint(2, {6, 0, "/c", "w", "s"});
  store->drop_checkpoints_after(1, 3);
  store->add_checkpoint(1, {8, 0, "/c", "w", "s"});
  EXPECT_EQ(steps(1), (std::vector<std::uint64_t>{2, 8}));
  EXPECT_EQ(steps(2), (std::vector<std::uint64_t>{3, 4, 6}));
  EXPECT_FALSE(store->dirty());
}

TEST_F(StoreTest, AStepsRowStaysUntilItIsDropped) {
  auto store = open();
  const auto add = [&](JobId job, std::uint64_t step, double loss, double seconds = 1) {
    StepMetrics metrics = step_of(step);
    metrics.loss = loss;
    metrics.seconds = seconds;
    store->add_steps(job, {metrics});
  };
  const auto losses = [&](JobId job) {
    std::vector<double> out;
    const auto found = store->steps(job, 0, 100);
    for (const StepMetrics& step : *found) out.push_back(step.loss);
    return out;
  };
  for (const JobId job : {1u, 2u})
    for (const std::uint64_t step : {1u, 2u, 3u}) add(job, step, 0.5);
  add(1, 1, 7);
  ASSERT_TRUE(store->flush());
  add(1, 2, 7);
  add(1, 4, 0.5);
  store->drop_steps_after(1, 2);
  EXPECT_TRUE(store->dirty());
  add(1, 3, 8);
  store->drop_steps_after(1, 3);
  add(1, 4, 9);
  EXPECT_EQ(losses(1), (std::vector<double>{0.5, 0.5, 8, 9}));
  EXPECT_EQ(losses(2), (std::vector<double>{0.5, 0.5, 0.5}));
  EXPECT_FALSE(store->dirty());
  // By one that did not make it, and by one that did.
  add(2, 4, 6, 0);
  ASSERT_TRUE(store->flush());
  add(2, 4, 7, 1);
  add(2, 4, 8, 1);
  add(2, 4, 9, 0);
  EXPECT_EQ(losses(2).back(), 7);
}

TEST_F(StoreTest, ReadsSeeWhatIsQueued) {
  auto store = open();
  ASSERT_TRUE(store->add_job({record_of(1, "one"), "", ""}));
  store->add_steps(1, {step_of(1)});
  EXPECT_EQ(store->steps(1, 0, 10)->size(), 1u);
  EpochMetrics epoch;
  epoch.step = 1;
  store->add_epoch_metrics(1, epoch);
  EXPECT_EQ(store->epoch_metrics(1, 0)->size(), 1u);
  ASSERT_TRUE(store->flush());
  epoch.test_accuracy = 0.25;  // made again
  store->add_epoch_metrics(1, epoch);
  epoch.step = 2;
  store->add_epoch_metrics(2, epoch);
  store->add_epoch_metrics(1, epoch);
  const auto all = store->epoch_metrics(1, 0);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].test_accuracy, 0.25);
  const auto later = store->epoch_metrics(1, 1);
  ASSERT_EQ(later->size(), 1u);
  EXPECT_EQ((*later)[0].step, 2u);
}

TEST_F(StoreTest, NumbersAreNeverUsedAgain) {
  {
    auto store = open();
    ASSERT_TRUE(store->add_job({record_of(5, "five"), "", ""}));
  }
  sql("DELETE FROM jobs");
  EXPECT_EQ(open()->next_job_id(), 6u);
}

TEST_F(StoreTest, TheSameEpochTwiceIsRefused) {
  auto store = open();
  ASSERT_TRUE(store->put_epoch(1, {{1, 1}, 0, {}}));
  EXPECT_FALSE(store->put_epoch(1, {{1, 1}, 0, {}}));
  EXPECT_TRUE(store->put_epoch(1, {{1, 2}, 0, {}})) << "a refused one leaves no transaction open";
}

// As a sengd of the first schema has left it.
TEST_F(StoreTest, AnOlderSchemaIsMigrated) {
  sql(std::string(kMigrations[0]) + "PRAGMA application_id = " + std::to_string(kStoreApplicationId) +
      "; PRAGMA user_version = 1; INSERT INTO jobs VALUES (3, 'old', 'queued', x'82010302a36f6c64', 's', "
      "'p');");
  auto store = open();
  ASSERT_TRUE(store);
  const auto old = store->job(3);
  ASSERT_TRUE(old) << old.error().message;
  EXPECT_EQ(old->record.id, 3u);
  EXPECT_EQ(old->record.name, "old");
  EXPECT_EQ(old->spec_yaml, "s");
  EXPECT_EQ(old->tuning.choices, "");
  TuningRecord tuning;
  tuning.choices = "H100; a = 1";
  ASSERT_TRUE(store->put_tuning(3, tuning));
  store.reset();
  EXPECT_EQ(open()->job(3)->tuning.choices, "H100; a = 1");
}

TEST_F(StoreTest, ANewerSchemaIsRefused) {
  open();
  sql("PRAGMA user_version = " + std::to_string(kStoreSchema + 1));
  const Error error = open_error();
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("newer sengd"));
}

TEST_F(StoreTest, AnotherProgramsDatabaseIsRefused) {
  sql("CREATE TABLE recipes (name TEXT)");
  const Error error = open_error();
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr("other program"));
}

TEST_F(StoreTest, GarbageIsRefusedByNameWithARemedy) {
  std::ofstream(path_) << std::string(10000, 'x');
  const Error error = open_error();
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(path_));
  EXPECT_THAT(error.message, HasSubstr("Move it away"));
}

TEST_F(StoreTest, ADirectoryInItsPlaceIsAnError) {
  std::filesystem::create_directory(path_);
  EXPECT_THAT(open_error().message, HasSubstr(path_));
}

TEST_F(StoreTest, ARecordThatCannotBeReadIsNamed) {
  {
    auto store = open();
    ASSERT_TRUE(store->add_job({record_of(1, "one"), "", ""}));
  }
  sql("UPDATE jobs SET record = x'c1c1'");
  auto store = open();
  const auto jobs = store->jobs();
  ASSERT_FALSE(jobs);
  EXPECT_EQ(jobs.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(jobs.error().message, HasSubstr("jobs row 1"));
}

// Bytes of a good database are overwritten or cut off: opening and reading gives data or an error, never a
// crash.
TEST_F(StoreTest, DamagedFilesAreErrorsNotCrashes) {
  {
    auto store = open();
    for (JobId id = 1; id <= 20; ++id) {
      ASSERT_TRUE(store->add_job({record_of(id, "job"), std::string(500, 's'), std::string(500, 'p')}));
    }
    for (std::uint64_t s = 1; s <= 500; ++s) store->add_steps(1, {step_of(s)});
    ASSERT_TRUE(store->flush());
  }
  std::ifstream in(path_, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  ASSERT_GT(good.size(), 20000u);
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    std::string bad = good;
    if (round % 2 == 0) {
      bad.resize(random() % good.size());
    } else {
      for (int i = 0; i < 200; ++i) bad[random() % bad.size()] = static_cast<char>(random());
    }
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(path_ + suffix);
    std::ofstream(path_, std::ios::binary) << bad;
    auto store = open_sqlite_store(path_);
    bool failed = !store;
    if (store) {
      failed = !(*store)->jobs() || failed;
      for (JobId id = 1; id <= 20; ++id)
        failed = !(*store)->job(id) || !(*store)->steps(id, 0, 1000) || failed;
    }
    if (failed) ++refused;
  }
  EXPECT_GT(refused, 40);
}

// A limit on file sizes stands for a full disk.
TEST_F(StoreTest, AFullDiskIsAnErrorAndWhatWasQueuedIsWrittenLater) {
  signal(SIGXFSZ, SIG_IGN);
  auto store = open();
  ASSERT_TRUE(store->add_job({record_of(1, "one"), "", ""}));
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit tiny{200 << 10, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tiny);
  for (std::uint64_t s = 1; s <= 20000; ++s) store->add_steps(1, {step_of(s)});
  const Status flushed = store->flush();
  const Status added = store->add_job({record_of(2, "two"), std::string(900 << 10, 'x'), ""});
  setrlimit(RLIMIT_FSIZE, &old);
  EXPECT_FALSE(flushed);
  EXPECT_FALSE(added);
  EXPECT_TRUE(store->dirty());
  ASSERT_TRUE(store->flush());
  EXPECT_EQ(store->steps(1, 0, 30000)->size(), 20000u);
  EXPECT_EQ(store->jobs()->size(), 1u) << "the refused job left nothing behind";
}

TEST_F(StoreTest, TheFileIsPrivate) {
  umask(077);
  open();
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

}  // namespace
}  // namespace seng::testing
