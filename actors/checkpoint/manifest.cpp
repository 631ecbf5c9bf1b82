#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "actors/checkpoint/checkpoint.h"
#include "actors/checkpoint/directory.h"
#include "actors/checkpoint/strict_json.h"

namespace seng {
namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kMaxFiles = 65536;
constexpr std::size_t kMaxNameBytes = 255;

// A name that stays in the checkpoint's own directory.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name[0] != '.' && name != kManifestName &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c > ' ' && c < 127 && c != '/'; });
}

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

Status take_digest(const JsonFields& fields, const char* name, std::string* out) {
  auto text = fields.text(name);
  if (!text) return fail(text.error());
  if (!is_digest(*text))
    return fail(fields.wrong(name, "64 lower-case hexadecimal digits, found " + in_quotes(*text)));
  *out = *text;
  return {};
}

Status take_whole(const JsonFields& fields, const char* name, std::uint64_t* out) {
  auto value = fields.whole(name);
  if (!value) return fail(value.error());
  *out = *value;
  return {};
}

Result<ManifestFile> parse_file(const nlohmann::json& value, const std::string& where) {
  auto fields = JsonFields::open(value, where);
  if (!fields) return fail(fields.error());
  SENG_TRY(fields->only({"name", "bytes", "sha256"}));
  ManifestFile file;
  auto name = fields->text("name");
  if (!name) return fail(name.error());
  if (!is_plain_name(*name))
    return fail(fields->wrong("name", "a file's name without a directory, found " + in_quotes(*name)));
  file.name = std::move(*name);
  SENG_TRY(take_whole(*fields, "bytes", &file.bytes));
  SENG_TRY(take_digest(*fields, "sha256", &file.sha256));
  return file;
}

Status take_files(const JsonFields& fields, const std::string& source, std::vector<ManifestFile>* files) {
  auto list = fields.field("files");
  if (!list) return fail(list.error());
  if (!(*list)->is_array() || (*list)->size() > kMaxFiles) {
    return fail(fields.wrong("files", fmt::format("a list of at most {} files", kMaxFiles)));
  }
  std::set<std::string> names;
  for (const nlohmann::json& value : **list) {
    auto file = parse_file(value, fmt::format("{}: files[{}]", source, files->size()));
    if (!file) return fail(file.error());
    if (!names.insert(file->name).second) {
      return fail(fields.wrong("files", "each file once, found " + in_quotes(file->name) + " twice"));
    }
    files->push_back(std::move(*file));
  }
  return {};
}

Status take_epoch_so_far(const JsonFields& fields, const std::string& source, EpochSoFar* out) {
  if (!fields.has("epoch_so_far")) return {};
  auto inner = JsonFields::open(**fields.field("epoch_so_far"), source + ": epoch_so_far");
  if (!inner) return fail(inner.error());
  SENG_TRY(inner->only({"steps", "loss", "accuracy"}));
  SENG_TRY(take_whole(*inner, "steps", &out->steps));
  for (auto [name, value] : {std::pair{"loss", &out->loss}, std::pair{"accuracy", &out->accuracy}}) {
    auto number = inner->number(name);
    if (!number) return fail(number.error());
    *value = *number;
  }
  return {};
}

Status take_damping(const JsonFields& fields, const std::string& source, std::optional<SavedDamping>* out) {
  if (!fields.has("damping")) return {};
  auto inner = JsonFields::open(**fields.field("damping"), source + ": damping");
  if (!inner) return fail(inner.error());
  SENG_TRY(inner->only({"lambda", "predicted", "loss"}));
  SavedDamping& damping = out->emplace();
  for (auto [name, value] : {std::pair{"lambda", &damping.lambda}, std::pair{"predicted", &damping.predicted},
                             std::pair{"loss", &damping.loss}}) {
    auto number = inner->number(name);
    if (!number) return fail(number.error());
    *value = *number;
  }
  if (!(damping.lambda > 0) || !(damping.predicted <= 0))
    return fail(ErrorCode::kCorrupt,
                source + ": damping: expected a lambda above 0 and a predicted change of at most 0");
  return {};
}

Status take_loss_scale(const JsonFields& fields, const std::string& source,
                       std::optional<SavedLossScale>* out) {
  if (!fields.has("loss_scale")) return {};
  auto inner = JsonFields::open(**fields.field("loss_scale"), source + ": loss_scale");
  if (!inner) return fail(inner.error());
  SENG_TRY(inner->only({"scale", "good_steps"}));
  SavedLossScale& saved = out->emplace();
  auto scale = inner->number("scale");
  if (!scale) return fail(scale.error());
  saved.scale = *scale;
  SENG_TRY(take_whole(*inner, "good_steps", &saved.good_steps));
  int exponent = 0;
  if (!(saved.scale >= 1) || std::frexp(saved.scale, &exponent) != 0.5)
    return fail(ErrorCode::kCorrupt, source + ": loss_scale: expected a scale that is a power of two");
  return {};
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  nlohmann::ordered_json json;
  json["format"] = manifest.format;
  json["step"] = manifest.step;
  json["sample_position"] = manifest.sample_position;
  json["weights_sha256"] = manifest.weights_sha256;
  json["state_sha256"] = manifest.state_sha256;
  json["spec"] = manifest.spec_yaml;
  const EpochSoFar& epoch = manifest.epoch_so_far;
  if (epoch.steps > 0)
    json["epoch_so_far"] = {{"steps", epoch.steps}, {"loss", epoch.loss}, {"accuracy", epoch.accuracy}};
  if (const auto& damping = manifest.damping)
    json["damping"] = {
        {"lambda", damping->lambda}, {"predicted", damping->predicted}, {"loss", damping->loss}};
  if (const auto& saved = manifest.loss_scale)
    json["loss_scale"] = {{"scale", saved->scale}, {"good_steps", saved->good_steps}};
  json["files"] = nlohmann::ordered_json::array();
  for (const ManifestFile& file : manifest.files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Result<Manifest> parse_manifest(const std::string& json, const std::string& source) {
  auto parsed = parse_strict_json(json, source);
  if (!parsed) return fail(parsed.error());
  auto fields = JsonFields::open(*parsed, source);
  if (!fields) return fail(fields.error());
  auto format = fields->whole("format");
  if (!format) return fail(format.error());
  if (*format != kFormat) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: format {}, written by a newer version; this one reads {}", source, *format,
                            kFormat));
  }
  SENG_TRY(fields->only({"format", "step", "sample_position", "weights_sha256", "state_sha256", "spec",
                         "epoch_so_far", "damping", "loss_scale", "files"}));
  Manifest manifest;
  SENG_TRY(take_whole(*fields, "step", &manifest.step));
  SENG_TRY(take_whole(*fields, "sample_position", &manifest.sample_position));
  SENG_TRY(take_digest(*fields, "weights_sha256", &manifest.weights_sha256));
  SENG_TRY(take_digest(*fields, "state_sha256", &manifest.state_sha256));
  auto spec = fields->text("spec");
  if (!spec) return fail(spec.error());
  manifest.spec_yaml = std::move(*spec);
  SENG_TRY(take_epoch_so_far(*fields, source, &manifest.epoch_so_far));
  SENG_TRY(take_damping(*fields, source, &manifest.damping));
  SENG_TRY(take_loss_scale(*fields, source, &manifest.loss_scale));
  SENG_TRY(take_files(*fields, source, &manifest.files));
  return manifest;
}

}  // namespace seng
