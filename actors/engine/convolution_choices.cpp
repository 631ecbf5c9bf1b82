#include "actors/engine/convolution_choices.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace seng {
namespace {

constexpr std::string_view kBetween = "; ", kIs = " = ";

const char* pass_name(ConvolutionPass pass) {
  switch (pass) {
    case ConvolutionPass::kForward:
      return "forward";
    case ConvolutionPass::kBackwardData:
      return "data";
    case ConvolutionPass::kBackwardWeights:
      return "weights";
  }
  return "";
}

// A device's name as the table writes it: what divides entries is none of it.
std::string written(std::string_view device) {
  std::string out(device.substr(0, 255));
  std::ranges::replace_if(
      out, [](char c) { return c == ';' || c == '=' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      ' ');
  return out;
}

bool is_entry_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ' ';
  });
}

tl::unexpected<Error> refused(std::string_view what) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("no table of choices: {}; expected a device's name, then \"; convolution = "
                          "algorithm\" for each, in order",
                          what));
}

}  // namespace

std::string key_text(const ConvolutionKey& key) {
  const ConvolutionGeometry& g = key.geometry;
  return fmt::format("{} {} {} {}x{}x{}x{} {}x{}x{} s{} p{}", pass_name(key.pass),
                     arithmetic_name(key.precision), key.channels_last ? "nhwc" : "nchw", key.batch,
                     g.channels_in, g.height_in, g.width_in, g.channels_out, g.kernel_h, g.kernel_w, g.stride,
                     g.padding);
}

ConvolutionChoices::ConvolutionChoices(std::string_view device) : device_(written(device)) {}

bool ConvolutionChoices::is_of(std::string_view device) const {
  return device_ == written(device);
}

std::optional<int> ConvolutionChoices::find(const ConvolutionKey& key) const {
  const auto found = algorithms_.find(key_text(key));
  return found == algorithms_.end() ? std::nullopt : std::optional(found->second);
}

void ConvolutionChoices::set(const ConvolutionKey& key, int algorithm) {
  SENG_CHECK(algorithm >= 0 && algorithm <= kMostAlgorithm, "an algorithm's number");
  algorithms_[key_text(key)] = algorithm;
}

std::string ConvolutionChoices::to_text() const {
  std::string out = device_;
  for (const auto& [name, algorithm] : algorithms_)
    out += fmt::format("{}{}{}{}", kBetween, name, kIs, algorithm);
  return out;
}

Result<ConvolutionChoices> ConvolutionChoices::parse(std::string_view text) {
  ConvolutionChoices out;
  std::size_t at = std::min(text.find(kBetween), text.size());
  out.device_ = text.substr(0, at);
  if (out.device_.empty() || !out.is_of(out.device_)) return refused("it names no device");
  while (at < text.size()) {
    at += kBetween.size();
    const std::size_t end = std::min(text.find(kBetween, at), text.size());
    const std::string_view entry = text.substr(at, end - at);
    const std::size_t is = entry.find(kIs);
    const std::string_view name = entry.substr(0, is);
    const std::string_view number = is == entry.npos ? "" : entry.substr(is + kIs.size());
    int algorithm = -1;
    const auto read = std::from_chars(number.data(), number.data() + number.size(), algorithm);
    if (!is_entry_name(name) || read.ec != std::errc() || read.ptr != number.data() + number.size() ||
        algorithm < 0 || algorithm > kMostAlgorithm)
      return refused(fmt::format("\"{}\"", entry.substr(0, 100)));
    if (!out.algorithms_.empty() && out.algorithms_.rbegin()->first >= name)
      return refused(fmt::format("\"{}\" comes out of order, or twice", name.substr(0, 100)));
    out.algorithms_.emplace_hint(out.algorithms_.end(), name, algorithm);
    at = end;
  }
  return out;
}

}  // namespace seng
