#include "actors/data/ledger.h"

#include <csignal>

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

TEST_F(LedgerTest, IsTheTextThatItsPageSpecifies) {
  Ledger ledger = open();
  EXPECT_EQ(get_file(path_), "epoch,sample,step\n");
  ledger.add(0, 17, 1);
  ledger.add(3, 4294967295u, 18446744073709551615ull);
  EXPECT_EQ(get_file(path_), "epoch,sample,step\n") << "rows must wait for commit()";
  ASSERT_TRUE(ledger.commit());
  EXPECT_EQ(get_file(path_), "epoch,sample,step\n0,17,1\n3,4294967295,18446744073709551615\n");
  EXPECT_THAT(rows(), ElementsAre(LedgerRow{0, 17, 1}, LedgerRow{3, 4294967295u, 18446744073709551615ull}));
}

TEST_F(LedgerTest, AbandonedRowsAreNeverWritten) {
  Ledger ledger = open();
  ledger.add(0, 1, 1);
  ledger.abandon();
  ledger.add(0, 2, 1);
  ASSERT_TRUE(ledger.commit());
  ASSERT_TRUE(ledger.commit());
  EXPECT_THAT(rows(), ElementsAre(LedgerRow{0, 2, 1}));
}

TEST_F(LedgerTest, AnUnfinishedRowWasNotCommittedWhereverItWasCut) {
  const std::string whole = "epoch,sample,step\n0,5,1\n0,6,1\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    SCOPED_TRACE(size);
    put_file(path_, whole.substr(0, size));
    const std::size_t expected = size == whole.size() ? 2 : size >= 24 ? 1 : 0;
    EXPECT_EQ(rows().size(), expected);
    Ledger ledger = open();  // continues behind the last whole row
    ledger.add(1, 7, 2);
    ASSERT_TRUE(ledger.commit());
    ASSERT_EQ(rows().size(), expected + 1);
    EXPECT_EQ(rows().back(), (LedgerRow{1, 7, 2}));
  }
}

TEST_F(LedgerTest, RefusesWhatIsNotALedger) {
  const std::string header = "epoch,sample,step\n";
  for (const std::string& text :
       {std::string("epoch,sample\n"), std::string("garbage"), header + "1,2\n", header + "1,2,3,4\n",
        header + "1,-2,3\n", header + "1,2,0\n", header + "\n", header + "1, 2,3\n",
        header + "0,4294967296,1\n", header + "99999999999999999999,1,1\n", header + std::string(1000, '1'),
        std::string(1000, 'e')}) {
    SCOPED_TRACE(text);
    put_file(path_, text);
    const auto result = read_ledger(path_);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(result.error().message,
                AllOf(HasSubstr(path_), HasSubstr(text.starts_with(header) ? "line 2" : "line 1")));
    EXPECT_FALSE(Ledger::create(path_)) << "a file that is no ledger must not be appended to";
    EXPECT_EQ(get_file(path_), text);
  }
}

TEST_F(LedgerTest, ManyRowsCrossTheReadersBuffer) {
  Ledger ledger = open();
  for (std::uint32_t i = 0; i < 100'000; ++i) ledger.add(i / 1000, i, 1 + i / 10);
  ASSERT_TRUE(ledger.commit());
  const auto all = rows();
  ASSERT_EQ(all.size(), 100'000u);
  for (std::uint32_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], (LedgerRow{i / 1000, i, 1 + i / 10}));
}

TEST_F(LedgerTest, AFullDiskLeavesTheCommittedRows) {
  // In a child: the limit holds for the whole process.
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    Ledger ledger = open();
    ledger.add(0, 1, 1);
    if (!ledger.commit()) _exit(1);
    const rlimit limit{40, 40};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    for (std::uint32_t i = 0; i < 10; ++i) ledger.add(0, i, 2);
    const Status status = ledger.commit();
    if (status || status.error().message.find("ledger-0.csv") == std::string::npos) _exit(3);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(get_file(path_), "epoch,sample,step\n0,1,1\n");
}

// Three actors with ranges of unequal size: their ledgers together hold every sample of every epoch once.
TEST_F(LedgerTest, LedgersOfAllActorsTogetherAreTheEpochs) {
  constexpr std::uint32_t kSize = 50, kBatch = 8;
  const std::uint32_t begin[] = {0, 3, 6}, end[] = {3, 6, 8};
  std::vector<LedgerRow> all;
  for (int actor = 0; actor < 3; ++actor) {
    const std::string path = scratch_ / ("ledger-" + std::to_string(actor) + ".csv");
    auto ledger = Ledger::create(path);
    ASSERT_TRUE(ledger);
    SampleStream stream(4, kSize);
    for (std::uint64_t step = 1; step <= 25; ++step) {  // 4 epochs
      for (std::uint64_t place = begin[actor]; place < end[actor]; ++place) {
        const std::uint64_t position = (step - 1) * kBatch + place;
        ledger->add(stream.epoch_at(position), stream.sample_at(position), step);
      }
      ASSERT_TRUE(ledger->commit());
    }
    const auto rows = read_ledger(path);
    ASSERT_TRUE(rows);
    all.insert(all.end(), rows->begin(), rows->end());
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), 4u * kSize);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].epoch, i / kSize);
    EXPECT_EQ(all[i].sample, i % kSize);
  }
}

}  // namespace
}  // namespace seng
