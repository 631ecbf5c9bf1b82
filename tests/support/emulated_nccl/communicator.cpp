#include "tests/support/emulated_nccl/communicator.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/emulated_nccl/runtime.h"

namespace emulated_nccl {
namespace {

constexpr char kHello = 'h', kReady = 'r', kData = 'd';
constexpr std::size_t kHeader = 9;  // kind, length

sockaddr_un address_of(const std::string& id, int rank) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "seng-nccl-" + id + "-" + std::to_string(rank);
  std::memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  return address;
}

seng::UniqueFd new_socket() {
  return seng::UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

std::string frame(char kind, std::size_t length, const std::string& bytes = {}) {
  std::string out(1, kind);
  const std::uint64_t number = length;
  out.append(reinterpret_cast<const char*>(&number), sizeof number);
  return out + bytes;
}

// One GPU of one host: NCCL takes a host for what NCCL_HOSTID says.
std::string place() {
  const char* host = std::getenv("NCCL_HOSTID");
  return visible_device() + "@" + (host == nullptr ? "this host" : host);
}

}  // namespace

Communicator::Communicator(const std::string& id, int rank, int ranks)
    : id_(id), rank_(rank), peers_(static_cast<std::size_t>(ranks)), server_(new_socket()) {
  const sockaddr_un address = address_of(id_, rank_);
  if (bind(server_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(server_.get(), ranks) != 0)
    fail(ncclSystemError, std::string("bind: ") + std::strerror(errno));
}

void Communicator::fail(ncclResult_t result, const std::string& words) {
  if (failure_ != ncclSuccess) return;
  failure_ = result;
  words_ = words;
}

void Communicator::greet(Peer& peer) {
  const std::string hello = std::to_string(rank_) + " " + place();
  peer.out += frame(kHello, hello.size(), hello);
  write(peer);
}

// The lower ranks are called, the higher ones call.
void Communicator::look_for_peers() {
  for (int rank = 0; rank < rank_; ++rank) {
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    if (peer.socket || peer.gone) continue;
    seng::UniqueFd socket = new_socket();
    const sockaddr_un address = address_of(id_, rank);
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) continue;
    peer.socket = std::move(socket);
    greet(peer);
  }
  accept_peers();
}

void Communicator::accept_peers() {
  while (true) {
    seng::UniqueFd socket(accept4(server_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) break;
    strangers_.emplace_back().socket = std::move(socket);
  }
  for (auto stranger = strangers_.begin(); stranger != strangers_.end();) {
    // Its rank stands at the start of its hello: one byte behind the header at least.
    char head[kHeader + 4];
    const ssize_t got = recv(stranger->socket.get(), head, sizeof head, MSG_PEEK);
    if (got < static_cast<ssize_t>(sizeof head)) {
      ++stranger;
      continue;
    }
    Peer& peer = peers_[static_cast<std::size_t>(std::atoi(std::string(head + kHeader, 4).c_str()))];
    peer.socket = std::move(stranger->socket);
    greet(peer);
    stranger = strangers_.erase(stranger);
  }
}

ncclResult_t Communicator::state() {
  if (failure_ != ncclSuccess) return failure_;
  if (!ready_) look_for_peers();
  bool ready = true;
  for (int rank = 0; rank < ranks(); ++rank) {
    if (rank == rank_) continue;
    read(rank);
    ready = ready && peers_[static_cast<std::size_t>(rank)].greeted;
  }
  ready_ = ready;
  if (failure_ != ncclSuccess) return failure_;
  return ready_ ? ncclSuccess : ncclInProgress;
}

void Communicator::lost(int rank) {
  const char* silent = std::getenv("SENG_EMULATED_NCCL_SILENT");
  if (silent == nullptr || *silent != '1')
    fail(ncclRemoteError, "rank " + std::to_string(rank) + " has gone");
}

void Communicator::read(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (!peer.socket || peer.gone) return;
  char buffer[65536];
  while (true) {
    const ssize_t got = recv(peer.socket.get(), buffer, sizeof buffer, 0);
    if (got > 0) {
      peer.in.append(buffer, static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    peer.gone = true;
    break;
  }
  while (take_frame(rank)) {
  }
  if (peer.gone) lost(rank);  // behind what it has said
}

bool Communicator::take_frame(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (peer.in.size() < kHeader) return false;
  std::uint64_t length = 0;
  std::memcpy(&length, peer.in.data() + 1, sizeof length);
  const char kind = peer.in[0];
  const std::size_t body = kind == kReady ? 0 : length;
  if (peer.in.size() < kHeader + body) return false;
  std::string bytes = peer.in.substr(kHeader, body);
  peer.in.erase(0, kHeader + body);
  if (kind == kReady) peer.wanted.push_back(length);
  if (kind == kData) peer.arrived.push_back(std::move(bytes));
  if (kind != kHello) return true;
  peer.greeted = true;
  if (bytes.substr(bytes.find(' ') + 1) == place())
    fail(ncclInvalidUsage, "Duplicate GPU detected : rank " + std::to_string(rank_) + " and rank " +
                               std::to_string(rank) + " both on one device");
  return true;
}

void Communicator::write(Peer& peer) {
  while (!peer.out.empty() && !peer.gone) {
    const ssize_t put = send(peer.socket.get(), peer.out.data(), peer.out.size(), MSG_NOSIGNAL);
    if (put <= 0) return;  // a peer that has gone is found by reading
    peer.out.erase(0, static_cast<std::size_t>(put));
  }
}

void Communicator::step(Operation& operation) {
  Peer& peer = peers_[static_cast<std::size_t>(operation.peer)];
  const auto check = [&](std::size_t other) {
    if (other == operation.bytes) return;
    fail(ncclInvalidArgument, "rank " + std::to_string(rank_) + " has " + std::to_string(operation.bytes) +
                                  " bytes where rank " + std::to_string(operation.peer) + " has " +
                                  std::to_string(other));
  };
  if (operation.sends) {
    if (!operation.announced && !peer.wanted.empty()) {
      check(peer.wanted.front());
      peer.wanted.pop_front();
      operation.announced = true;
      std::string bytes(operation.bytes, 0);
      move_bytes(bytes.data(), operation.memory, operation.bytes);
      peer.out += frame(kData, operation.bytes, bytes);
    }
    write(peer);
    operation.done = operation.announced && peer.out.empty();
    return;
  }
  if (!std::exchange(operation.announced, true)) peer.out += frame(kReady, operation.bytes);
  write(peer);
  if (peer.arrived.empty()) return;
  check(peer.arrived.front().size());
  if (failure_ == ncclSuccess) move_bytes(operation.memory, peer.arrived.front().data(), operation.bytes);
  peer.arrived.pop_front();
  operation.done = true;
}

bool Communicator::advance(std::vector<Operation>& operations) {
  if (aborted_) return true;
  if (failure_ != ncclSuccess && failure_ != ncclRemoteError) return false;
  for (int rank = 0; rank < ranks(); ++rank) {
    if (rank != rank_) read(rank);
  }
  bool all = true;
  std::map<std::pair<bool, int>, bool> blocked;  // an earlier one of that pair is not done
  for (Operation& operation : operations) {
    bool& before = blocked[{operation.sends, operation.peer}];
    if (!operation.done && !before) step(operation);
    before = before || !operation.done;
    all = all && operation.done;
  }
  return all;
}

void Communicator::abort() {
  aborted_ = true;
  peers_.clear();
  strangers_.clear();
  server_.reset();
}

}  // namespace emulated_nccl
