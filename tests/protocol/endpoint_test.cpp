#include "protocol/channel/endpoint.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/channel/zmq_channel.h"
#include "tests/protocol/temp_dir.h"

namespace seng {
namespace {

using ::testing::HasSubstr;

TEST(Endpoint, TakesIpcPathsThatFit) {
  EXPECT_EQ(ipc_endpoint("/run/sengd.sock").value(), "ipc:///run/sengd.sock");
  EXPECT_TRUE(ipc_endpoint("/" + std::string(106, 'x')));
  const auto longer = ipc_endpoint("/" + std::string(107, 'x'));
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(longer.error().message, HasSubstr("has 108 bytes"));
  EXPECT_THAT(longer.error().message, HasSubstr("--state-dir"));
  EXPECT_FALSE(ipc_endpoint(""));
}

TEST(Endpoint, AcceptsAndRefusesByForm) {
  for (const char* good : {"tcp://127.0.0.1:7000", "tcp://127.9.8.7:1", "tcp://localhost:65535",
                           "tcp://[::1]:7000", "tcp://127.0.0.1:*"}) {
    EXPECT_TRUE(check_endpoint(good)) << good;
  }
  for (const char* bad : {"", "sengd.sock", "http://127.0.0.1:7000", "tcp://", "tcp://127.0.0.1",
                          "tcp://127.0.0.1:", "tcp://:7000", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:7x",
                          "tcp://127.0.0.1:-1", "tcp://127.0.0.1:999999999999", "ipc://", "inproc://x"}) {
    const auto status = check_endpoint(bad, true);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument) << bad;
  }
  EXPECT_FALSE(check_endpoint(std::string("ipc:///a\0b", 10)));
}

TEST(Endpoint, OpensNothingToTheNetworkWithoutKeys) {
  for (const char* open : {"tcp://0.0.0.0:7000", "tcp://*:7000", "tcp://192.168.1.2:7000", "tcp://[::]:7000",
                           "tcp://127.evil.example:7000", "tcp://example.com:7000"}) {
    const auto status = check_endpoint(open);
    ASSERT_FALSE(status) << open;
    EXPECT_THAT(status.error().message, HasSubstr("CURVE"));
    EXPECT_TRUE(check_endpoint(open, true)) << open;
  }
}

TEST(Endpoint, ProbeTellsWhetherSomebodyListens) {
  const TempDir dir;
  const std::string endpoint = "ipc://" + dir.file("s");
  auto status = probe_endpoint(endpoint);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(status.error().message, HasSubstr(endpoint));
  {
    ChannelContext context;
    const auto server = bind_server(context, endpoint);
    ASSERT_TRUE(server) << server.error().message;
    EXPECT_TRUE(probe_endpoint(endpoint));
  }
  EXPECT_FALSE(probe_endpoint(endpoint));
  EXPECT_FALSE(probe_endpoint("tcp://127.0.0.1:1"));
  EXPECT_EQ(probe_endpoint("nonsense").error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace seng
