// Times pulling a blob from one holder and from two over loopback TCP and ipc, beside raw loopback TCP (plain
// sockets, writes of 1 MiB, one sending and one receiving thread; the receiver hashes what it receives, as a
// fetch does), and beside what ZeroMQ gives at best: messages of 1 MiB that are sent from the blob's own
// memory and hashed where ZeroMQ has put them, copied by neither side. Rounds alternate; each round's ratio
// is to the raw figure just before it, the medians are printed. Every round is a new offer, so the holder
// hashes too.
//
//   state_bench [MiB = 512] [rounds = 7] [window = 6]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/state/blob_fetch.h"
#include "actors/state/blob_server.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/state.h"

namespace {

using namespace seng;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "state_bench: %s\n", why.c_str());
  std::exit(1);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double best(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

struct Sample {
  double gigabytes_per_second = 0, cpu_seconds_per_gigabyte = 0;
};

class Bench {
 public:
  Bench(std::size_t bytes, std::size_t window) : from_(bytes), into_(bytes), window_(window) {
    for (std::size_t i = 0; i < bytes; ++i) from_[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    std::fill(into_.begin(), into_.end(), std::byte{1});  // its pages are there
  }

  Sample raw() {
    return timed([&] {
      int pair[2];
      connect_pair(pair);
      std::thread sender([&] {
        for (std::size_t at = 0; at < from_.size();) {
          const ssize_t sent =
              send(pair[0], &from_[at], std::min<std::size_t>(1 << 20, from_.size() - at), 0);
          if (sent <= 0) give_up("send failed");
          at += static_cast<std::size_t>(sent);
        }
      });
      for (std::size_t piece = 0; piece < piece_count(into_.size()); ++piece) {
        const auto bytes = piece_of(std::span<std::byte>(into_), piece);
        if (recv(pair[1], bytes.data(), bytes.size(), MSG_WAITALL) != static_cast<ssize_t>(bytes.size()))
          give_up("recv failed");
        sink_ += hash_piece(bytes).low;
      }
      sender.join();
      close(pair[0]);
      close(pair[1]);
    });
  }

  Sample fetch(const std::vector<BlobServer*>& servers) {
    ++epoch_.counter;
    for (BlobServer* server : servers) server->offer(epoch_, {{"weights", 1, from_}});
    std::memset(into_.data(), 0, 1);
    const Sample sample = timed([&] {
      FetchOptions options;
      options.epoch = epoch_;
      options.token = "token";
      options.window = window_;
      BlobWant want{"weights", 1, into_, {}};
      for (BlobServer* server : servers) {
        want.holders.push_back(options.endpoints.size());
        options.endpoints.push_back(server->endpoint());
      }
      BlobFetch fetch(options, {want});
      const auto stats = fetch.run();
      if (!stats) give_up(stats.error().message);
    });
    if (std::memcmp(into_.data(), from_.data(), into_.size()) != 0) give_up("the bytes differ");
    for (BlobServer* server : servers) server->withdraw();
    return sample;
  }

  Sample bare_messages(const std::string& endpoint) {
    ChannelContext context, context_of_server;
    auto server = bind_server(context_of_server, endpoint, {.linger_ms = 0});
    if (!server) give_up(server.error().message);
    auto client = connect_client(context, (*server)->endpoint(), {.linger_ms = 0});
    if (!client) give_up(client.error().message);
    const std::size_t pieces = piece_count(from_.size());
    const auto nobody = std::make_shared<int>(0);  // owns from_, which outlives the messages
    return timed([&] {
      std::thread sender([&] {
        Poller poller;
        poller.watch(**server, 0);
        for (std::size_t sent = 0; sent < pieces;) {
          if (!poller.wait(-1)) give_up("poll failed");
          while (const auto asked = (*server)->try_receive()) {
            const auto bytes = piece_of(std::span<std::byte>(from_), sent++);
            if (!(*server)->send(asked->from,
                                 make_message({}, BlobChunk{}, {Frame(nobody, bytes.data(), bytes.size())})))
              give_up("send failed");
          }
        }
      });
      const auto ask = [&] { (void)(*client)->send(make_message({}, BlobRequest{})); };
      for (std::size_t i = 0; i < std::min(window_, pieces); ++i) ask();
      Poller poller;
      poller.watch(**client, 0);
      for (std::size_t here = 0; here < pieces;) {
        if (!poller.wait(-1)) give_up("poll failed");
        while (const auto message = (*client)->try_receive()) {
          if (++here + window_ <= pieces) ask();
          sink_ += hash_piece(message->payload.front().bytes()).low;
        }
      }
      sender.join();
    });
  }

  std::uint64_t sink() const { return sink_; }

 private:
  Sample timed(const std::function<void()>& work) const {
    const double cpu = cpu_seconds(), start = now();
    work();
    const double seconds = now() - start, gigabytes = static_cast<double>(from_.size()) / 1e9;
    return {gigabytes / seconds, (cpu_seconds() - cpu) / gigabytes};
  }

  static void connect_pair(int (&pair)[2]) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener, any, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, any, &size) != 0 || connect(pair[0], any, size) != 0 ||
        (pair[1] = accept(listener, nullptr, nullptr)) < 0) {
      give_up("cannot connect to myself");
    }
    close(listener);
  }

  std::vector<std::byte> from_, into_;
  const std::size_t window_;
  GroupEpoch epoch_{1, 0};
  std::uint64_t sink_ = 0;
};

std::unique_ptr<BlobServer> open_server(const std::string& endpoint) {
  BlobServerOptions options;
  options.endpoint = endpoint;
  options.token = "token";
  auto server = BlobServer::open(options);
  if (!server) give_up(server.error().message);
  return *std::move(server);
}

}  // namespace

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // as seng-actor does
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const auto argument = [&](int i, int otherwise) {
    return argc > i ? std::max(1, std::atoi(argv[i])) : otherwise;
  };
  const std::size_t mebibytes = static_cast<std::size_t>(argument(1, 512));
  const int rounds = argument(2, 7);
  Bench bench(mebibytes << 20, static_cast<std::size_t>(argument(3, 6)));

  char directory[] = "/tmp/seng-state-bench-XXXXXX";
  if (!mkdtemp(directory)) give_up("cannot make a directory");
  const auto tcp = open_server("tcp://127.0.0.1:*"), tcp2 = open_server("tcp://127.0.0.1:*");
  const auto ipc = open_server(std::string("ipc://") + directory + "/a");
  const std::string at_ipc = std::string("ipc://") + directory + "/b";
  const std::vector<std::pair<const char*, std::function<Sample()>>> ways = {
      {"bare ZeroMQ, tcp", [&] { return bench.bare_messages("tcp://127.0.0.1:*"); }},
      {"blob, tcp", [&] { return bench.fetch({tcp.get()}); }},
      {"bare ZeroMQ, ipc", [&] { return bench.bare_messages(at_ipc); }},
      {"blob, ipc", [&] { return bench.fetch({ipc.get()}); }},
      {"blob, tcp, 2 holders", [&] {
         return bench.fetch({tcp.get(), tcp2.get()});
       }}};

  bench.raw();
  std::vector<double> raw_speed, raw_cpu;
  std::vector<std::vector<double>> speed(ways.size()), ratio(ways.size()), cpu(ways.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const Sample raw = bench.raw(), blob = ways[i].second();
      raw_speed.push_back(raw.gigabytes_per_second);
      raw_cpu.push_back(raw.cpu_seconds_per_gigabyte);
      speed[i].push_back(blob.gigabytes_per_second);
      cpu[i].push_back(blob.cpu_seconds_per_gigabyte);
      ratio[i].push_back(blob.gigabytes_per_second / raw.gigabytes_per_second);
    }
  }
  std::printf(
      "%zu MiB, %d rounds; medians, and the best round, which a busy machine disturbs least\n%-22s %8s %8s "
      "%10s %10s\n",
      mebibytes, rounds, "", "GB/s", "of raw", "best GB/s", "CPU s/GB");
  std::printf("%-22s %8.2f %8s %10.2f %10.3f\n", "raw loopback TCP", median(raw_speed), "1", best(raw_speed),
              median(raw_cpu));
  for (std::size_t i = 0; i < ways.size(); ++i) {
    std::printf("%-22s %8.2f %8.2f %10.2f %10.3f\n", ways[i].first, median(speed[i]), median(ratio[i]),
                best(speed[i]), median(cpu[i]));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("page faults %ld, of %ld pages moved\n", usage.ru_minflt,
              static_cast<long>(mebibytes) * 256 * rounds * static_cast<long>(ways.size()) * 2);
  std::filesystem::remove_all(directory);
  return bench.sink() == 1 ? 2 : 0;
}
