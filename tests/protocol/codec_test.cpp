// The codec by itself: types, limits, paths and every way in which bytes can be off, on structs of the test's
// own.
#include "protocol/wire/codec.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/protocol/allocation_watch.h"
#include "tests/protocol/wire_bytes.h"

namespace seng {
namespace {

enum class Colour : std::uint8_t { kRed = 1, kGreen = 2 };
constexpr bool is_known(Colour c) {
  return c == Colour::kRed || c == Colour::kGreen;
}

struct Inner {
  std::string text;
  std::vector<std::int32_t> numbers;
  bool operator==(const Inner&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(2, "text", text, 8);
    v.field(4, "numbers", numbers, 3);
  }
};

struct Outer {
  bool flag = false;
  std::uint16_t small = 7;
  std::int64_t wide = 0;
  float single = 0;
  double real = 0;
  std::string text = "kept";
  Colour colour = Colour::kRed;
  std::vector<Inner> inners;
  std::int8_t tiny = 0;
  std::uint64_t huge = 0;
  bool operator==(const Outer&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "flag", flag);
    v.field(2, "small", small);
    v.field(3, "wide", wide);
    v.field(4, "single", single);
    v.field(5, "real", real);
    v.field(6, "text", text);
    v.field(7, "colour", colour);
    v.field(9, "inners", inners);
    v.field(10, "tiny", tiny);
    v.field(11, "huge", huge);
  }
};

std::string error_of(std::string_view bytes) {
  const auto value = decode<Outer>(as_bytes(bytes), "Outer");
  if (value) return "no error";
  EXPECT_EQ(value.error().code, ErrorCode::kCorrupt);
  return value.error().message;
}

TEST(Codec, CarriesEveryTypeAtTheEndsOfItsRange) {
  const Outer extremes[] = {{true,
                             65535,
                             std::numeric_limits<std::int64_t>::min(),
                             -1.5f,
                             1e300,
                             std::string(300, 'x'),
                             Colour::kGreen,
                             {{"a", {-2147483647 - 1, 0, 2147483647}}, {}},
                             -128,
                             std::numeric_limits<std::uint64_t>::max()},
                            {false,
                             0,
                             std::numeric_limits<std::int64_t>::max(),
                             0,
                             -0.0,
                             std::string("\0\xff", 2),
                             Colour::kRed,
                             {},
                             127,
                             0},
                            {}};
  for (const Outer& value : extremes) {
    const auto back = decode<Outer>(as_bytes(encode(value)));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, value);
  }
}

TEST(Codec, CarriesNotANumberInfinityAndMinusZero) {
  Outer value;
  value.real = std::numeric_limits<double>::quiet_NaN();
  value.single = -0.0F;
  const auto back = decode<Outer>(as_bytes(encode(value)));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE(std::isnan(back->real));
  EXPECT_TRUE(std::signbit(back->single));
  value.real = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(decode<Outer>(as_bytes(encode(value)))->real, value.real);
}

TEST(Codec, WritesWhatMsgpackReads) {
  Outer value;
  value.wide = -129;
  value.inners = {{"abc", {1, -1}}};
  const std::string bytes = encode(value);
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
  const msgpack::object& map = handle.get();
  ASSERT_EQ(map.type, msgpack::type::MAP);
  ASSERT_EQ(map.via.map.size, 10u);
  EXPECT_EQ(map.via.map.ptr[2].key.as<int>(), 3);
  EXPECT_EQ(map.via.map.ptr[2].val.as<int>(), -129);
  EXPECT_EQ(map.via.map.ptr[5].val.as<std::string>(), "kept");
  const msgpack::object& inner = map.via.map.ptr[7].val.via.array.ptr[0];
  EXPECT_EQ(inner.via.map.ptr[1].val.as<std::vector<int>>(), (std::vector<int>{1, -1}));
}

TEST(Codec, ReadsEveryFormOfAnInteger) {
  const struct {
    const char* bytes;
    std::int64_t value;
  } forms[] = {{"05", 5},
               {"cc 05", 5},
               {"cd 00 05", 5},
               {"ce 00 00 00 05", 5},
               {"cf 00 00 00 00 00 00 00 05", 5},
               {"d0 05", 5},
               {"d1 00 05", 5},
               {"d2 00 00 00 05", 5},
               {"d3 00 00 00 00 00 00 00 05", 5},
               {"ff", -1},
               {"e0", -32},
               {"d0 80", -128},
               {"d1 80 00", -32768},
               {"d2 80 00 00 00", -2147483648LL},
               {"d3 ff ff ff ff ff ff ff fe", -2}};
  for (const auto& form : forms) {
    const auto value = decode<Outer>(as_bytes(one_field(3, raw(form.bytes))));
    ASSERT_TRUE(value) << form.bytes << ": " << value.error().message;
    EXPECT_EQ(value->wide, form.value) << form.bytes;
  }
}

TEST(Codec, KeepsDefaultsOfMissingFields) {
  const auto value = decode<Outer>(as_bytes(raw("80")));
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, Outer{});
}

TEST(Codec, SkipsUnknownFieldsOfEveryType) {
  // Field 8 between known ones, 200 behind them; text (6) and huge (11) must still be found.
  const char* const values[] = {"c0",
                                "c3",
                                "05",
                                "d0 85",
                                "ca 3f 80 00 00",
                                "cb 3f f0 00 00 00 00 00 00",
                                "a1 78",
                                "d9 01 78",
                                "da 00 01 78",
                                "db 00 00 00 01 78",
                                "c4 01 00",
                                "c5 00 01 00",
                                "c6 00 00 00 01 00",
                                "93 01 92 c0 c0 81 01 02",
                                "82 01 02 a1 78 90",
                                "d4 01 00",
                                "d8 01 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
                                "c7 02 01 00 00",
                                "c8 00 01 01 00",
                                "c9 00 00 00 00 01",
                                "dc 00 01 c0",
                                "dd 00 00 00 01 c0",
                                "de 00 01 c0 c0",
                                "df 00 00 00 01 c0 c0"};
  for (const char* hex : values) {
    const std::string bytes =
        raw("84 06") + packed(std::string("hit")) + raw("08") + raw(hex) + raw("0b 2a cc c8") + raw(hex);
    const auto value = decode<Outer>(as_bytes(bytes));
    ASSERT_TRUE(value) << hex << ": " << value.error().message;
    EXPECT_EQ(value->text, "hit") << hex;
    EXPECT_EQ(value->huge, 42u) << hex;
  }
}

TEST(Codec, NamesTheFieldThatFailed) {
  const struct {
    std::string bytes;
    const char* error;
  } cases[] = {
      {raw("c0"), "Outer: expected a map, found nil"},
      {raw("c1"), "Outer: byte c1, which MessagePack never uses"},
      {one_field(1, raw("01")), "Outer.flag: expected a boolean, found an integer"},
      {one_field(2, raw("ce 00 01 00 00")), "Outer.small: 65536 is above 65535"},
      {one_field(2, raw("ff")), "Outer.small: expected an unsigned integer, found a negative integer"},
      {one_field(2, raw("ca 00 00 00 00")),
       "Outer.small: expected an unsigned integer, found a floating-point number"},
      {one_field(3, raw("cf 80 00 00 00 00 00 00 00")),
       "Outer.wide: 9223372036854775808 is above 9223372036854775807"},
      {one_field(3, raw("a1 31")), "Outer.wide: expected an integer, found a string"},
      {one_field(4, raw("cb 00 00 00 00 00 00 00 00")),
       "Outer.single: expected 32 bits, found a floating-point number of 64"},
      {one_field(5, raw("01")), "Outer.real: expected a floating-point number, found an integer"},
      {one_field(6, raw("c4 01 00")), "Outer.text: expected a string, found binary data"},
      {one_field(6, raw("c0")), "Outer.text: expected a string, found nil"},
      {one_field(7, raw("03")), "Outer.colour: unknown value 3"},
      {one_field(7, raw("cd 01 01")), "Outer.colour: 257 is above 255"},
      {one_field(9, raw("80")), "Outer.inners: expected a list, found a map"},
      {one_field(9, raw("92 80 81 02 05")), "Outer.inners[1].text: expected a string, found an integer"},
      {one_field(9, raw("91 81 02 a9 31 32 33 34 35 36 37 38 39")),
       "Outer.inners[0].text: 9 bytes, more than the 8 allowed"},
      {one_field(9, raw("91 81 04 94 01 02 03 04")),
       "Outer.inners[0].numbers: 4 items, more than the 3 allowed"},
      {one_field(9, raw("91 81 04 92 01 a0")),
       "Outer.inners[0].numbers[1]: expected an integer, found a string"},
      {one_field(10, raw("cc 80")), "Outer.tiny: 128 is above 127"},
      {one_field(10, raw("d1 ff 7f")), "Outer.tiny: -129 is below -128"},
      {raw("82 02 05 02 05"), "Outer: field 2 comes twice"},
      {raw("82 03 05 02 05"), "Outer: field 2 comes after field 3, out of order"},
      {raw("82 cc c8 05 0b 05"), "Outer: field 11 comes after field 200, out of order"},
      {raw("82 cc c8 05 cc c8 05"), "Outer: field 200 comes twice"},
      {raw("81 00 05"), "Outer: field 0 comes after field 0, out of order"},
      {raw("81 a1 78 05"), "Outer: expected an unsigned integer, found a string"},
      {raw("80 00"), "Outer: 1 bytes left over"},
      {raw("81 02"), "Outer: a map of 1 fields in 1 bytes"},
      {raw(""), "Outer: ends in the middle, at byte 0"},
      {raw("82 02 05 c0"), "Outer: a map of 2 fields in 3 bytes"},
  };
  for (const auto& one : cases) EXPECT_EQ(error_of(one.bytes), one.error);
}

TEST(Codec, RefusesBytesCutAnywhere) {
  Outer value;
  value.inners = {{"abc", {1, 2, 3}}, {"d", {}}};
  const std::string bytes = encode(value);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode<Outer>(as_bytes(bytes.substr(0, size)))) << size;
  }
}

// A length is a promise: no memory is taken for it before the bytes are there.
TEST(Codec, TakesNoMemoryForDeclaredLengths) {
  const char* const values[] = {"db ff ff ff ff", "c6 ff ff ff ff", "c9 ff ff ff ff 01",
                                "dd ff ff ff ff", "df ff ff ff ff", "db 00 0f ff ff",
                                "dd 00 01 00 00", "df 00 01 00 00", "dd 00 01 86 a0 80 80 80"};
  for (const char* hex : values) {
    for (const unsigned number : {6u, 8u, 9u}) {
      const std::string bytes = one_field(number, raw(hex));
      const AllocationWatch watch;
      const auto value = decode<Outer>(as_bytes(bytes));
      EXPECT_FALSE(value) << hex;
      EXPECT_LT(watch.largest(), 1000u) << hex << " as field " << number;
    }
  }
}

TEST(Codec, BoundsNesting) {
  const auto nested = [](std::size_t depth) { return one_field(8, std::string(depth, '\x91') + '\xc0'); };
  EXPECT_TRUE(decode<Outer>(as_bytes(nested(kMaxNesting - 1))));
  EXPECT_EQ(error_of(nested(kMaxNesting)), "Outer: more than 16 lists and maps in each other");
  EXPECT_EQ(error_of(nested(1'000'000)), "Outer: more than 16 lists and maps in each other");
}

struct ListOfLists {
  std::vector<Outer> outers;
  template <class V>
  void visit(V& v) {
    v.field(1, "outers", outers);
  }
};

TEST(Codec, BoundsTheItemsOfAllListsTogether) {
  // 40,000 items with three more in each: each list is within its limit, their sum is not.
  const std::size_t items = 40'000;
  std::string bytes = raw("81 01 dd") + std::string("\x00\x00\x9c\x40", 4);
  for (std::size_t i = 0; i < items; ++i) bytes += raw("81 09 93 80 80 80");
  const auto value = decode<ListOfLists>(as_bytes(bytes), "L");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().message,
            "L.outers[20000].inners: the message has more than 100000 items in all its lists");
}

TEST(Codec, RefusesToSendWhatAReceiverWouldRefuse) {
  Outer value;
  value.inners = {{"much too long", {}}};
  auto bytes = encode_checked(value);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(bytes.error().message, "cannot send inners[0].text: 13 bytes, more than the 8 allowed");
  EXPECT_THROW(encode(value), InvariantError);

  value = {};
  value.text = std::string(kMaxStringBytes + 1, 'x');
  EXPECT_FALSE(encode_checked(value));
  value.text.pop_back();
  EXPECT_TRUE(encode_checked(value));

  value.colour = static_cast<Colour>(9);
  EXPECT_FALSE(encode_checked(value));
}

}  // namespace
}  // namespace seng
