#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/record_values.h"
#include "cli/table.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

Answer<MetricsReply> all_metrics(Session& session, const std::string& job, bool with_steps) {
  MetricsReply all;
  MetricsRequest request;
  request.job = job;
  if (!with_steps) request.limit = 1;  // the epochs come with any answer
  while (true) {
    auto reply = session.client().ask<MetricsReply>(request);
    if (!reply) return tl::unexpected(std::move(reply).error());
    all.epochs = std::move(reply->epochs);
    if (!with_steps) return all;
    for (StepMetrics& step : reply->steps) {
      if (step.step <= request.after_step) continue;
      request.after_step = step.step;
      all.steps.push_back(step);
    }
    if (!reply->more || reply->steps.empty()) return all;
  }
}

Table step_table(const std::vector<StepMetrics>& steps) {
  Table table({{"STEP", true},
               {"EPOCH", true},
               {"LOSS", true},
               {"ACCURACY", true},
               {"LR", true},
               {"DAMPING", true},
               {"RATIO", true},
               {"TRUST", true},
               {"COSINE", true},
               {"SECONDS", true},
               {"REFRESH", true},
               {"SENT", true},
               {"FRAGMENTS", true},
               {"CURVATURE", true}});
  for (const StepMetrics& s : steps) {
    const bool of_maker = s.seconds > 0;  // told by the one who made it
    const auto own = [&](std::uint64_t bytes) { return of_maker ? format_bytes(bytes) : ""; };
    table.add({std::to_string(s.step), fmt::format("{:.3f}", s.epoch), format_loss(s.loss),
               format_percent(s.accuracy), fmt::format("{:.4g}", s.lr), fmt::format("{:.4g}", s.damping),
               s.reduction_ratio == 0 ? "" : fmt::format("{:.3g}", s.reduction_ratio),
               fmt::format("{:.3g}", s.trust_scale), fmt::format("{:.3f}", s.cosine),
               of_maker ? fmt::format("{:.4f}", s.seconds) : "",
               s.refresh_seconds > 0 ? fmt::format("{:.4f}", s.refresh_seconds) : "", own(s.bytes_sent),
               own(s.fragment_bytes_sent), own(s.curvature_bytes)});
  }
  return table;
}

}  // namespace

ExitCode run_metrics(const Arguments& arguments, Session& session) {
  const OutputFormat format = arguments.format();
  const std::string series = arguments.text("series", format == OutputFormat::kTable ? "epoch" : "all");
  if (series != "step" && series != "epoch" && series != "all")
    return session.fail(ExitCode::kUsage,
                        fmt::format("metrics: unknown series \"{}\"{}; expected step, epoch or all", series,
                                    did_you_mean(series, {"step", "epoch", "all"})));
  const bool with_steps = series != "epoch", with_epochs = series != "step";
  const auto metrics = all_metrics(session, arguments.operand(0), with_steps);
  if (!metrics) return session.fail(metrics.error());
  Console& console = session.console();
  if (format != OutputFormat::kTable) {
    Json value = Json::object();
    if (with_steps) value["steps"] = Json::array();
    if (with_epochs) value["epochs"] = Json::array();
    for (const StepMetrics& step : metrics->steps) value["steps"].push_back(step_value(step));
    if (with_epochs) {
      for (const EpochMetrics& epoch : metrics->epochs) value["epochs"].push_back(epoch_value(epoch));
    }
    print_value(console, format, value);
    return ExitCode::kOk;
  }
  if (with_epochs) {
    console.out << colored(console, Color::kBold, epoch_header()) << "\n";
    for (const EpochMetrics& epoch : metrics->epochs) console.out << epoch_row(epoch);
  }
  if (with_steps) {
    if (with_epochs) console.out << "\n";
    step_table(metrics->steps).print(console);
  }
  return ExitCode::kOk;
}

}  // namespace seng
