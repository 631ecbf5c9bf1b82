// Keeps protocol/README.md true: its worked examples are golden bytes, its tables are the fields of the code.
#include <bit>
#include <functional>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/base/file.h"
#include "protocol/base/limits.h"
#include "protocol/messages/all.h"
#include "protocol/wire/message.h"
#include "tests/protocol/body_table.h"
#include "tests/protocol/wire_bytes.h"

namespace seng {
namespace {

const std::vector<std::string>& readme_lines() {
  static const auto& lines = *[] {
    auto* all = new std::vector<std::string>;
    const auto text = read_file(std::string(SENG_SOURCE_DIR) + "/protocol/README.md", 1 << 20);
    EXPECT_TRUE(text) << text.error().message;
    std::istringstream in(text.value_or(""));
    for (std::string line; std::getline(in, line);) all->push_back(line);
    return all;
  }();
  return lines;
}

// The frames of each block that begins with "```hex NAME": bytes up to '#' in a line, frames divided by "--".
std::map<std::string, std::vector<std::string>> golden_frames() {
  std::map<std::string, std::vector<std::string>> examples;
  std::vector<std::string>* frames = nullptr;
  for (const std::string& line : readme_lines()) {
    if (line.starts_with("```")) {
      frames = line.starts_with("```hex ") ? &examples[line.substr(7)] : nullptr;
      if (frames) *frames = {""};
    } else if (frames && line == "--") {
      frames->emplace_back();
    } else if (frames) {
      frames->back() += raw(line.substr(0, line.find('#')));
    }
  }
  return examples;
}

Frame floats(const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xff);
  }
  return Frame::from_string(bytes);
}

// The messages of the worked examples.
std::map<std::string, Message> examples() {
  const GroupEpoch epoch{1, 2};
  JobRecord job;
  job.id = 7;
  job.name = "tiny";
  job.submitted_at = 1767225600.5;
  job.actors_max = 2;
  job.steps_total = 100;
  job.epochs_total = 5;
  job.optimizer = "seng";
  job.model = "mlp";
  job.revision = 1;
  const Member first{0, "n1", "ipc:///s/run/a7.0", 0, 2, "ipc:///s/run/s7.0"},
      second{1, "n1", "ipc:///s/run/a7.1", 2, 4, "ipc:///s/run/s7.1"};
  return {
      {"SubmitRequest", make_message({.sequence = 1}, SubmitRequest{"name: tiny\n", "tiny.yaml"})},
      {"SubmitReply", make_message({.job = 7, .sequence = 1}, SubmitReply{job})},
      {"ErrorReply", make_message({.sequence = 1}, ErrorReply{ErrorCode::kNotFound, "no job tinny"})},
      {"ActorHello", make_message({.job = 7, .from = 0, .sequence = 1},
                                  ActorHello{"T", "n1", 4242, 99, first.endpoint, "cpu x1 lane", 1, "0.1.0",
                                             first.state_endpoint})},
      {"Reconfigure", make_message({.job = 7, .epoch = epoch, .sequence = 2}, Reconfigure{{first, second}})},
      {"Parked", make_message({.job = 7, .epoch = epoch, .from = 0, .sequence = 2}, Parked{0})},
      {"PartialSums", make_message({.job = 7, .epoch = epoch, .step = 1, .from = 0, .sequence = 2},
                                   PartialSums{{SumPart{1, 0, 2, 0, 3}}}, {floats({1, -2, 0.5})})},
      {"Fragment", make_message({.job = 7, .epoch = epoch, .step = 1, .from = 0, .sequence = 3},
                                Fragment{1, 0, 0, 2, 2}, {floats({0.25, 4})})},
      {"Directions", make_message({.job = 7, .epoch = epoch, .step = 1, .from = 1, .sequence = 2},
                                  Directions{{DirectionPart{1, 0, 3, 2.0}}, 0}, {floats({1, -2, 0.5})})},
  };
}

TEST(Readme, ExamplesAreTheBytesOnTheWire) {
  const auto golden = golden_frames();
  const auto messages = examples();
  EXPECT_EQ(golden.size(), messages.size());
  for (const auto& [name, message] : messages) {
    SCOPED_TRACE(name);
    std::vector<std::string> frames = {encode_header(message).value()};
    for (const Frame& frame : message.payload) frames.emplace_back(frame.text());
    ASSERT_TRUE(golden.contains(name));
    const std::vector<std::string>& expected = golden.at(name);
    ASSERT_EQ(frames.size(), expected.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(to_hex(as_bytes(frames[i])), to_hex(as_bytes(expected[i]))) << "frame " << i;
    }
  }
}

TEST(Readme, ExamplesAreRead) {
  for (const auto& [name, frames] : golden_frames()) {
    SCOPED_TRACE(name);
    std::vector<Frame> parts;
    for (const std::string& frame : frames) parts.push_back(Frame::from_string(frame));
    const auto message = parse_message(parts);
    ASSERT_TRUE(message) << message.error().message;
    EXPECT_EQ(message_kind_name(message->envelope.kind), name);
    for (const BodyInfo& body : body_table<AllMessages>()) {
      if (static_cast<std::uint16_t>(body.kind) != message->envelope.kind) continue;
      const auto again = body.decode_and_encode(message->body.bytes());
      ASSERT_TRUE(again) << again.error().message;
      EXPECT_EQ(*again, message->body.text());
    }
  }
}

struct Row {
  std::string number, name, type;
};

// The rows of the tables below headings "#### [kind] Name".
std::map<std::string, std::vector<Row>> tables() {
  const std::regex heading("#### (?:([0-9]+) )?(\\w+)"),
      row("\\| ([0-9]+) \\| ([\\w.]+) \\| ([\\w ]+) \\|.*");
  std::map<std::string, std::vector<Row>> found;
  std::vector<Row>* rows = nullptr;
  for (const std::string& line : readme_lines()) {
    std::smatch match;
    if (std::regex_match(line, match, heading)) {
      rows = &found[match[1].matched ? match[1].str() + " " + match[2].str() : match[2].str()];
    } else if (line.starts_with("#")) {
      rows = nullptr;
    } else if (rows && std::regex_match(line, match, row)) {
      rows->push_back({match[1], match[2], match[3]});
    }
  }
  return found;
}

bool fits(const std::string& type, FieldType field) {
  switch (field) {
    case FieldType::kBool:
      return type == "bool";
    case FieldType::kInteger:
      return std::regex_match(type, std::regex("[ui](8|16|32|64)|ErrorCode|JobState|Severity"));
    case FieldType::kFloat:
      return type == "f64";
    case FieldType::kString:
      return type == "string";
    case FieldType::kList:
      return type.starts_with("list of ");
    case FieldType::kStruct:
      return tables().contains(type);
  }
  return false;
}

void expect_table(const std::string& heading, const std::vector<FieldInfo>& fields) {
  SCOPED_TRACE(heading);
  const auto found = tables();
  ASSERT_TRUE(found.contains(heading));
  const std::vector<Row>& rows = found.at(heading);
  ASSERT_EQ(rows.size(), fields.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].number, std::to_string(fields[i].number));
    EXPECT_EQ(rows[i].name, fields[i].name);
    EXPECT_TRUE(fits(rows[i].type, fields[i].type)) << rows[i].name << ": " << rows[i].type;
  }
}

template <class Record>
void expect_record(const std::string& heading) {
  std::vector<FieldInfo> fields;
  FieldLister lister{fields};
  Record record;
  record.visit(lister);
  expect_table(heading, fields);
}

TEST(Readme, TablesAreTheFieldsOfTheCode) {
  std::size_t messages = 0;
  for (const auto& [heading, rows] : tables()) messages += heading.find(' ') != heading.npos ? 1 : 0;
  EXPECT_EQ(messages, body_table<AllMessages>().size());
  for (const BodyInfo& body : body_table<AllMessages>()) {
    expect_table(std::to_string(static_cast<int>(body.kind)) + " " + body.name, body.fields);
  }
  expect_record<Envelope>("Envelope");
  expect_record<LinkAbility>("LinkAbility");
  expect_record<Member>("Member");
  expect_record<HeldCurvature>("HeldCurvature");
  expect_record<CurvatureHolders>("CurvatureHolders");
  expect_record<SumPart>("SumPart");
  expect_record<DirectionPart>("DirectionPart");
  expect_record<BlockDigest>("BlockDigest");
  expect_record<JobRecord>("JobRecord");
  expect_record<ActorRecord>("ActorRecord");
  expect_record<EventRecord>("EventRecord");
  expect_record<TuningRecord>("TuningRecord");
  expect_record<StepMetrics>("StepMetrics");
  expect_record<EpochMetrics>("EpochMetrics");
  expect_record<GpuRecord>("GpuRecord");
  expect_record<SlotRecord>("SlotRecord");
  expect_record<NodeRecord>("NodeRecord");
}

}  // namespace
}  // namespace seng
