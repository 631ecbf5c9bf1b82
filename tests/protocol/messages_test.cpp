// Every message: random contents there and back, and every way in which a field can be off.
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "protocol/messages/all.h"
#include "protocol/wire/message.h"
#include "tests/protocol/body_table.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/wire_bytes.h"

namespace seng {
namespace {

TEST(Messages, ComeBackAsTheyWent) {
  std::uint64_t seed = fresh_seed();
  for (const BodyInfo& body : body_table<AllMessages>()) {
    for (int round = 0; round < 20; ++round) {
      const std::string bytes = body.random(++seed);
      const auto back = body.decode_and_encode(as_bytes(bytes));
      ASSERT_TRUE(back) << back.error().message << ", seed " << seed;
      EXPECT_EQ(*back, bytes) << body.name << ", seed " << seed;
    }
  }
}

TEST(Messages, AreReadByMsgpack) {
  for (const BodyInfo& body : body_table<AllMessages>()) {
    const std::string bytes = body.random(fresh_seed());
    std::size_t used = 0;
    const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size(), used);
    EXPECT_EQ(used, bytes.size());
    ASSERT_EQ(handle.get().type, msgpack::type::MAP);
    ASSERT_EQ(handle.get().via.map.size, body.fields.size()) << body.name;
    for (std::size_t i = 0; i < body.fields.size(); ++i) {
      EXPECT_EQ(handle.get().via.map.ptr[i].key.as<unsigned>(), body.fields[i].number) << body.name;
    }
  }
}

TEST(Messages, AreRefusedCutAnywhereOrWithBytesLeftOver) {
  for (const BodyInfo& body : body_table<AllMessages>()) {
    const std::uint64_t seed = fresh_seed();
    SCOPED_TRACE(body.name + ", seed " + std::to_string(seed));
    const std::string bytes = body.random(seed);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto value = body.decode_and_encode(as_bytes(std::string_view(bytes).substr(0, size)));
      ASSERT_FALSE(value) << size << " of " << bytes.size() << " bytes";
      EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
      EXPECT_TRUE(value.error().message.starts_with(body.name)) << value.error().message;
    }
    EXPECT_FALSE(body.decode_and_encode(as_bytes(bytes + '\0')));
  }
}

TEST(Messages, NameTheFieldOfAWrongType) {
  using enum FieldType;
  const struct {
    FieldType type;
    bool fits_none;  // nil, binary and extensions are no field's
    const char* bytes;
  } values[] = {
      {kBool, true, "c0"},       {kBool, true, "c4 01 00"}, {kBool, true, "d4 01 00"},
      {kBool, false, "c3"},      {kInteger, false, "01"},   {kFloat, false, "cb 3f f0 00 00 00 00 00 00"},
      {kString, false, "a1 78"}, {kList, false, "90"},      {kStruct, false, "80"}};
  for (const BodyInfo& body : body_table<AllMessages>()) {
    for (const FieldInfo& field : body.fields) {
      for (const auto& value : values) {
        if (value.type == field.type && !value.fits_none) continue;
        const auto read = body.decode_and_encode(as_bytes(one_field(field.number, raw(value.bytes))));
        const std::string lead = body.name + "." + field.name + ": expected ";
        ASSERT_FALSE(read) << lead << value.bytes;
        EXPECT_TRUE(read.error().message.starts_with(lead)) << read.error().message;
      }
    }
  }
}

TEST(Messages, SkipFieldsOfLaterVersions) {
  for (const BodyInfo& body : body_table<AllMessages>()) {
    std::string bytes = body.random(fresh_seed());
    const std::string before = bytes;
    ASSERT_LT(static_cast<unsigned char>(bytes[0]), 0x8f) << "a map of at most 14 fields";
    ++bytes[0];
    bytes += raw("cd 03 e8 82 01 93 c0 c2 a1 78 02 80");
    const auto value = body.decode_and_encode(as_bytes(bytes));
    ASSERT_TRUE(value) << value.error().message;
    EXPECT_EQ(*value, before);
  }
}

TEST(Messages, HaveOneTypeForEachKind) {
  std::set<std::uint16_t> of_types, of_names;
  for (const BodyInfo& body : body_table<AllMessages>())
    of_types.insert(static_cast<std::uint16_t>(body.kind));
  for (std::uint32_t kind = 0; kind <= 0xffff; ++kind) {
    if (!message_kind_name(static_cast<std::uint16_t>(kind)).empty()) of_names.insert(kind);
  }
  EXPECT_EQ(of_types, of_names);
}

TEST(Messages, RefuseUnknownStates) {
  const auto job = decode<StopReply>(as_bytes(one_field(1, one_field(3, raw("07")))));
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().message, "StopReply.job.state: unknown value 7");
  const auto event = decode<ActorEvent>(as_bytes(one_field(1, raw("00"))));
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().message, "ActorEvent.severity: unknown value 0");
  const auto failed = decode<ActorFailed>(as_bytes(one_field(1, raw("0c"))));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "ActorFailed.code: unknown value 12");
}

// A typo in a `visit` (a member written twice, another left out) would pass the tests above.
TEST(Messages, CarryEveryMemberOfTheLargestRecord) {
  JobRecord job;
  job.id = 1;
  job.name = "n";
  job.state = JobState::kFailed;
  job.reason = "r";
  job.submitted_at = 2, job.started_at = 3, job.ended_at = 4;
  job.actors = 5, job.actors_min = 6, job.actors_max = 7;
  job.epoch = {8, 9};
  job.step = 10, job.steps_total = 11;
  job.epochs = 12, job.epochs_total = 13;
  job.samples_seen = 14;
  job.train_loss = 15, job.train_accuracy = 16, job.test_loss = 17, job.test_accuracy = 18;
  job.images_per_second = 19;
  job.weights_sha256 = "w", job.state_sha256 = "s", job.checkpoint = "c", job.optimizer = "o",
  job.model = "m";
  job.revision = 20;
  const auto back = decode<JobRecord>(as_bytes(encode(job)));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(std::tie(back->id, back->name, back->state, back->reason, back->submitted_at, back->started_at,
                     back->ended_at, back->actors, back->actors_min, back->actors_max, back->epoch,
                     back->step, back->steps_total, back->epochs, back->epochs_total, back->samples_seen),
            std::tie(job.id, job.name, job.state, job.reason, job.submitted_at, job.started_at, job.ended_at,
                     job.actors, job.actors_min, job.actors_max, job.epoch, job.step, job.steps_total,
                     job.epochs, job.epochs_total, job.samples_seen));
  EXPECT_EQ(
      std::tie(back->train_loss, back->train_accuracy, back->test_loss, back->test_accuracy,
               back->images_per_second, back->weights_sha256, back->state_sha256, back->checkpoint,
               back->optimizer, back->model, back->revision),
      std::tie(job.train_loss, job.train_accuracy, job.test_loss, job.test_accuracy, job.images_per_second,
               job.weights_sha256, job.state_sha256, job.checkpoint, job.optimizer, job.model, job.revision));
}

}  // namespace
}  // namespace seng
