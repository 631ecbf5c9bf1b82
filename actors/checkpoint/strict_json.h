// JSON from files, taken strictly: no duplicate keys, every error with the file and the field.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "protocol/base/error.h"

namespace seng {

// kCorrupt: not JSON, not UTF-8, or a key that appears twice in one object.
Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string& source);

// "\"name\"" with everything that is not printable escaped, for messages.
std::string in_quotes(const std::string& text);

// The fields of one object. Each reader names source and field in its error.
class JsonFields {
 public:
  // `where` leads the messages, for example "manifest.json: files[2]". The object must outlive it.
  static Result<JsonFields> open(const nlohmann::json& object, std::string where);

  bool has(const char* name) const { return object_->contains(name); }
  Result<const nlohmann::json*> field(const char* name) const;
  Result<std::string> text(const char* name) const;
  Result<std::uint64_t> whole(const char* name) const;
  Result<double> number(const char* name) const;  // finite
  // An error if there is a field that is not listed.
  Status only(std::initializer_list<std::string_view> names) const;
  Error wrong(const char* name, const std::string& expected) const;

 private:
  JsonFields(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace seng
