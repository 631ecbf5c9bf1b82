// The exchange between actor processes: StepExchange (what is said) and one I/O thread with the channels (how
// it travels).
//
//   lanes, driver --> StepExchange --outgoing--> I/O thread --> one client channel (DEALER) per peer
//                          ^ `--events--> next()    |
//                          `---- receive() ---------'<-- one server channel (ROUTER) for all peers
//
// Every pair of actors has two connections, one per direction: each actor connects to every other's server
// and sends only there. So a connection has one writer, an actor needs no other way to find a peer than its
// endpoint, and nothing has to be agreed on about who connects.
//
// In a group whose path is NCCL sums and directions take that (link_carrier.h); all else stays as it is.
//
// Queues are not limited in number of messages; the protocol bounds them. A peer can be at most one step
// ahead, since it cannot complete a step without this actor's sums or directions of it. So at most two steps'
// sums, directions and fragments per peer are queued anywhere, each as large as in the formula of README.md.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/exchange/link_carrier.h"
#include "actors/exchange/step_exchange.h"
#include "protocol/base/log.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {

class Poller;

struct ZmqExchangeOptions {
  StepExchangeOptions step;
  // Where peers reach this actor: ipc://PATH. Empty: no sockets and no thread, for a group of one.
  std::string endpoint;
  // The job's secret. A peer whose hello does not carry it is not heard.
  std::string token;
  // Messages taken from the sockets before what waits to be sent is seen to.
  int receive_burst = 64;
  // How long closing waits for what peers have not taken yet: the directions of the last step, without which
  // they cannot complete it. A peer that is alive takes them at once, if its machine is not overloaded.
  int linger_ms = 5000;
  // What groups whose path is NCCL go by; null: there are none.
  const link::Module* nccl = nullptr;
  std::size_t round_bytes = kRoundBytes;  // round_plan.h
};

class ZmqExchange final : public Exchange {
 public:
  // Listens at once, so that peers find this actor when they join.
  static Result<std::unique_ptr<ZmqExchange>> open(ZmqExchangeOptions options);
  ~ZmqExchange() override;

  Status join(const Group& group, const std::function<bool()>& leaves = {}) override;
  void begin_step(std::uint64_t step, bool renews_curvature = false) override;
  void add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                std::span<const float> statistics) override;
  void add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                std::span<const float> statistics) override;
  void add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values) override;
  std::span<float> direction_buffer(std::uint32_t block) override;
  void publish(std::uint32_t block, std::span<const float> direction, const PublishWord& word = {}) override;
  void send(ActorId to, std::uint64_t step,
            const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body) override;
  ExchangeEvent next() override;
  bool has_event() const override;
  std::variant<PeerMessage, Interrupted> next_message(MessageKind kind, std::uint64_t step,
                                                      const std::vector<ActorId>& missing) override;
  std::optional<PeerMessage> take_message(MessageKind kind, std::uint64_t step) override {
    return core_.take_message(kind, step);
  }
  void interrupt(std::string reason) override;
  std::vector<FragmentArrived> take_fragments() override { return core_.take_fragments(); }
  bool interrupted() const override;
  std::vector<ActorId> awaits() const override;
  StepTraffic traffic() const override { return core_.traffic(); }

  ExchangeCounters counters() const { return core_.counters(); }
  // Messages of connections that have not shown the token, or in another's name; since the start.
  std::uint64_t strangers() const { return strangers_.load(); }

 private:
  struct Link {
    std::string endpoint;
    std::unique_ptr<ClientChannel> channel;
    std::uint64_t poll_token = 0;
  };
  // join() hands the members over to the I/O thread and waits for the outcome.
  struct Connect {
    std::vector<Member> peers;
    std::promise<Status> done;
  };

  explicit ZmqExchange(ZmqExchangeOptions options);
  void after_local_work();
  Status reach(const Group& group);
  void forget_interruption(bool carried);
  Status say_identity(const Group& group);
  void link_failed();
  void wake();
  void notify_driver();

  // The I/O thread's.
  void run();
  void serve(Poller& poller);
  void handle_wake(Poller& poller);
  Status connect(const std::vector<Member>& peers, Poller& poller);
  void send_waiting();
  void receive_burst();
  void receive(const ServerChannel::Incoming& incoming);
  void hello(const ServerChannel::Incoming& incoming);
  void drain_answers();
  void report_stranger(const char* why);

  const ZmqExchangeOptions options_;
  StepExchange core_;
  std::shared_ptr<LinkCarrier> carrier_;  // null without options.nccl

  ChannelContext context_;
  UniqueFd wake_fd_;
  std::atomic<bool> wake_pending_{false}, stop_{false};
  std::atomic<std::uint64_t> strangers_{0};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::optional<std::string> interrupted_;
  std::optional<std::string> broken_;   // the I/O thread has ended, and why
  std::vector<ActorId> gathered_from_;  // whom next_message() waits for
  std::unique_ptr<Connect> connect_;

  // The I/O thread's.
  std::unique_ptr<ServerChannel> server_;
  std::map<ActorId, Link> links_;
  std::uint64_t next_poll_token_ = 2;
  std::map<PeerId, ActorId> actor_of_;  // connections that have shown the token
  std::map<ActorId, PeerId> peer_id_of_;
  LogThrottle stranger_throttle_, refusal_throttle_;

  std::thread thread_;
};

}  // namespace seng
