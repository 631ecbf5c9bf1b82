#include "actors/engine/lanes.h"

#include <atomic>
#include <barrier>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <time.h>

namespace seng {
namespace {

TEST(Lanes, EveryTaskRunsOnceOnALaneInRange) {
  for (const int count : {1, 2, 5}) {
    Lanes lanes(count);
    EXPECT_EQ(lanes.count(), count);
    for (const std::size_t tasks : {0, 1, 2, 3, 100}) {
      std::vector<std::atomic<int>> runs(tasks);
      std::atomic<bool> in_range = true;
      lanes.run(tasks, [&](std::size_t i, int lane) {
        ++runs[i];
        if (lane < 0 || lane >= count) in_range = false;
      });
      for (const auto& run : runs) EXPECT_EQ(run, 1);
      EXPECT_TRUE(in_range);
    }
  }
}

TEST(Lanes, TasksAreTakenInAscendingOrder) {
  Lanes lanes(3);
  std::vector<std::vector<std::size_t>> taken(3);
  lanes.run(500, [&](std::size_t i, int lane) { taken[lane].push_back(i); });
  std::size_t sum = 0;
  for (const auto& tasks : taken) {
    EXPECT_TRUE(std::is_sorted(tasks.begin(), tasks.end()));
    sum += tasks.size();
  }
  EXPECT_EQ(sum, 500u);
}

TEST(Lanes, WorkAtTheSameTime) {
  Lanes lanes(3);
  std::barrier all(3);  // passes only when three lanes are in it together
  lanes.run(3, [&](std::size_t, int) { all.arrive_and_wait(); });
}

TEST(Lanes, ALaneIsOneThread) {
  Lanes lanes(2);
  std::vector<std::thread::id> ids(2);
  std::barrier both(2);
  lanes.run(2, [&](std::size_t, int lane) {
    ids[lane] = std::this_thread::get_id();
    both.arrive_and_wait();
  });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
  const auto first = ids;
  lanes.run(2, [&](std::size_t, int lane) {
    ids[lane] = std::this_thread::get_id();
    both.arrive_and_wait();
  });
  EXPECT_EQ(ids, first);
}

TEST(Lanes, AnExceptionComesBackAndStopsTheRest) {
  for (const int count : {1, 4}) {
    Lanes lanes(count);
    std::atomic<int> begun = 0;
    EXPECT_THROW(lanes.run(100000,
                           [&](std::size_t i, int) {
                             ++begun;
                             if (i == 3) throw std::runtime_error("third");
                           }),
                 std::runtime_error);
    EXPECT_LT(begun, 100000);
    int after = 0;
    lanes.run(1, [&](std::size_t, int) { ++after; });
    EXPECT_EQ(after, 1) << "usable again";
  }
}

TEST(Lanes, ResultsAreVisibleAfterRun) {
  Lanes lanes(4);
  std::vector<int> plain(64);
  for (int round = 1; round <= 2000; ++round) {
    lanes.run(plain.size(), [&](std::size_t i, int) { plain[i] += 1; });
    for (const int value : plain) ASSERT_EQ(value, round);
  }
}

TEST(Lanes, WaitingLanesSleep) {
  Lanes lanes(3);
  std::vector<clockid_t> clocks(3);
  std::barrier all(3);
  lanes.run(3, [&](std::size_t, int lane) {
    pthread_getcpuclockid(pthread_self(), &clocks[lane]);
    all.arrive_and_wait();
  });
  const auto cpu_seconds = [&] {
    double sum = 0;
    for (const int lane : {1, 2}) {
      timespec time{};
      clock_gettime(clocks[lane], &time);
      sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    }
    return sum;
  };
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the idle time that is measured
  EXPECT_LT(cpu_seconds() - before, 0.005);
}

}  // namespace
}  // namespace seng
