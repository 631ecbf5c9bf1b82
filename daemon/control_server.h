// Answers sengctl (protocol/messages/control.h): one reply for every request, an ErrorReply where it cannot
// be read or granted. Decides nothing; the head does.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <string>

#include "daemon/head.h"
#include "protocol/base/clock.h"
#include "protocol/channel/channel.h"
#include "protocol/messages/control.h"

namespace seng {

class ControlServer {
 public:
  struct About {
    double started_at = 0;  // wall clock
    std::string state_dir, node;
  };

  // All outlive it. Takes the head's on_change.
  ControlServer(ServerChannel& channel, Head& head, const Clock& clock, About about);

  void on_readable();
  // Long polls: answers those whose job has changed, or whose time is over.
  void before_sleep();
  std::optional<double> deadline() const;

 private:
  struct Watch {
    PeerId peer;
    std::uint64_t sequence = 0;
    JobId job = 0;
    std::uint64_t after_revision = 0;
    double deadline = 0;
    std::uint64_t epochs_after = 0;
  };
  struct Request {
    PeerId peer;
    Message message;
  };

  void handle(const Request& request);
  template <class Body>
  void take(const Request& request);
  void on_body(const Request& request, const SubmitRequest& body);
  void on_body(const Request& request, const ListRequest& body);
  void on_body(const Request& request, const DescribeRequest& body);
  void on_body(const Request& request, const StopRequest& body);
  void on_body(const Request& request, const ScaleRequest& body);
  void on_body(const Request& request, const DrainRequest& body);
  void on_body(const Request& request, const DeleteRequest& body);
  void on_body(const Request& request, const EventsRequest& body);
  void on_body(const Request& request, const MetricsRequest& body);
  void on_body(const Request& request, const LogsRequest& body);
  void on_body(const Request& request, const NodesRequest& body);
  void on_body(const Request& request, const WatchRequest& body);
  void on_body(const Request& request, const VersionRequest& body);

  template <class Body>
  void reply(const PeerId& peer, std::uint64_t sequence, const Body& body);
  void refuse(const Request& request, const Error& error);
  void answer(const Watch& watch);

  ServerChannel& channel_;
  Head& head_;
  const Clock& clock_;
  const About about_;
  std::list<Watch> watches_;
  std::set<JobId> changed_;
};

}  // namespace seng
