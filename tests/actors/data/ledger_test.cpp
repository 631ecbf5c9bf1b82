#include "actors/data/ledger.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <random>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/data/sample_stream.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

LedgerRow use(GroupEpoch group_epoch, std::uint64_t step, std::uint64_t epoch, std::uint32_t sample) {
  return {group_epoch, step, false, epoch, sample};
}
LedgerRow mark(GroupEpoch group_epoch, std::uint64_t step) {
  return {group_epoch, step, true};
}

class LedgerTest : public ::testing::Test {
 protected:
  Ledger open() {
    auto ledger = Ledger::create(path_);
    if (!ledger) throw std::runtime_error(ledger.error().message);
    return std::move(*ledger);
  }
  std::vector<LedgerRow> rows() {
    auto result = read_ledger(path_);
    if (!result) throw std::runtime_error(result.error().message);
    return *result;
  }

  ScratchDirectory scratch_;
  std::string path_ = scratch_ / "ledger-0.csv";
};

const std::string kHeader = kLedgerHeader;

TEST_F(LedgerTest, IsTheTextThatItsPageSpecifies) {
  constexpr std::uint64_t kMost = 18446744073709551615ull;
  Ledger ledger = open();
  EXPECT_EQ(get_file(path_), "group_epoch,step,epoch,sample\n");
  ledger.begin_step({2, 17}, 41);
  ledger.add(0, 59123);
  EXPECT_EQ(get_file(path_), kHeader) << "rows must wait for publish()";
  ASSERT_TRUE(ledger.publish());
  EXPECT_EQ(get_file(path_), kHeader + "2.17,41,0,59123\n");
  ASSERT_TRUE(ledger.commit({2, 17}, 41));
  ledger.begin_step({kMost, kMost}, kMost);
  ledger.add(kMost, 4294967295u);
  ASSERT_TRUE(ledger.publish());
  EXPECT_EQ(get_file(path_), kHeader + "2.17,41,0,59123\n2.17,41,committed,\n" +
                                 "18446744073709551615.18446744073709551615,18446744073709551615,"
                                 "18446744073709551615,4294967295\n");
  EXPECT_THAT(rows(), ElementsAre(use({2, 17}, 41, 0, 59123), mark({2, 17}, 41),
                                  use({kMost, kMost}, kMost, kMost, 4294967295u)));
}

TEST_F(LedgerTest, AnUnfinishedRowWasNotHandedOverWhereverItWasCut) {
  const std::string whole = kHeader + "1.2,1,0,5\n1.2,1,committed,\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    put_file(path_, whole.substr(0, size));
    const std::size_t expected = size == whole.size() ? 2 : size >= kHeader.size() + 10 ? 1 : 0;
    EXPECT_EQ(rows().size(), expected);
    Ledger ledger = open();  // continues behind the last whole row
    ASSERT_TRUE(ledger.commit({1, 3}, 2));
    ASSERT_EQ(rows().size(), expected + 1);
    EXPECT_EQ(rows().back(), mark({1, 3}, 2));
  }
}

TEST_F(LedgerTest, RefusesWhatIsNotALedger) {
  for (const std::string& text :
       {std::string("epoch,sample,step\n"), std::string("garbage"), kHeader + "1.1,2\n",
        kHeader + "1.1,2,3,4,5\n", kHeader + "1.1,2,-3,4\n", kHeader + "1.1,0,2,3\n", kHeader + "\n",
        kHeader + "1.1, 2,3,4\n", kHeader + "1,2,3,4\n", kHeader + "1.1,2,0,4294967296\n",
        kHeader + "1.1,99999999999999999999,1,1\n", kHeader + "1.1,2,committed\n",
        kHeader + "1.1,2,committed,7\n", kHeader + "1.1,0,committed,\n", kHeader + std::string(1000, '1'),
        std::string(1000, 'g')}) {
    SCOPED_TRACE(text);
    put_file(path_, text);
    const auto result = read_ledger(path_);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(result.error().message,
                AllOf(HasSubstr(path_), HasSubstr(text.starts_with(kHeader) ? "line 2" : "line 1")));
    EXPECT_FALSE(Ledger::create(path_)) << "a file that is no ledger must not be appended to";
    EXPECT_EQ(get_file(path_), text);
  }
}

TEST_F(LedgerTest, ManyRowsCrossTheReadersBuffer) {
  Ledger ledger = open();
  std::vector<LedgerRow> expected;
  for (std::uint32_t i = 0; i < 50'000; ++i) {
    if (i % 10 == 0) ledger.begin_step({1, i}, 1 + i / 10);
    ledger.add(i / 1000, i);
    expected.push_back(use({1, i / 10 * 10}, 1 + i / 10, i / 1000, i));
  }
  ASSERT_TRUE(ledger.publish());
  EXPECT_EQ(rows(), expected);
}

TEST_F(LedgerTest, AFullDiskLeavesWholeRowsAndTheRestWaits) {
  // In a child: the limit holds for the whole process.
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    Ledger ledger = open();
    ledger.begin_step({1, 1}, 1);
    ledger.add(0, 1);
    if (!ledger.publish()) _exit(1);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 52;  // in the middle of the second row to come
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    for (std::uint32_t i = 2; i < 10; ++i) ledger.add(0, i);
    const Status status = ledger.publish();
    if (status || status.error().message.find("ledger-0.csv") == std::string::npos) _exit(3);
    if (get_file(path_) != kHeader + "1.1,1,0,1\n") _exit(4);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit(ledger.commit({1, 1}, 1) ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const auto all = rows();
  ASSERT_EQ(all.size(), 10u);
  for (std::uint32_t i = 1; i < 10; ++i) EXPECT_EQ(all[i - 1], use({1, 1}, 1, 0, i));
  EXPECT_EQ(all.back(), mark({1, 1}, 1));
}

TEST(MergeLedgers, TheNewestMembershipThatCommittedAStepCounts) {
  const GroupEpoch a{1, 9}, b{2, 1}, c{2, 2};
  const auto merged = [](const std::vector<std::vector<LedgerRow>>& ledgers) {
    const auto used = merge_ledgers(ledgers);
    return used ? *used : std::vector<UsedSample>{{0, 0, 0}};
  };
  EXPECT_TRUE(merged({}).empty());
  EXPECT_TRUE(merged({{use(a, 1, 0, 5)}, {use(b, 1, 0, 5)}}).empty()) << "nobody committed it";
  // The one that marked it did not use all of it.
  EXPECT_THAT(merged({{use(a, 1, 0, 7)}, {use(a, 1, 0, 5), mark(a, 1)}}),
              ElementsAre(UsedSample{1, 0, 5}, UsedSample{1, 0, 7}));
  // Done again: the newer membership, in whatever order its rows come; begun and left: the older.
  EXPECT_THAT(merged({{use(a, 1, 0, 5), mark(a, 1)}, {use(b, 1, 0, 6), mark(b, 1), use(c, 1, 0, 7)}}),
              ElementsAre(UsedSample{1, 0, 6}));
  // Back to the state of step 1 in b: step 3 is not the job's any more, step 1 is.
  EXPECT_THAT(merged({{use(a, 1, 0, 1), mark(a, 1), use(a, 2, 0, 2), mark(a, 2), use(a, 3, 0, 3), mark(a, 3),
                       use(b, 2, 0, 2), mark(b, 2)}}),
              ElementsAre(UsedSample{1, 0, 1}, UsedSample{2, 0, 2}));
  const auto twice = merge_ledgers({{use(a, 1, 0, 5), mark(a, 1), use(a, 1, 0, 5)}});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(twice.error().message, AllOf(HasSubstr("sample 5 of epoch 0"), HasSubstr("1.9")));
}

// A job with everything that happens to one: memberships of random sizes and ranges, steps that are begun and
// left, members that die before they mark, and returns to checkpoints.
class History {
 public:
  static constexpr std::uint32_t kSize = 50, kBatch = 8;
  static constexpr std::uint64_t kSteps = 25;  // 4 epochs

  explicit History(const ScratchDirectory& directory) : directory_(directory) {}

  // Until all steps are done; `back`: then back to an earlier state, of which one step is done again, and no
  // more. Returns the steps of its final state.
  std::uint64_t run(bool back) {
    done_ = 0;
    go_on(kSteps);
    if (!back) return kSteps;
    done_ -= 2 + dice(10);
    take_step({2, 1}, {0, kBatch});
    return done_;
  }

 private:
  void go_on(std::uint64_t steps) {
    std::uint64_t checkpoint = 0;
    for (GroupEpoch epoch{1, 1}; done_ < steps; ++epoch.counter) {
      if (dice(4) == 0) done_ = checkpoint;
      std::vector<std::uint32_t> cuts = {0, kBatch};
      for (std::uint32_t i = dice(4); i > 0; --i) cuts.push_back(dice(kBatch));
      std::sort(cuts.begin(), cuts.end());
      for (const std::uint64_t until = std::min(steps, done_ + dice(8)); done_ < until;) {
        take_step(epoch, cuts);
        if (dice(3) == 0) checkpoint = done_;
      }
      if (done_ < steps) take_part(epoch, done_ + 1, cuts, dice(static_cast<std::uint32_t>(cuts.size())));
    }
  }
  void take_step(GroupEpoch epoch, const std::vector<std::uint32_t>& cuts) {
    const auto members = static_cast<std::uint32_t>(cuts.size() - 1);
    take_part(epoch, ++done_, cuts, members);
    const std::uint32_t survivor = dice(members);
    for (std::uint32_t m = 0; m < members; ++m) {
      if (m == survivor || dice(2) == 0) {
        ASSERT_TRUE(ledger(m).commit(epoch, done_));
      }
    }
  }
  std::uint32_t dice(std::uint32_t sides) { return static_cast<std::uint32_t>(random_() % sides); }
  Ledger& ledger(std::uint32_t actor) {
    auto found = ledgers_.find(actor);
    if (found == ledgers_.end()) {
      auto made = Ledger::create(directory_ / ("ledger-" + std::to_string(actor) + ".csv"));
      if (!made) throw std::runtime_error(made.error().message);
      found = ledgers_.emplace(actor, std::move(*made)).first;
    }
    return found->second;
  }
  void take_part(GroupEpoch epoch, std::uint64_t step, const std::vector<std::uint32_t>& cuts,
                 std::uint32_t members) {
    for (std::uint32_t m = 0; m < members; ++m) {
      ledger(m).begin_step(epoch, step);
      for (std::uint64_t place = cuts[m]; place < cuts[m + 1]; ++place) {
        const std::uint64_t position = (step - 1) * kBatch + place;
        ledger(m).add(stream_.epoch_at(position), stream_.sample_at(position));
      }
      ASSERT_TRUE(ledger(m).publish());
    }
  }

  const ScratchDirectory& directory_;
  std::mt19937 random_{std::random_device{}()};
  std::uint64_t done_ = 0;
  SampleStream stream_{4, kSize};
  std::map<std::uint32_t, Ledger> ledgers_;
};

TEST(MergeLedgers, EverySampleOncePerEpochWhateverHappened) {
  for (int round = 0; round < 20; ++round) {
    const ScratchDirectory directory;
    const std::uint64_t steps = History(directory).run(round % 2 == 0);
    std::vector<std::vector<LedgerRow>> ledgers;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      const auto rows = read_ledger(entry.path());
      ASSERT_TRUE(rows) << rows.error().message;
      ledgers.push_back(*rows);
    }
    auto used = merge_ledgers(ledgers);
    ASSERT_TRUE(used) << used.error().message;
    std::vector<UsedSample> expected;
    SampleStream stream(4, History::kSize);
    for (std::uint64_t i = 0; i < steps * History::kBatch; ++i)
      expected.push_back({1 + i / History::kBatch, stream.epoch_at(i), stream.sample_at(i)});
    std::sort(expected.begin(), expected.end());
    ASSERT_EQ(*used, expected);
  }
}

class CheckLedger : public ::testing::Test {
 protected:
  void SetUp() override {
    if (system("python3 -c 'import collections' 2>/dev/null") != 0) GTEST_SKIP() << "there is no python3";
  }
  // Its exit code, and all that it printed.
  std::pair<int, std::string> check(const std::string& directory) {
    FILE* pipe = popen(
        ("python3 '" SENG_SOURCE_DIR "/scripts/check_ledger.py' '" + directory + "' 2>&1").c_str(), "r");
    std::string text;
    char buffer[4096];
    for (std::size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, got);
    return {pclose(pipe) >> 8, text};
  }
  std::pair<int, std::string> check() { return check(directory_.path()); }
  // One more actor's ledger beside the others.
  void add_ledger(const std::string& rows) { put_file(directory_ / "ledger-99.csv", kHeader + rows); }

  ScratchDirectory directory_;
};

TEST_F(CheckLedger, AcceptsWhatTheActorsWrite) {
  History(directory_).run(false);
  const auto [code, text] = check();
  EXPECT_EQ(code, 0) << text;
  EXPECT_THAT(text, AllOf(HasSubstr("steps 1 to 25 of 8 samples"), HasSubstr("epoch 3: 50 samples"),
                          HasSubstr("every sample was used exactly once per epoch")));
  add_ledger("9.9,25,3,1\n9.9,1,0");  // begun and left; torn
  EXPECT_EQ(check().first, 0);

  const ScratchDirectory other;
  const std::uint64_t steps = History(other).run(true);
  const auto back = check(other.path());
  EXPECT_EQ(back.first, 0) << back.second;
  EXPECT_THAT(back.second, HasSubstr("steps 1 to " + std::to_string(steps) + " of 8 samples"));
}

TEST_F(CheckLedger, RefusesWhatIsWrong) {
  History(directory_).run(false);
  const auto refused = [&](const std::string& rows, const char* said) {
    add_ledger(rows);
    const auto [code, text] = check();
    EXPECT_EQ(code, 1) << rows;
    EXPECT_THAT(text, HasSubstr(said)) << rows;
  };
  refused("9.9,25,3,1\n9.9,25,committed,\n", "step 25 used 1 samples, others 8");
  refused("9.9,20,3,1\n9.9,20,committed,\n", "epoch 3:");
  refused("9.9,27,committed,\n", "steps 26 to 26 were never committed");
  refused("9.9,25,3,1\n9.9,25,3,1\n", "the same use as in an earlier line");
  refused("9.9,25,3\n", "line 2: no row of a ledger");
  refused("9.9,0,committed,\n", "line 2: no row of a ledger");
  std::string again = "9.9,25,committed,\n";
  for (int i = 0; i < 8; ++i) again += "9.9,25,0," + std::to_string(i) + "\n";
  refused(again, "was used 2 times");
  put_file(directory_ / "ledger-99.csv", "epoch,sample,step\n");
  EXPECT_EQ(check().first, 1);
}

}  // namespace
}  // namespace seng
