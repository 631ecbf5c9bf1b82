// Every message's body behind one run-time interface, so that tests and fuzzers loop over a table.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "protocol/messages/all.h"
#include "protocol/wire/codec.h"
#include "tests/protocol/random_body.h"

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

struct FieldLister {
  std::vector<FieldInfo>& fields;

  template <class M>
  [[gnu::noinline]] void field(unsigned number, const char* name, M&, std::size_t = 0) {
    fields.push_back({number, name, type_of<M>()});
  }
  template <class M>
  static FieldType type_of() {
    if (std::is_same_v<M, bool>) return FieldType::kBool;
    if (std::is_enum_v<M> || std::is_integral_v<M>) return FieldType::kInteger;
    if (std::is_floating_point_v<M>) return FieldType::kFloat;
    if (std::is_same_v<M, std::string>) return FieldType::kString;
    return wire_detail::kIsVector<M> ? FieldType::kList : FieldType::kStruct;
  }
};

template <class Body>
BodyInfo describe_body() {
  BodyInfo info{Body::kKind, std::string(message_kind_name(Body::kKind)), {}, {}, {}};
  Body body;
  FieldLister lister{info.fields};
  body.visit(lister);
  info.random = [](std::uint64_t seed) { return encode(RandomFill(seed).make<Body>()); };
  info.decode_and_encode = [](std::span<const std::byte> bytes) -> Result<std::string> {
    const auto body = decode<Body>(bytes);
    if (!body) return fail(body.error());
    return encode_checked(*body);
  };
  return info;
}

// Messages: ControlMessages, LifecycleMessages, PeerMessages or AllMessages.
template <class Messages>
const std::vector<BodyInfo>& body_table() {
  static const auto& table = *[] {
    auto* bodies = new std::vector<BodyInfo>;
    for_each_message<Messages>([&]<class Body>() { bodies->push_back(describe_body<Body>()); });
    return bodies;
  }();
  return table;
}

extern template const std::vector<BodyInfo>& body_table<AllMessages>();  // long to compile: body_table.cpp

}  // namespace seng
