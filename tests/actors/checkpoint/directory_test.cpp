#include "actors/checkpoint/directory.h"

namespace seng {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

TEST(CheckpointDirectoryTest, NamesAreReadBack) {
  EXPECT_EQ(entry_name(EntryKind::kCheckpoint, 200), "step-00000200");
  EXPECT_EQ(entry_name(EntryKind::kStaging, 7), ".step-00000007.staging");
  EXPECT_EQ(entry_name(EntryKind::kDiscarded, 123456789012), ".step-123456789012.discarded");
  for (const EntryKind kind : {EntryKind::kCheckpoint, EntryKind::kStaging, EntryKind::kDiscarded}) {
    for (const std::uint64_t step : {0ull, 1ull, 99999999ull, 100000000ull, ~0ull}) {
      const auto entry = parse_entry_name(entry_name(kind, step));
      ASSERT_TRUE(entry);
      EXPECT_EQ(entry->kind, kind);
      EXPECT_EQ(entry->step, step);
    }
  }
  EXPECT_EQ(entry_name(EntryKind::kStaging, 7, {2, 17}), ".step-00000007.2.17.staging");
  const auto entry = parse_entry_name(".step-00000007.2.17.staging");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->kind, EntryKind::kStaging);
  EXPECT_EQ(entry->step, 7u);
  EXPECT_EQ(entry->membership, (GroupEpoch{2, 17}));
}

TEST(CheckpointDirectoryTest, OtherNamesAreNotOurs) {
  for (const char* name :
       {"", "step", "step-", "step-200", "step-000000200", "step-00000200x", "step-0000020x", "step--0000200",
        "Step-00000200", "step-00000200.staging", ".step-00000200", ".step-00000200.removing",
        ".step-00000200.2.staging", ".step-00000200.2.17", ".step-00000200.2.017.staging", "best-00000200",
        "step-18446744073709551616", "-", "."}) {
    EXPECT_FALSE(parse_entry_name(name)) << name;
  }
}

struct Retention {
  const char* what;
  std::vector<DirectoryEntry> entries;
  std::uint64_t committed;
  std::uint32_t keep;
  std::vector<DirectoryEntry> removed;
};

DirectoryEntry good(std::uint64_t step) {
  return {EntryKind::kCheckpoint, step, true};
}
DirectoryEntry broken(std::uint64_t step) {
  return {EntryKind::kCheckpoint, step, false};
}
DirectoryEntry staging(std::uint64_t step) {
  return {EntryKind::kStaging, step, false};
}
DirectoryEntry discarded(std::uint64_t step) {
  return {EntryKind::kDiscarded, step, false};
}

TEST(CheckpointDirectoryTest, KeepsTheNewestAndNeverLosesTheLastGoodOne) {
  const Retention table[] = {
      {"only the new one", {good(10)}, 10, 1, {}},
      {"fewer than keep", {good(10), good(20)}, 20, 3, {}},
      {"exactly keep", {good(10), good(20)}, 20, 2, {}},
      {"more than keep", {good(10), good(20), good(30), good(40)}, 40, 2, {good(10), good(20)}},
      {"keep 0 is keep 1", {good(10), good(20)}, 20, 0, {good(10)}},
      {"the order of listing does not matter", {good(30), good(10), good(20)}, 30, 1, {good(10), good(20)}},
      {"a broken one does not count", {good(10), broken(20), good(30)}, 30, 2, {}},
      {"a broken one goes when it is old", {broken(5), good(10), good(20)}, 20, 2, {broken(5)}},
      {"a broken newer one does not push out the last good", {good(10), broken(50)}, 10, 1, {}},
      {"the run was taken back behind newer ones", {good(10), good(40), good(50)}, 10, 1, {good(40)}},
      {"the new one stays even if it is the oldest", {good(10), good(40), good(50)}, 10, 2, {}},
      {"staging up to this step goes",
       {good(10), staging(5), staging(10), staging(11)},
       10,
       2,
       {staging(5), staging(10)}},
      {"what was being removed goes",
       {good(10), discarded(5), discarded(99)},
       10,
       2,
       {discarded(5), discarded(99)}},
      {"nothing is complete", {broken(10), broken(5)}, 10, 1, {}},
      {"nothing there", {}, 10, 1, {}},
  };
  for (const Retention& row : table) {
    EXPECT_THAT(entries_to_remove(row.entries, row.committed, row.keep),
                UnorderedElementsAreArray(row.removed))
        << row.what;
  }
}

// An evicted leader that wakes and commits takes nothing from the group that went on without it.
TEST(CheckpointDirectoryTest, LaterMembershipsKeepTheirStaging) {
  const auto staging_of = [](std::uint64_t step, GroupEpoch membership) {
    return DirectoryEntry{EntryKind::kStaging, step, false, membership};
  };
  const std::vector<DirectoryEntry> entries = {good(10), staging_of(10, {1, 2}), staging_of(10, {1, 3}),
                                               staging_of(5, {1, 1}), staging_of(10, {2, 1})};
  EXPECT_THAT(entries_to_remove(entries, 10, 1, {1, 2}),
              ::testing::UnorderedElementsAre(staging_of(10, {1, 2}), staging_of(5, {1, 1})));
}

}  // namespace
}  // namespace seng
