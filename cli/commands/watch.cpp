#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/record_values.h"

namespace seng {

ExitCode run_watch(const Arguments& arguments, Session& session) {
  const OutputFormat format = arguments.format();
  Console& console = session.console();
  FollowOptions options;
  if (format != OutputFormat::kTable) {
    options.come_back = session.again();
    // A stream of the job's states: JSON one a line, YAML one a document.
    options.display.progress = options.display.epochs = false;
    options.on_change = [&](const JobRecord& job) {
      if (format == OutputFormat::kYaml) {
        console.out << "---\n" << yaml_text(job_value(job));
      } else {
        console.out << job_value(job).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
                    << "\n";
      }
      console.out.flush();
    };
  }
  const auto followed = follow(session, arguments.operand(0), options);
  if (!followed) return followed.error();
  if (format == OutputFormat::kTable) print_result(session, followed->job, format);
  return exit_code_of(followed->job.state);
}

}  // namespace seng
