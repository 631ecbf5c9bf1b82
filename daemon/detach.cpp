#include "daemon/detach.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr char kReady = 'R', kFailed = 'F';
constexpr int kPipe = 3;

// Only the standard streams, on /dev/null, and the pipe as descriptor 3 are left. False: errno says why.
bool leave_terminal(int pipe) {
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return false;
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(null, fd) < 0) return false;
  }
  if (pipe != kPipe && dup2(pipe, kPipe) < 0) return false;
  if (fcntl(kPipe, F_SETFD, FD_CLOEXEC) != 0) return false;
  closefrom(kPipe + 1);
  return true;
}

int wait_for_word(int pipe, const std::function<void(const std::string&)>& print_error) {
  std::string word;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(pipe, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    word.append(buffer, static_cast<std::size_t>(got));
  }
  if (!word.empty() && word[0] == kReady) return 0;
  print_error(word.empty() ? "sengd died while it started" : word.substr(1));
  return 1;
}

}  // namespace

bool fill_standard_streams() {
  for (;;) {
    const int null = open("/dev/null", O_RDWR);
    if (null < 0) return false;
    if (null < 3) continue;
    close(null);
    return true;
  }
}

void Readiness::tell(std::string text) {
  if (!pipe_) return;
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t put = write(pipe_.get(), text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) break;  // the starter has gone; the daemon goes on
    done += static_cast<std::size_t>(put);
  }
  pipe_.reset();
}

void Readiness::ready() {
  tell(std::string(1, kReady));
}
void Readiness::failed(const std::string& why) {
  tell(kFailed + why);
}

int run_detached(const std::function<int(Readiness&)>& body,
                 const std::function<void(const std::string&)>& print_error) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    print_error(errno_error("pipe").message);
    return 1;
  }
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) {
    print_error(errno_error("fork").message);
    return 1;
  }
  if (child > 0) {
    write_end.reset();
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return wait_for_word(read_end.get(), print_error);
  }
  // The middle process leads the new session and ends, so that the daemon can never get a terminal again.
  if (setsid() < 0 || fork() != 0) _exit(0);
  if (!leave_terminal(write_end.get())) _exit(1);
  read_end.release();  // closed with all others, or now standing for something else
  write_end.release();
  if (chdir("/") != 0) _exit(1);
  Readiness readiness{UniqueFd(kPipe)};
  return body(readiness);
}

}  // namespace seng
