// Every message's body behind one run-time interface, so that tests and fuzzers loop over a table.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/kinds.h"

namespace seng {

enum class FieldType { kBool, kInteger, kFloat, kString, kList, kStruct };

struct FieldInfo {
  unsigned number;
  std::string name;
  FieldType type;
};

struct BodyInfo {
  MessageKind kind;
  std::string name;
  std::vector<FieldInfo> fields;
  std::function<std::string(std::uint64_t seed)> random;  // encoded
  std::function<Result<std::string>(std::span<const std::byte>)> decode_and_encode;
};

const std::vector<BodyInfo>& control_bodies();
const std::vector<BodyInfo>& lifecycle_bodies();
const std::vector<BodyInfo>& peer_bodies();
std::vector<BodyInfo> all_bodies();

}  // namespace seng
