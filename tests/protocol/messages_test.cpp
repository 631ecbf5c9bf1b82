// Every message: random contents there and back, and every way in which a field can be off.
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "protocol/messages/all.h"
#include "protocol/wire/message.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/wire_bytes.h"

namespace seng {
namespace {

constexpr int kRounds = 20;

template <class Body>
std::string name_of() {
  return std::string(message_kind_name(Body::kKind));
}

TEST(Messages, ComeBackAsTheyWent) {
  const std::uint64_t seed = fresh_seed();
  RandomFill random(seed);
  for_each_message<AllMessages>([&]<class Body>() {
    SCOPED_TRACE(name_of<Body>() + ", seed " + std::to_string(seed));
    for (int round = 0; round < kRounds; ++round) {
      auto body = random.make<Body>();
      const std::string bytes = encode(body);
      const auto back = decode<Body>(as_bytes(bytes));
      ASSERT_TRUE(back) << back.error().message;
      EXPECT_EQ(encode(*back), bytes);
    }
  });
}

TEST(Messages, AreReadByMsgpack) {
  RandomFill random(fresh_seed());
  for_each_message<AllMessages>([&]<class Body>() {
    auto body = random.make<Body>();
    wire_detail::FieldCounter counter;
    body.visit(counter);
    const std::string bytes = encode(body);
    std::size_t used = 0;
    const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size(), used);
    EXPECT_EQ(used, bytes.size());
    ASSERT_EQ(handle.get().type, msgpack::type::MAP);
    EXPECT_EQ(handle.get().via.map.size, counter.fields) << name_of<Body>();
  });
}

TEST(Messages, AreRefusedCutAnywhereOrWithBytesLeftOver) {
  const std::uint64_t seed = fresh_seed();
  RandomFill random(seed);
  for_each_message<AllMessages>([&]<class Body>() {
    SCOPED_TRACE(name_of<Body>() + ", seed " + std::to_string(seed));
    const std::string bytes = encode(random.make<Body>());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto value = decode<Body>(as_bytes(std::string_view(bytes).substr(0, size)));
      ASSERT_FALSE(value) << size << " of " << bytes.size() << " bytes";
      EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
      EXPECT_TRUE(value.error().message.starts_with(name_of<Body>())) << value.error().message;
    }
    EXPECT_FALSE(decode<Body>(as_bytes(bytes + '\0')));
  });
}

// Puts a value of each wrong type in the place of each field.
template <class Body>
class WrongTypes {
 public:
  template <class M>
  void field(unsigned number, const char* name, M&, std::size_t = 0) {
    const bool is_float = std::is_floating_point_v<M>;
    const bool is_integer = std::is_enum_v<M> || (std::is_integral_v<M> && !std::is_same_v<M, bool>);
    refuse(number, name, raw("c0"));
    refuse(number, name, raw("c4 01 00"));
    refuse(number, name, raw("d4 01 00"));
    if (!std::is_same_v<M, bool>) refuse(number, name, raw("c3"));
    if (!is_integer) refuse(number, name, raw("01"));
    if (!is_float) refuse(number, name, raw("cb 3f f0 00 00 00 00 00 00"));
    if (!std::is_same_v<M, std::string>) refuse(number, name, raw("a1 78"));
    if (!wire_detail::kIsVector<M>) refuse(number, name, raw("90"));
    if (!requires(M & m) { m.visit(*this); }) refuse(number, name, raw("80"));
  }

 private:
  void refuse(unsigned number, const char* name, const std::string& value) {
    const auto body = decode<Body>(as_bytes(one_field(number, value)));
    ASSERT_FALSE(body) << name << " took " << to_hex(as_bytes(value));
    const std::string lead = name_of<Body>() + "." + name + ": expected ";
    EXPECT_TRUE(body.error().message.starts_with(lead)) << body.error().message;
  }
};

TEST(Messages, NameTheFieldOfAWrongType) {
  for_each_message<AllMessages>([]<class Body>() {
    Body body;
    WrongTypes<Body> wrong;
    body.visit(wrong);
  });
}

TEST(Messages, SkipFieldsOfLaterVersions) {
  RandomFill random(fresh_seed());
  for_each_message<AllMessages>([&]<class Body>() {
    std::string bytes = encode(random.make<Body>());
    const std::string before = bytes;
    ASSERT_LT(static_cast<unsigned char>(bytes[0]), 0x8f) << "a map of at most 14 fields";
    ++bytes[0];
    bytes += raw("cd 03 e8 82 01 93 c0 c2 a1 78 02 80");
    const auto value = decode<Body>(as_bytes(bytes));
    ASSERT_TRUE(value) << value.error().message;
    EXPECT_EQ(encode(*value), before);
  });
}

TEST(Messages, HaveOneTypeForEachKind) {
  std::set<std::uint16_t> of_types, of_names;
  for_each_message<AllMessages>(
      [&]<class Body>() { of_types.insert(static_cast<std::uint16_t>(Body::kKind)); });
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
