#include "protocol/channel/zmq_channel.h"

#include <gtest/gtest.h>

#include "protocol/channel/poller.h"
#include "protocol/messages/control.h"

namespace seng {
namespace {
TEST(ZmqChannel, CarriesRequestsAndReplies) {
  ChannelContext context;
  auto server = bind_server(context, "ipc:///tmp/P_zt.sock");
  ASSERT_TRUE(server) << server.error().message;
  auto client = connect_client(context, "ipc:///tmp/P_zt.sock");
  ASSERT_TRUE((*client)->send(make_message({}, DescribeRequest{"x"})));
  Poller poller;
  poller.watch(**server, 1);
  auto ready = poller.wait(5000);
  ASSERT_TRUE(ready);
  ASSERT_EQ(ready->size(), 1u);
  auto in = (*server)->try_receive();
  ASSERT_TRUE(in);
  auto body = parse_body<DescribeRequest>(in->message);
  ASSERT_TRUE(body);
  EXPECT_EQ(body->job, "x");
}
}  // namespace
}  // namespace seng
