#include "protocol/spec/spec_tree.h"

#include <sstream>

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace seng {
namespace {

// Ends the parse: what came so far is enough to report.
class Refused : public std::exception {};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& source, bool with_lines, SpecProblems& problems)
      : source_(source), with_lines_(with_lines), problems_(problems) {}

  std::string place(const YAML::Mark& mark) const {
    if (!with_lines_ || mark.is_null()) return source_;
    return fmt::format("{}:{}:{}", source_, mark.line + 1, mark.column + 1);
  }
  [[noreturn]] void refuse(const YAML::Mark& mark, std::string what) {
    problems_.push_back({place(mark), path(), std::move(what)});
    throw Refused();
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second document begins; expected one job in a file");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    SpecNode node;
    node.kind = SpecNode::Kind::kNull;
    accept(mark, std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "an alias (*name); job files do without, write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    SpecNode node;
    node.kind = SpecNode::Kind::kScalar;
    node.text = value;
    node.quoted = tag == "!";
    accept(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    begin(mark, tag, anchor, SpecNode::Kind::kList);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    begin(mark, tag, anchor, SpecNode::Kind::kMap);
  }
  void OnMapEnd() override { end(); }

  SpecNode take_root() { return std::move(root_); }

 private:
  struct Open {
    SpecNode node;
    SpecNode::Entry key;  // kMap: read, its value is awaited
    bool has_key = false;
    bool duplicate = false;  // the key was there before: its value is dropped
    std::string path;
  };

  std::string path() const {
    if (open_.empty()) return "";
    const Open& top = open_.back();
    if (!top.has_key) return top.path;
    return top.path.empty() ? top.key.key : top.path + "." + top.key.key;
  }
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (++values_ > kMaxSpecValues)
      refuse(mark, fmt::format("more than {} values; expected a job", kMaxSpecValues));
    if (anchor != 0) refuse(mark, "an anchor (&name); job files do without, write the value out");
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(mark, "a tag (!name); job files do without, write the plain value");
  }
  void begin(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, SpecNode::Kind kind) {
    check(mark, tag, anchor);
    if (awaits_key()) refuse(mark, "a list or a map in the place of a key, or its bracket is never closed");
    if (open_.size() >= kMaxSpecDepth)
      refuse(mark, fmt::format("nested more than {} levels deep", kMaxSpecDepth));
    Open open;
    open.path = path();
    open.node.kind = kind;
    open.node.where = place(mark);
    open_.push_back(std::move(open));
  }
  void end() {
    SpecNode node = std::move(open_.back().node);
    open_.pop_back();
    put(std::move(node));
  }
  bool awaits_key() const {
    return !open_.empty() && open_.back().node.kind == SpecNode::Kind::kMap && !open_.back().has_key;
  }
  void accept(const YAML::Mark& mark, SpecNode node) {
    node.where = place(mark);
    if (!awaits_key()) return put(std::move(node));
    Open& top = open_.back();
    if (node.kind != SpecNode::Kind::kScalar || node.text.empty())
      refuse(mark, "an empty key; expected a word");
    const SpecNode::Entry* before = top.node.find(node.text);
    top.duplicate = before != nullptr;
    if (before != nullptr) {
      problems_.push_back({node.where, top.path.empty() ? node.text : top.path + "." + node.text,
                           "given twice, first at " + before->where + "; expected once"});
    }
    top.key = {node.text, node.where, {}};
    top.has_key = true;
  }
  void put(SpecNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& top = open_.back();
    if (top.node.kind == SpecNode::Kind::kList) {
      top.node.items.push_back(std::move(node));
      return;
    }
    if (node.kind == SpecNode::Kind::kNull) node.where = top.key.where;  // the parser names what comes next
    if (!top.duplicate) {
      top.key.value = std::move(node);
      top.node.entries.push_back(std::move(top.key));
    }
    top.has_key = top.duplicate = false;
  }

  const std::string& source_;
  const bool with_lines_;
  SpecProblems& problems_;
  std::vector<Open> open_;
  SpecNode root_;
  std::size_t values_ = 0;
  int documents_ = 0;
};

// yaml-cpp takes a tab for no blank, and complains of what comes behind it.
std::string tab_hint(const std::string& text, const YAML::Mark& mark) {
  if (mark.is_null()) return "";
  std::istringstream lines(text);
  std::string line;
  for (int number = 0; std::getline(lines, line); ++number) {
    const bool near = number == mark.line || number + 1 == mark.line;
    if (near && line.find('\t') != std::string::npos)
      return fmt::format("; line {} has a tab: YAML wants spaces", number + 1);
  }
  return "";
}

}  // namespace

const SpecNode::Entry* SpecNode::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

SpecNode::Entry* SpecNode::find(std::string_view key) {
  return const_cast<Entry*>(static_cast<const SpecNode*>(this)->find(key));
}

void SpecNode::erase(std::string_view key) {
  std::erase_if(entries, [key](const Entry& entry) { return entry.key == key; });
}

SpecNode read_spec_tree(const std::string& yaml_text, const std::string& source, bool with_lines,
                        SpecProblems& problems) {
  if (yaml_text.size() > kMaxSpecBytes) {
    problems.push_back(
        {source, "",
         fmt::format("{} bytes long; expected a job of at most {}", yaml_text.size(), kMaxSpecBytes)});
    return {};
  }
  if (const std::size_t zero = yaml_text.find('\0'); zero != std::string::npos) {
    problems.push_back({source, "", fmt::format("a zero byte at offset {}; expected a text file", zero)});
    return {};
  }
  TreeBuilder builder(source, with_lines, problems);
  std::istringstream stream(yaml_text);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.take_root();
  } catch (const Refused&) {
  } catch (const YAML::Exception& error) {
    problems.push_back(
        {builder.place(error.mark), "", "not YAML: " + error.msg + tab_hint(yaml_text, error.mark)});
  }
  return {};
}

std::string shown(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kLongest)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  // Not in the middle of a UTF-8 character.
  if (text.size() > kLongest) {
    while (out.size() > 1 && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
    if (out.size() > 1 && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
    out += "...";
  }
  return out + "\"";
}

std::string describe(const SpecNode& node) {
  switch (node.kind) {
    case SpecNode::Kind::kMissing:
    case SpecNode::Kind::kNull:
      return "nothing";
    case SpecNode::Kind::kList:
      return "a list";
    case SpecNode::Kind::kMap:
      return "a map";
    case SpecNode::Kind::kScalar:
      return (node.quoted ? "the text " : "") + shown(node.text);
  }
  return "";
}

}  // namespace seng
