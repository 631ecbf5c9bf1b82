#include "daemon/inventory.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sched.h>

#include "tests/support/process.h"

namespace seng::testing {
namespace {

class InventoryTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(dir_.path() + path).parent_path());
    std::ofstream(dir_.path() + path) << text;
  }
  Inventory take() { return take_inventory(dir_.path()); }
  TempDir dir_;
};

TEST_F(InventoryTest, OfThisMachineIsPlausible) {
  const Inventory inventory = take_inventory();
  EXPECT_GE(inventory.cores, 1u);
  EXPECT_GT(inventory.memory_bytes, 64ull << 20);
  EXPECT_FALSE(inventory.node.empty());
}

TEST_F(InventoryTest, ReadsMemoryAndModel) {
  write("/proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n");
  write("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n");
  EXPECT_EQ(take().memory_bytes, 2048u * 1024);
  EXPECT_EQ(take().cpu_model, "Some CPU @ 2 GHz");
}

TEST_F(InventoryTest, NothingThereIsNoFailure) {
  EXPECT_EQ(take().memory_bytes, 0u);
  EXPECT_EQ(take().cpu_model, "");
  EXPECT_GE(take().cores, 1u);
}

TEST_F(InventoryTest, AffinityCounts) {
  cpu_set_t old, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(old), &old), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &old)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(take().cores, 1u);
  sched_setaffinity(0, sizeof(old), &old);
  EXPECT_EQ(take().cores, static_cast<std::uint32_t>(CPU_COUNT(&old)));
}

TEST_F(InventoryTest, QuotasOfEitherVersionOfAnyAncestorCount) {
  write("/proc/self/cgroup", "4:memory:/a/b\n3:cpu,cpuacct:/a/b\n0::/x/y\n");
  write("/proc/meminfo", "MemTotal: 8388608 kB\n");
  const std::uint32_t all = take().cores;
  write("/sys/fs/cgroup/x/y/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(take().cores, all);
  write("/sys/fs/cgroup/x/cpu.max", "150000 100000\n");
  EXPECT_EQ(take().cores, 1u);
  write("/sys/fs/cgroup/x/cpu.max", "20000 100000\n");
  EXPECT_EQ(take().cores, 1u) << "a fifth of a core still runs one";
  write("/sys/fs/cgroup/x/y/memory.max", "max\n");
  EXPECT_EQ(take().memory_bytes, 8ull << 30);
  write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(take().memory_bytes, 1ull << 30);
  write("/sys/fs/cgroup/x/memory.max", "1048576\n");
  EXPECT_EQ(take().memory_bytes, 1ull << 20);
}

}  // namespace
}  // namespace seng::testing
