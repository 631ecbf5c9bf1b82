// The actors' connections: lets in who has a token of this daemon, and tells the head what they say.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "daemon/head.h"
#include "daemon/head_context.h"
#include "protocol/channel/channel.h"

namespace seng {

class ActorServer final : public ActorLink {
 public:
  // `channel` outlives it.
  explicit ActorServer(ServerChannel& channel) : channel_(channel) {}
  // Before the first on_readable(); `head` outlives this.
  void serve(Head& head) { head_ = &head; }

  // Takes what is there, up to a bound. Whether there was anything.
  bool on_readable();

  void send(JobId job, ActorId actor, Message message) override;
  void forget(JobId job, ActorId actor) override;

 private:
  using Key = std::pair<JobId, ActorId>;
  void on_hello(const PeerId& peer, const Message& message);
  void ask_hello(const PeerId& peer, const Message& message);
  void refuse(const PeerId& peer, const Message& message, const Error& error);

  ServerChannel& channel_;
  Head* head_ = nullptr;
  std::map<Key, PeerId> peers_;
  std::map<PeerId, Key> actors_;  // the same the other way round
  // Told already that they are not known here. What those said who were asked for their hello is kept until
  // it comes: while no daemon ran they went on, and reported.
  std::map<PeerId, std::vector<Message>> strangers_;
};

}  // namespace seng
