// What an actor says while nobody listens.
#include "actors/session.h"

#include <thread>

#include <gtest/gtest.h>

#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "tests/support/process.h"

namespace seng {
namespace {

// Heartbeats are dropped, reports and the steps' metrics are not.
TEST(Session, KeepsItsReportsAndFewHeartbeatsWhileNoDaemonRuns) {
  constexpr int kBeats = 700, kReports = 400;
  const testing::TempDir directory;
  SessionOptions options;
  options.daemon_endpoint = "ipc://" + directory.path() + "/d";
  options.job = 7;
  Session session(options);
  ASSERT_TRUE(session.start());
  std::atomic<int> beats{0};
  session.gauges().activity = kWaiting;
  session.on_awaits([&] {
    ++beats;
    return std::vector<ActorId>{};
  });
  for (int i = 1; i <= kBeats; ++i) {
    StepMetrics step;
    step.step = static_cast<std::uint64_t>(i);
    session.add_step(step, true);
    const int before = beats;
    // Until one is made of it; there is none while reports wait for the daemon.
    for (int tries = 0; beats == before && tries < 2000; ++tries) {
      session.report_soon();
      std::this_thread::yield();
    }
  }
  for (int i = 1; i <= kReports; ++i) {
    EpochReport report;
    report.metrics.step = static_cast<std::uint64_t>(i);
    session.send(report);
  }

  ChannelContext context;
  auto server = bind_server(context, options.daemon_endpoint);
  ASSERT_TRUE(server);
  Poller poller;
  poller.watch(**server, 1);
  std::uint64_t reports = 0, steps = 0;
  int heartbeats = 0;
  while (reports < kReports || steps < kBeats) {
    const auto ready = poller.wait(30000);
    ASSERT_TRUE(ready && !ready->empty()) << reports << " reports, " << steps << " steps";
    while (auto incoming = (*server)->try_receive()) {
      if (const auto report = parse_body<EpochReport>(incoming->message)) {
        EXPECT_EQ(report->metrics.step, ++reports);
      } else if (const auto progress = parse_body<Progress>(incoming->message)) {
        ++heartbeats;
        for (const StepMetrics& step : progress->steps) {
          EXPECT_EQ(step.step, ++steps);
        }
      }
    }
  }
  EXPECT_LT(heartbeats, kBeats / 2);
}

}  // namespace
}  // namespace seng
