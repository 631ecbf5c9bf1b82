#include "tests/protocol/body_table.h"

#include <type_traits>

#include "protocol/messages/all.h"
#include "protocol/wire/codec.h"
#include "tests/protocol/random_body.h"

namespace seng {
namespace {

struct FieldLister {
  std::vector<FieldInfo>& fields;
  template <class M>
  void field(unsigned number, const char* name, M&, std::size_t = 0) {
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
BodyInfo describe() {
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

template <class Messages>
std::vector<BodyInfo> table() {
  std::vector<BodyInfo> bodies;
  for_each_message<Messages>([&]<class Body>() { bodies.push_back(describe<Body>()); });
  return bodies;
}

}  // namespace

const std::vector<BodyInfo>& control_bodies() {
  static const auto& bodies = *new std::vector<BodyInfo>(table<ControlMessages>());
  return bodies;
}
const std::vector<BodyInfo>& lifecycle_bodies() {
  static const auto& bodies = *new std::vector<BodyInfo>(table<LifecycleMessages>());
  return bodies;
}
const std::vector<BodyInfo>& peer_bodies() {
  static const auto& bodies = *new std::vector<BodyInfo>(table<PeerMessages>());
  return bodies;
}
std::vector<BodyInfo> all_bodies() {
  std::vector<BodyInfo> all = control_bodies();
  all.insert(all.end(), lifecycle_bodies().begin(), lifecycle_bodies().end());
  all.insert(all.end(), peer_bodies().begin(), peer_bodies().end());
  return all;
}

}  // namespace seng
