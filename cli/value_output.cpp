#include "cli/value_output.h"

#include <nlohmann/json.hpp>

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

std::string scalar(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A JSON text is a YAML text too; words that cannot be taken for something else go without quotes.
std::string yaml_scalar(const Json& value) {
  if (!value.is_string()) return value.is_object() ? "{}" : value.is_array() ? "[]" : scalar(value);
  const auto& text = value.get_ref<const std::string&>();
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  bool plain = text.size() > 1 && (is_letter(text[0]) || text[0] == '/');
  for (const char c : text) {
    plain = plain && (is_letter(c) || (c >= '0' && c <= '9') ||
                      std::string_view("._/-").find(c) != std::string_view::npos);
  }
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf"}) {
    bool same = text.size() == std::string_view(word).size();
    for (std::size_t i = 0; same && i < text.size(); ++i) same = (text[i] | 0x20) == word[i];
    plain = plain && !same;
  }
  return plain ? text : scalar(value);
}

void write_yaml(const Json& value, std::size_t indent, bool inside_list, std::string& out) {
  const std::string margin(indent, ' ');
  bool first = true;
  const auto nested = [](const Json& v) { return v.is_structured() && !v.empty(); };
  const auto begin_line = [&] {
    if (!(first && inside_list)) out += margin;
    first = false;
  };
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, item] : value.items()) {
      begin_line();
      out += yaml_scalar(key) + ":";
      if (nested(item)) {
        out += "\n";
        write_yaml(item, indent + 2, false, out);
      } else {
        out += ' ';
        out += yaml_scalar(item);
        out += '\n';
      }
    }
  } else if (value.is_array() && !value.empty()) {
    for (const Json& item : value) {
      begin_line();
      out += "- ";
      write_yaml(item, indent + 2, true, out);
    }
  } else {
    begin_line();
    out += yaml_scalar(value) + "\n";
  }
}

}  // namespace

std::optional<OutputFormat> output_format_of(std::string_view word) {
  if (word == "table") return OutputFormat::kTable;
  if (word == "json") return OutputFormat::kJson;
  if (word == "yaml") return OutputFormat::kYaml;
  return std::nullopt;
}

std::string json_text(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string yaml_text(const Json& value) {
  std::string out;
  write_yaml(value, 0, false, out);
  return out;
}

void print_value(Console& console, OutputFormat format, const Json& value) {
  console.out << (format == OutputFormat::kYaml ? yaml_text(value) : json_text(value));
}

}  // namespace seng
