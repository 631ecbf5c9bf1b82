// Members of a group as processes of their own, forked from the test.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/ids.h"
#include "protocol/base/unique_fd.h"

namespace seng::testing {

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  UniqueFd out, in;
};

// What the members of a test, which know nothing of each other but the exchange, agree on through their
// parent: `gates` places where all wait until all have come.
class Meeting {
 public:
  explicit Meeting(std::size_t gates) : opened_(gates) {}

  // A member's.
  void arrive() { EXPECT_EQ(write(come_.in.get(), "c", 1), 1); }
  void pass(std::size_t gate) {
    char byte;
    opened_[gate].in.reset();
    EXPECT_EQ(read(opened_[gate].out.get(), &byte, 1), 0);  // the parent has closed it
  }
  void wait(std::size_t gate) {
    arrive();
    pass(gate);
  }
  // The parent's: opens one gate after another, each when so many have arrived.
  void open(const std::vector<int>& arrivals) {
    come_.in.reset();
    for (std::size_t gate = 0; gate < opened_.size(); ++gate) {
      char byte;
      for (int i = 0; i < arrivals[gate]; ++i) {
        if (read(come_.out.get(), &byte, 1) != 1) break;  // somebody has ended before its time
      }
      opened_[gate].in.reset();
    }
  }

 private:
  Pipe come_;
  std::vector<Pipe> opened_;
};

inline constexpr int kFailedMember = 1;  // the exit code of one in which an expectation was not met

// Waits for the children, in order of their ends; when one has failed the others, which may wait for it for
// ever, are killed.
inline std::vector<int> codes_of(const std::vector<pid_t>& children) {
  std::map<pid_t, int> codes;
  while (codes.size() < children.size()) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, 0);
    if (std::find(children.begin(), children.end(), ended) == children.end()) continue;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    codes[ended] = code;
    if (code != kFailedMember && !WIFSIGNALED(status)) continue;
    for (const pid_t child : children)
      if (!codes.contains(child)) kill(child, SIGKILL);
  }
  std::vector<int> in_order;
  for (const pid_t child : children) in_order.push_back(codes.at(child));
  return in_order;
}

// Runs body(actor) in a process per member, and the parent's part beside them. Their exit codes.
inline std::vector<int> in_processes(std::size_t members, const std::function<void(ActorId)>& body,
                                     const std::function<void()>& parent) {
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < members; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      body(static_cast<ActorId>(i));
      _exit(::testing::Test::HasFailure() ? kFailedMember : 0);
    }
    children.push_back(child);
  }
  std::vector<int> codes;
  std::thread waiting([&] { codes = codes_of(children); });
  parent();
  waiting.join();
  return codes;
}

inline std::vector<int> all_well(std::size_t members) {
  return std::vector<int>(members, 0);
}

}  // namespace seng::testing
