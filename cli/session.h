// What a command works with: the console, its surroundings, and sengd.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/client.h"
#include "cli/console.h"
#include "protocol/base/error.h"

namespace seng {

// What sengctl takes from the process it runs as; tests make their own.
struct Surroundings {
  std::map<std::string, std::string> environment;
  std::string working_directory;
  std::string binary_directory;  // where sengctl lies, and seng-actor beside it

  std::string variable(const std::string& name) const;  // empty if it is not set
};

class Session {
 public:
  Session(Console& console, const Surroundings& surroundings)
      : console_(console), surroundings_(surroundings) {}

  Console& console() { return console_; }
  const Surroundings& surroundings() const { return surroundings_; }

  // What --address and --state-dir said; empty where they were not given.
  void set_options(std::string address, std::string state_dir);
  // --address, else DIR/sengd.sock of --state-dir, else SENG_ADDRESS, else that of state_dir(); empty
  // without.
  std::string endpoint() const;
  // --state-dir, else SENG_STATE_DIR, else $XDG_STATE_HOME/seng, else ~/.local/state/seng; empty
  // without HOME.
  std::string state_dir() const;
  Client& client();

  // The words of the command line, for again().
  void set_words(std::vector<std::string> words) { words_ = std::move(words); }
  // The command line as it was typed, for a shell: what was detached goes on with it.
  std::string again() const;
  // "sengctl watch 3 --state-dir DIR": a command that reaches the same daemon.
  std::string command_line(std::string_view command) const;

  // Writes the problems of a job as they are, "FILE:LINE:COL: ...", and returns kUsage.
  ExitCode refuse(std::string_view problems);
  // Writes "sengctl: message" as talk and returns the code.
  ExitCode fail(ExitCode code, std::string_view message);
  ExitCode fail(const Failure& failure);

 private:
  Console& console_;
  const Surroundings& surroundings_;
  std::vector<std::string> words_;
  std::string address_, state_dir_;
  std::unique_ptr<Client> client_;
};

}  // namespace seng
