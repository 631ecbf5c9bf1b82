// `-o table|json|yaml`: one tree of values, printed as either.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "cli/console.h"

namespace seng {

enum class OutputFormat { kTable, kJson, kYaml };

std::optional<OutputFormat> output_format_of(std::string_view word);

// Both end with a line's end. Bytes that are no UTF-8 become U+FFFD; numbers that are not finite become null.
std::string json_text(const nlohmann::ordered_json& value);
std::string yaml_text(const nlohmann::ordered_json& value);
// `format` is kJson or kYaml.
void print_value(Console& console, OutputFormat format, const nlohmann::ordered_json& value);

}  // namespace seng
