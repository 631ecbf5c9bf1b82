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

TEST(Lanes, EveryJobRunsOnceAndItsTasksToo) {
  for (const int count : {1, 2, 4}) {
    Lanes lanes(count);
    for (const std::size_t jobs : {0, 1, 2, 7, 40}) {
      std::vector<std::atomic<int>> runs(jobs), tasks(jobs * 30);
      std::atomic<bool> in_range = true;
      lanes.run_jobs(jobs, [&](std::size_t job, Lanes& own) {
        ++runs[job];
        EXPECT_EQ(own.count(), count);
        for (std::size_t round = 0; round < 3; ++round)
          own.run(10, [&](std::size_t i, int lane) {
            ++tasks[job * 30 + round * 10 + i];
            if (lane < 0 || lane >= count) in_range = false;
          });
      });
      for (const auto& run : runs) EXPECT_EQ(run, 1);
      for (const auto& run : tasks) EXPECT_EQ(run, 1);
      EXPECT_TRUE(in_range);
    }
  }
}

TEST(Lanes, JobsRunAtTheSameTimeAndLanesWithoutOneHelp) {
  Lanes lanes(3);
  std::barrier three(3);  // passes only when three lanes are in it together
  lanes.run_jobs(3, [&](std::size_t, Lanes&) { three.arrive_and_wait(); });
  lanes.run_jobs(2, [&](std::size_t job, Lanes& own) {
    if (job == 1) return;  // its lane, and the one without a job, come to help the other
    own.run(3, [&](std::size_t, int) { three.arrive_and_wait(); });
  });
}

TEST(Lanes, AJobsTasksRunOnDifferentLanesAtATime) {
  Lanes lanes(4);
  std::vector<std::atomic<int>> inside(4);
  lanes.run_jobs(3, [&](std::size_t, Lanes& own) {
    for (int round = 0; round < 50; ++round)
      own.run(8, [&](std::size_t, int lane) {
        EXPECT_EQ(inside[lane].fetch_add(1), 0);
        inside[lane].fetch_sub(1);
      });
  });
}

TEST(Lanes, AJobsExceptionComesBackAndStopsTheRest) {
  for (const int count : {1, 3}) {
    Lanes lanes(count);
    std::atomic<int> begun = 0;
    const auto fails = [&](bool in_task) {
      lanes.run_jobs(1000, [&](std::size_t job, Lanes& own) {
        ++begun;
        own.run(4, [&](std::size_t i, int) {
          if (in_task && job == 3 && i == 2) throw std::runtime_error("task");
        });
        if (!in_task && job == 3) throw std::runtime_error("job");
      });
    };
    EXPECT_THROW(fails(true), std::runtime_error);
    EXPECT_THROW(fails(false), std::runtime_error);
    EXPECT_LT(begun, 2000);
    std::atomic<int> after = 0;
    lanes.run_jobs(5, [&](std::size_t, Lanes&) { ++after; });
    EXPECT_EQ(after, 5) << "usable again";
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
