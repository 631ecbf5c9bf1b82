// A disk that fills up, a process that is killed, at every single operation of writing a checkpoint.
#include <csignal>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/actors/checkpoint/faulty_storage.h"
#include "tests/actors/checkpoint/small_network.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng::fault_test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// The newest checkpoint that is listed must read, and be one of the states that were written.
void expect_newest_reads(const std::string& directory, const std::vector<Block>& blocks,
                         const std::vector<SmallState>& states) {
  const auto listed = *list_checkpoints(directory);
  ASSERT_FALSE(listed.empty());
  for (const std::string& path : listed) {
    const auto content = read_checkpoint(path, blocks);
    ASSERT_TRUE(content) << content.error().message;
    bool known = false;
    for (const SmallState& state : states) known = known || difference(*content, state).empty();
    EXPECT_TRUE(known) << path;
  }
}

struct Scenario {
  const char* name;
  bool same_step;    // the new checkpoint is of a step that is there
  bool no_exchange;  // on a file system without renameat2's exchange
  friend void PrintTo(const Scenario& one, std::ostream* out) { *out << one.name; }
};

class FaultTest : public ::testing::TestWithParam<Scenario> {
 protected:
  void SetUp() override {
    before_ = random_state(blocks_, 100, 1);
    after_ = random_state(blocks_, GetParam().same_step ? 100 : 200, 2);
  }
  FaultyStorage make_storage() {
    FaultyStorage storage;
    storage.no_exchange = GetParam().no_exchange;
    return storage;
  }
  int count_operations() {
    const ScratchDirectory scratch;
    EXPECT_TRUE(write_state(scratch.path(), blocks_, before_, 1));
    FaultyStorage storage = make_storage();
    EXPECT_TRUE(write_state(scratch.path(), blocks_, after_, 1, storage));
    return storage.operations;
  }

  std::vector<Block> blocks_ = small_network();
  SmallState before_, after_;
};

TEST_P(FaultTest, AnOperationThatFailsLosesNoCheckpointAndLeavesNothingBehind) {
  const int operations = count_operations();
  ASSERT_GT(operations, 20);
  int failed = 0;
  for (int i = 0; i < operations; ++i) {
    SCOPED_TRACE(i);
    const ScratchDirectory scratch;
    ASSERT_TRUE(write_state(scratch.path(), blocks_, before_, 1));
    FaultyStorage storage = make_storage();
    storage.fail_at = i;
    const auto written = write_state(scratch.path(), blocks_, after_, 1, storage);
    expect_newest_reads(scratch.path(), blocks_, {before_, after_});
    if (!written) {
      ++failed;
      EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
      EXPECT_THAT(written.error().message, AllOf(StartsWith("checkpoint: "), HasSubstr("no space left")));
    } else {
      const auto content = read_checkpoint(*written, blocks_);
      ASSERT_TRUE(content) << content.error().message;
      EXPECT_EQ(difference(*content, after_), "");
    }
    // With the disk in order again the same checkpoint can be written, and nothing of the failure stays.
    const auto again = write_state(scratch.path(), blocks_, after_, 1);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(difference(*read_checkpoint(*again, blocks_), after_), "");
    EXPECT_THAT(names_in(scratch.path()), ElementsAre(fs::path(*again).filename().string()));
  }
  EXPECT_GT(failed, 10);
}

TEST_P(FaultTest, AProcessThatIsKilledLosesNoCheckpoint) {
  const int operations = count_operations();
  for (int i = 0; i < operations; ++i) {
    SCOPED_TRACE(i);
    const ScratchDirectory scratch;
    ASSERT_TRUE(write_state(scratch.path(), blocks_, before_, 1));
    FaultyStorage storage = make_storage();
    storage.stop_at = i;
    (void)write_state(scratch.path(), blocks_, after_, 1, storage);
    // Without the exchange there is a moment at which the old one is out of the way and the new one not there
    // yet.
    if (!GetParam().no_exchange || !list_checkpoints(scratch.path())->empty()) {
      expect_newest_reads(scratch.path(), blocks_, {before_, after_});
    }
    const auto again = write_state(scratch.path(), blocks_, after_, 1);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(difference(*read_checkpoint(*again, blocks_), after_), "");
    EXPECT_THAT(names_in(scratch.path()), ElementsAre(fs::path(*again).filename().string()));
  }
}

INSTANTIATE_TEST_SUITE_P(Scenarios, FaultTest,
                         ::testing::Values(Scenario{"NewStep", false, false},
                                           Scenario{"SameStep", true, false},
                                           Scenario{"SameStepNoExchange", true, true}),
                         [](const auto& info) { return info.param.name; });

// A failure before the commit takes its own files with it, but not the directory that others write into.
TEST(FaultCleanupTest, AFailedModelLeavesAnEmptyDirectory) {
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, 1);
  for (int i = 1; i < 12; ++i) {
    SCOPED_TRACE(i);
    const ScratchDirectory scratch;
    FaultyStorage storage;
    storage.fail_at = i;
    const auto staging = open_staging(scratch.path(), 5, storage);
    ASSERT_TRUE(staging);
    const auto model =
        write_model(*staging, blocks, state.parameters, state.statistics, state.momentum, 5, storage);
    ASSERT_FALSE(model);
    EXPECT_THAT(names_in(*staging), ElementsAre());
    discard_staging(*staging);
    EXPECT_THAT(names_in(scratch.path()), ElementsAre());
  }
}

// The kernel's own refusal, in a child because the limit holds for its whole process.
TEST(FaultCleanupTest, ARealWriteErrorHasErrnosTextAndThePath) {
  const ScratchDirectory scratch;
  const auto blocks = small_network();
  const SmallState state = random_state(blocks, 5, 1);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{300, 300};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    const auto written = write_state(scratch.path(), blocks, state, 1);
    if (written) _exit(3);
    const std::string& text = written.error().message;
    const bool good = text.find("model.safetensors") != text.npos &&
                      text.find("File too large") != text.npos && text.find("ulimit -f") != text.npos;
    _exit(good ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(names_in(scratch / ".step-00000005.staging"), ElementsAre());
}

TEST(FaultCleanupTest, ADirectoryThatIsClosedIsNamed) {
  const ScratchDirectory scratch;
  // As another user where the test runs as root, whom no mode stops.
  const pid_t child = fork();
  if (child == 0) {
    if (chmod(scratch.path().c_str(), 0500) != 0) _exit(2);
    if (geteuid() == 0 && (chown(scratch.path().c_str(), 65534, 65534) != 0 || setuid(65534) != 0)) _exit(3);
    const auto staging = open_staging(scratch / "checkpoints", 5);
    if (staging) _exit(4);
    const std::string& text = staging.error().message;
    const bool good =
        text.find(scratch / "checkpoints") != text.npos && text.find("Permission denied") != text.npos;
    _exit(good ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(names_in(scratch.path()).empty());
}

TEST(FaultCleanupTest, AFileInThePlaceOfTheDirectoryIsNamed) {
  const ScratchDirectory scratch;
  put_file(scratch / "checkpoints", "in the way");
  const auto staging = open_staging(scratch / "checkpoints", 5);
  ASSERT_FALSE(staging);
  EXPECT_THAT(staging.error().message, HasSubstr(scratch / "checkpoints"));
}

}  // namespace
}  // namespace seng::fault_test
