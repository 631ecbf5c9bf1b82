#include "actors/checkpoint/strict_json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace seng {

using nlohmann::json;

std::string in_quotes(const std::string& text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

Result<json> parse_strict_json(std::string_view text, const std::string& source) {
  std::vector<std::set<std::string>> open;  // the keys met in each object that is not closed
  std::string duplicate;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end) open.pop_back();
    if (event == json::parse_event_t::key && duplicate.empty()) {
      if (!open.back().insert(parsed.get<std::string>()).second)
        duplicate = in_quotes(parsed.get<std::string>());
    }
    return true;
  };
  try {
    json value = json::parse(text, watch);
    if (!duplicate.empty())
      return fail(ErrorCode::kCorrupt, source + ": key " + duplicate + " appears twice");
    return value;
  } catch (const json::exception& error) {
    return fail(ErrorCode::kCorrupt, source + ": not JSON: " + error.what());
  }
}

Result<JsonFields> JsonFields::open(const json& object, std::string where) {
  if (!object.is_object()) {
    return fail(ErrorCode::kCorrupt, where + ": expected an object, found " + object.type_name());
  }
  return JsonFields(object, std::move(where));
}

Error JsonFields::wrong(const char* name, const std::string& expected) const {
  return {ErrorCode::kCorrupt, where_ + ": " + name + ": expected " + expected};
}

Result<const json*> JsonFields::field(const char* name) const {
  const auto found = object_->find(name);
  if (found == object_->end()) return fail(ErrorCode::kCorrupt, where_ + ": " + name + " is missing");
  return &*found;
}

Result<std::string> JsonFields::text(const char* name) const {
  auto value = field(name);
  if (!value) return fail(value.error());
  if (!(*value)->is_string()) return fail(wrong(name, std::string("text, found ") + (*value)->type_name()));
  return (*value)->get<std::string>();
}

Result<std::uint64_t> JsonFields::whole(const char* name) const {
  auto value = field(name);
  if (!value) return fail(value.error());
  if (!(*value)->is_number_unsigned())
    return fail(wrong(name, "a whole number from 0, found " + (*value)->dump()));
  return (*value)->get<std::uint64_t>();
}

Result<double> JsonFields::number(const char* name) const {
  auto value = field(name);
  if (!value) return fail(value.error());
  if (!(*value)->is_number() || !std::isfinite((*value)->get<double>()))
    return fail(wrong(name, "a finite number, found " + (*value)->dump()));
  return (*value)->get<double>();
}

Status JsonFields::only(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : object_->items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return fail(ErrorCode::kCorrupt, where_ + ": unknown field " + in_quotes(name));
    }
  }
  return {};
}

}  // namespace seng
