#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/record_values.h"
#include "cli/resume.h"
#include "cli/text_format.h"
#include "protocol/base/file.h"
#include "protocol/base/sha256.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

constexpr const char* kModelFile = "model.safetensors";
constexpr std::size_t kMostManifestBytes = std::size_t{64} << 20;

struct Expected {
  std::uint64_t bytes = 0;
  std::string sha256;
};

// What the checkpoint's manifest says of the model's file.
Result<Expected> read_manifest(const std::string& checkpoint) {
  const std::string path = checkpoint + "/manifest.json";
  const auto text = read_file(path, kMostManifestBytes);
  if (!text) return fail(text.error());
  const auto manifest = parsed_value(*text);
  const auto files = manifest.is_object() ? manifest.find("files") : manifest.end();
  if (!manifest.is_object() || files == manifest.end() || !files->is_array())
    return fail(ErrorCode::kCorrupt, path + ": no list \"files\"; the checkpoint is damaged");
  for (const auto& file : *files) {
    if (!file.is_object() || file.value("name", nlohmann::ordered_json()) != kModelFile) continue;
    const auto bytes = file.find("bytes"), sha256 = file.find("sha256");
    if (bytes == file.end() || !bytes->is_number_unsigned() || sha256 == file.end() || !sha256->is_string())
      break;
    return Expected{bytes->get<std::uint64_t>(), sha256->get<std::string>()};
  }
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: no size and hash of {}; the checkpoint is damaged", path, kModelFile));
}

std::string directory_of(const std::string& file) {
  const std::string parent = std::filesystem::path(file).parent_path();
  return parent.empty() ? "." : parent;
}

// A file beside the destination that is gone again unless it was kept.
class Aside {
 public:
  static Result<Aside> open(const std::string& destination) {
    std::string path = destination + ".XXXXXX";
    UniqueFd fd(mkostemp(path.data(), O_CLOEXEC));
    if (!fd) return fail(errno_error("cannot write into " + directory_of(destination)));
    return Aside(std::move(path), std::move(fd));
  }
  Aside(Aside&&) = default;
  Aside& operator=(Aside&&) = delete;
  ~Aside() {
    if (fd_) unlink(path_.c_str());
  }

  Status write(const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t n = ::write(fd_.get(), data, size);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail(errno_error("cannot write " + path_));
      data += n;
      size -= static_cast<std::size_t>(n);
    }
    return {};
  }

  // Synced, readable as the user's umask has it, in the place of `destination`.
  Status keep_as(const std::string& destination, bool replace) {
    const mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd_.get(), 0666 & ~mask) != 0 || fsync(fd_.get()) != 0)
      return fail(errno_error("cannot finish " + path_));
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, destination.c_str(), flags) != 0) {
      if (errno == EEXIST) return fail(ErrorCode::kExists, destination + " exists; --force replaces it");
      return fail(errno_error("cannot rename to " + destination));
    }
    fd_.reset();
    return sync_dir(directory_of(destination));
  }

 private:
  Aside(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string path_;
  UniqueFd fd_;
};

// The bytes that are hashed are the bytes that are written.
Status copy_verified(const std::string& source, const Expected& expected, const std::string& destination,
                     bool replace) {
  const UniqueFd in(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return fail(errno_error("cannot open " + source));
  auto out = Aside::open(destination);
  if (!out) return fail(out.error());
  Sha256 hash;
  std::uint64_t bytes = 0;
  std::string buffer(1 << 20, '\0');
  while (true) {
    const ssize_t n = read(in.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error("cannot read " + source));
    if (n == 0) break;
    hash.update(buffer.data(), static_cast<std::size_t>(n));
    bytes += static_cast<std::uint64_t>(n);
    SENG_TRY(out->write(buffer.data(), static_cast<std::size_t>(n)));
  }
  const std::string found = to_hex(hash.finish());
  if (bytes != expected.bytes || found != expected.sha256)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes with SHA-256 {}, where the manifest says {} bytes with {}; "
                            "the checkpoint is damaged, nothing was written",
                            source, bytes, found, expected.bytes, expected.sha256));
  return out->keep_as(destination, replace);
}

// Where FILE is written: what a link points to, never in the place of a device, a FIFO or a directory.
Result<std::string> destination_of(const std::string& file, bool replace) {
  struct stat there;
  if (stat(file.c_str(), &there) != 0) {
    if (errno != ENOENT) return fail(errno_error("cannot write " + file));
    if (lstat(file.c_str(), &there) == 0)
      return fail(ErrorCode::kExists, file + " is a link to nothing; remove it or name another file");
    return file;
  }
  if (!S_ISREG(there.st_mode)) {
    const char* what = S_ISDIR(there.st_mode) ? "a directory" : "no regular file";
    return fail(ErrorCode::kExists,
                fmt::format("{} is {}; expected the name of a file to write", file, what));
  }
  if (!replace) return fail(ErrorCode::kExists, file + " exists; --force replaces it");
  std::error_code error;
  const auto path = std::filesystem::canonical(file, error);
  if (error) return fail(ErrorCode::kIo, fmt::format("cannot follow {}: {}", file, error.message()));
  return path.string();
}

struct Source {
  std::string checkpoint;
  JobId job = 0;       // 0: a directory was named
  std::string of_job;  // for people
};

tl::expected<Source, ExitCode> find_source(const std::string& from, Session& session) {
  if (names_directory(from)) {
    auto checkpoint = checkpoint_in(from, session);
    if (checkpoint) return Source{*std::move(checkpoint), 0, ""};
    return tl::unexpected(session.fail(ExitCode::kFailed, checkpoint.error().message));
  }
  const auto reply = session.client().ask<DescribeReply>(DescribeRequest{from});
  if (!reply) return tl::unexpected(session.fail(reply.error()));
  const JobRecord& job = reply->job;
  if (!job.checkpoint.empty())
    return Source{job.checkpoint, job.id, fmt::format("of job {} ({}) ", job.id, job.name)};
  if (is_terminal(job.state))
    return tl::unexpected(
        session.fail(ExitCode::kFailed, fmt::format("job {} ({}) has no checkpoint: it {} at step {}", job.id,
                                                    job.name, state_words(job.state), job.step)));
  return tl::unexpected(session.fail(
      ExitCode::kFailed,
      fmt::format("job {} ({}) has no checkpoint yet: it {} at step {}; checkpoint.every_steps says "
                  "when one is written, and the end writes one",
                  job.id, job.name, state_words(job.state), job.step)));
}

}  // namespace

ExitCode run_export(const Arguments& arguments, Session& session) {
  if (arguments.has("to") && arguments.has("output"))
    return session.fail(ExitCode::kUsage, "export: --to is --output by another name; give one");
  const std::string file = arguments.text("output", arguments.text("to"));
  if (file.empty()) return session.fail(ExitCode::kUsage, "export: --output FILE is missing");
  const bool replace = arguments.has("force");
  const auto destination = destination_of(file, replace);
  if (!destination) return session.fail(ExitCode::kFailed, destination.error().message);
  const auto source = find_source(arguments.operand(0), session);
  if (!source) return source.error();
  const auto expected = read_manifest(source->checkpoint);
  if (!expected) return session.fail(ExitCode::kFailed, expected.error().message);
  const Status copied =
      copy_verified(source->checkpoint + "/" + kModelFile, *expected, *destination, replace);
  if (!copied) return session.fail(ExitCode::kFailed, copied.error().message);
  session.console().err << fmt::format("{}: {}, SHA-256 {}, {}from {}\n", file, format_bytes(expected->bytes),
                                       expected->sha256, source->of_job, source->checkpoint);
  if (arguments.format() != OutputFormat::kTable)
    print_value(session.console(), arguments.format(),
                {{"file", file},
                 {"bytes", expected->bytes},
                 {"sha256", expected->sha256},
                 {"job", source->job == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(source->job)},
                 {"checkpoint", source->checkpoint}});
  return ExitCode::kOk;
}

}  // namespace seng
