#include "cli/session.h"

namespace seng {
namespace {

constexpr std::string_view kIpc = "ipc://", kSocket = "/sengd.sock";

// As a shell reads it again: in single quotes where it holds more than plain characters.
std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string Surroundings::variable(const std::string& name) const {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

void Session::set_options(std::string address, std::string state_dir) {
  address_ = std::move(address);
  state_dir_ = std::move(state_dir);
}

std::string Session::endpoint() const {
  if (!address_.empty()) return address_;
  const std::string from_environment = surroundings_.variable("SENG_ADDRESS");
  if (state_dir_.empty() && !from_environment.empty()) return from_environment;
  const std::string dir = state_dir();
  return dir.empty() ? "" : std::string(kIpc) + dir + std::string(kSocket);
}

std::string Session::state_dir() const {
  if (!state_dir_.empty()) return state_dir_;
  if (const std::string said = surroundings_.variable("SENG_STATE_DIR"); !said.empty()) return said;
  if (const std::string base = surroundings_.variable("XDG_STATE_HOME"); !base.empty()) return base + "/seng";
  const std::string home = surroundings_.variable("HOME");
  return home.empty() ? "" : home + "/.local/state/seng";
}

Client& Session::client() {
  if (!client_) {
    const std::string address = endpoint();
    // Only a daemon's own socket says which state directory it has.
    std::string dir;
    if (address.starts_with(kIpc) && address.ends_with(kSocket))
      dir = address.substr(kIpc.size(), address.size() - kIpc.size() - kSocket.size());
    client_ = std::make_unique<Client>(address, dir);
  }
  return *client_;
}

std::string Session::again() const {
  std::string out = "sengctl";
  for (const std::string& word : words_) out += " " + shell_quoted(word);
  return out;
}

std::string Session::command_line(std::string_view command) const {
  std::string out = "sengctl " + std::string(command);
  if (!address_.empty()) return out + " --address " + shell_quoted(address_);
  return state_dir_.empty() ? out : out + " --state-dir " + shell_quoted(state_dir_);
}

ExitCode Session::refuse(std::string_view problems) {
  console_.err << problems << "\n";
  return ExitCode::kUsage;
}

ExitCode Session::fail(ExitCode code, std::string_view message) {
  console_.err << "sengctl: " << message << "\n";
  return code;
}

ExitCode Session::fail(const Failure& failure) {
  return fail(exit_code_of(failure), failure.message);
}

}  // namespace seng
