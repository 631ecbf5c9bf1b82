// Checkpoints that are written beside training: what they hold, and what becomes of them when the membership
// ends.
#include "actors/group_checkpoint.h"

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/checkpoint/checkpoint.h"
#include "actors/exchange/placement.h"
#include "actors/exchange/zmq_exchange.h"
#include "tests/actors/checkpoint/faulty_storage.h"
#include "tests/support/process.h"

namespace seng::group_checkpoint_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kJob =
    "name: g\nmodel: {name: mlp, hidden: \"8\"}\n"
    "data: {name: synthetic, train: 64, test: 10, channels: 1, height: 5, width: 5, classes: 3}\n"
    "batch: {global: 16, micro: 4}\nsteps: 100\n"
    "optimizer: {name: seng, lr: 0.05, damping: 0.3, curvature: {every: 2, samples: 8}}\n"
    "checkpoint: {every_steps: 1, keep: 10}\n";

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// A member with a state, without training.
class Written {
 public:
  Written(const testing::TempDir& directory, ActorId self, int members, Storage& storage = posix_storage())
      : workload_(value_of(load_workload(value_of(parse_job_spec(kJob, "test"))))),
        state_(TrainState::initial(workload_)),
        checkpoints_(directory.path() + "/checkpoints") {
    ZmqExchangeOptions options;
    options.step.block_floats = block_floats(workload_.network.blocks());
    options.endpoint = endpoint(directory, self);
    options.token = "secret";
    exchange_ = value_of(ZmqExchange::open(std::move(options)));
    group_ = {.job = 1, .epoch = {1, 1}, .self = self, .micro_batches = 4};
    for (int i = 0; i < members; ++i)
      group_.members.push_back({static_cast<ActorId>(i), "n", endpoint(directory, static_cast<ActorId>(i)),
                                static_cast<std::uint32_t>(4 * i / members),
                                static_cast<std::uint32_t>(4 * (i + 1) / members)});
    group_.placement = place_blocks(workload_.network.blocks(), group_.members);
    for (std::uint32_t b = 0; b < workload_.network.blocks().size(); ++b)
      if (group_.placement.owner[b] == self) state_.curvature.emplace(b, empty_curvature(workload_, b));
    join({1, 1});
    group_checkpoint_ = std::make_unique<GroupCheckpoint>(workload_, *exchange_, checkpoints_, storage);
  }

  void join(GroupEpoch epoch) {
    group_.epoch = epoch;
    if (const Status joined = exchange_->join(group_); !joined)
      throw std::runtime_error(joined.error().message);
  }
  // The state becomes that of the step: every number of it another one.
  void change(std::uint64_t step) {
    state_.step = step;
    for (auto* values : {&state_.parameters, &state_.momentum, &state_.statistics})
      for (float& value : *values) value += static_cast<float>(step);
    for (auto& [block, curvature] : state_.curvature) {
      const Curvature::Room room = curvature.begin_version(step, 0.5);
      for (const auto half : {room.first, room.second})
        for (std::size_t at = 0; at < half.size(); at += sizeof(float)) {
          const auto value = static_cast<float>(step + block);
          std::memcpy(half.data() + at, &value, sizeof value);
        }
      if (const Status finished = curvature.finish_version(); !finished)
        throw std::runtime_error(finished.error().message);
    }
  }
  // As the driver at the end of every step, until something is there to report.
  GroupCheckpoint::Report advance() {
    while (true) {
      if (const auto report = group_checkpoint_->advance()) return *report;
      std::this_thread::yield();
    }
  }
  // What the report names is a whole checkpoint, with the numbers of that step.
  void expect(const CheckpointReport& report, std::uint64_t step, const TrainState& state) const {
    ASSERT_EQ(report.error, "");
    EXPECT_EQ(report.step, step);
    const auto read = read_checkpoint(report.path, workload_.network.blocks());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->manifest.step, step);
    EXPECT_EQ(read->manifest.state_sha256, report.state_sha256);
    EXPECT_EQ(read->parameters, state.parameters);
    EXPECT_EQ(read->momentum, state.momentum);
    ASSERT_EQ(read->curvature.size(), workload_.network.blocks().size());
    for (const CurvatureValues& each : read->curvature) {
      EXPECT_EQ(each.step, step);
      for (const float value : each.values) ASSERT_EQ(value, static_cast<float>(step + each.block));
    }
  }
  // A copy of what is not curvature.
  TrainState numbers() const {
    TrainState copy;
    copy.parameters = state_.parameters, copy.momentum = state_.momentum;
    return copy;
  }

  GroupCheckpoint& checkpoint() { return *group_checkpoint_; }
  bool begin(const GroupCheckpoint::Leave& leave = {}) {
    return group_checkpoint_->begin(state_, group_, leave);
  }
  Exchange& exchange() { return *exchange_; }

 private:
  static std::string endpoint(const testing::TempDir& directory, ActorId actor) {
    return "ipc://" + directory.path() + "/" + std::to_string(actor);
  }

  Workload workload_;
  TrainState state_;
  const std::string checkpoints_;
  std::unique_ptr<Exchange> exchange_;
  Group group_;
  std::unique_ptr<GroupCheckpoint> group_checkpoint_;
};

TEST(GroupCheckpoint, HoldsTheStateOfItsBeginningWhateverTrainingDoesThen) {
  const testing::TempDir directory;
  Written actor(directory, 0, 1);
  EXPECT_FALSE(actor.checkpoint().advance()) << "nothing is under way";
  EXPECT_FALSE(actor.checkpoint().finish().report);
  actor.change(1);
  const TrainState first = actor.numbers();
  actor.begin();
  actor.change(2);
  actor.expect(actor.advance(), 1, first);
  actor.begin();
  const TrainState second = actor.numbers();
  actor.change(3);
  const auto outcome = actor.checkpoint().finish();
  EXPECT_FALSE(outcome.interrupted);
  ASSERT_TRUE(outcome.report);
  actor.expect(*outcome.report, 2, second);
  EXPECT_FALSE(actor.checkpoint().advance()) << "it is told once";
}

TEST(GroupCheckpoint, TheLeaderWaitsForEverybodysPart) {
  const testing::TempDir directory;
  Written leader(directory, 0, 2), other(directory, 1, 2);
  leader.change(1), other.change(1);
  const TrainState numbers = leader.numbers();
  leader.begin();
  leader.checkpoint().wait_for_files();
  EXPECT_FALSE(leader.checkpoint().advance());
  other.begin();
  leader.change(2), other.change(2);
  EXPECT_FALSE(other.checkpoint().finish().report) << "the leader's affair";
  leader.expect(leader.advance(), 1, numbers);
}

TEST(GroupCheckpoint, OneThatIsNotWholeWhenTheMembershipEndsIsGivenUp) {
  const testing::TempDir directory;
  Written leader(directory, 0, 2), other(directory, 1, 2);
  EXPECT_EQ(leader.checkpoint().leave(), std::nullopt);
  leader.change(1), other.change(1);
  leader.begin();
  std::thread change([&] {
    while (leader.exchange().awaits() != std::vector<ActorId>{1}) std::this_thread::yield();
    leader.exchange().interrupt("another membership");
  });
  EXPECT_TRUE(leader.checkpoint().finish().interrupted);
  change.join();
  EXPECT_EQ(leader.checkpoint().leave(), 1u);
  EXPECT_FALSE(leader.checkpoint().advance());
  // The next membership writes the next one.
  leader.join({1, 2}), other.join({1, 2});
  leader.change(2), other.change(2);
  const TrainState numbers = leader.numbers();
  leader.begin(), other.begin();
  EXPECT_FALSE(other.checkpoint().finish().report);
  leader.expect(leader.advance(), 2, numbers);
}

// Nobody's part is missing: it becomes whole although the membership has ended.
TEST(GroupCheckpoint, OneThatIsBeingCommittedGoesOn) {
  const testing::TempDir directory;
  Written actor(directory, 0, 1);
  actor.change(1);
  const TrainState numbers = actor.numbers();
  actor.begin();
  actor.checkpoint().wait_for_files();
  const auto early = actor.checkpoint().advance();  // begins to commit
  EXPECT_EQ(actor.checkpoint().leave(), std::nullopt);
  actor.join({1, 2});
  const auto report = early ? *early : actor.advance();
  actor.expect(report, 1, numbers);
  EXPECT_EQ(report.epoch, (GroupEpoch{1, 1})) << "it counts, whoever leads the next one";
}

// A disk on which nothing goes on until it is let.
class HangingStorage : public FaultyStorage {
 public:
  Result<std::unique_ptr<OutputFile>> create(const std::string& path) override {
    std::unique_lock lock(mutex_);
    reached_ = true;
    reaches_.notify_all();
    goes_on_.wait(lock, [&] { return !hangs_; });
    lock.unlock();
    return FaultyStorage::create(path);
  }
  void wait_until_it_hangs() {
    std::unique_lock lock(mutex_);
    reaches_.wait(lock, [&] { return reached_; });
  }
  void go_on() {
    const std::lock_guard lock(mutex_);
    hangs_ = false;
    goes_on_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable goes_on_, reaches_;
  bool hangs_ = true, reached_ = false;
};

// Two whose files fail at once: the one that cleans up first does not take the other's directory away.
TEST(GroupCheckpoint, AFullDiskIsTheReasonWhoeverFailsFirst) {
  const testing::TempDir directory;
  HangingStorage disk;
  FaultyStorage full;
  disk.fail_at = full.fail_at = 2;  // behind the directory and the file's creation
  Written leader(directory, 0, 2, disk), other(directory, 1, 2, full);
  leader.change(1), other.change(1);
  leader.begin();
  disk.wait_until_it_hangs();  // its directory is there
  other.begin();
  other.checkpoint().wait_for_files();
  disk.go_on();
  EXPECT_FALSE(other.checkpoint().finish().report);
  EXPECT_THAT(leader.advance().error,
              AllOf(HasSubstr("actor 0: checkpoint: injected: no space left"), Not(HasSubstr("No such"))));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path() + "/checkpoints")) << "nothing stays of it";
}

TEST(GroupCheckpoint, NobodyWaitsForAHangingDiskWhoMustLeave) {
  const testing::TempDir directory;
  HangingStorage disk;
  Written actor(directory, 0, 1, disk);
  actor.change(1);
  ASSERT_TRUE(actor.begin());
  const auto leave = [] { return true; };
  EXPECT_TRUE(actor.checkpoint().finish(leave).interrupted);
  EXPECT_FALSE(actor.checkpoint().wait_for_files(leave));
  EXPECT_EQ(actor.checkpoint().leave(), 1u);
  actor.join({1, 2});
  actor.change(2);
  const TrainState numbers = actor.numbers();
  EXPECT_FALSE(actor.begin(leave)) << "one that hangs is enough";
  disk.go_on();
  ASSERT_TRUE(actor.begin());
  actor.expect(actor.advance(), 2, numbers);
}

}  // namespace
}  // namespace seng::group_checkpoint_test
