// parse_ranks and ranks_text of job_spec.h.
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "protocol/spec/job_spec.h"

namespace seng {

Result<std::vector<int>> parse_ranks(std::string_view ranks) {
  constexpr int kMost = 65535;
  std::vector<int> out;
  const char *at = ranks.data(), *const end = at + ranks.size();
  while (at != end) {
    int rank = -1;
    const auto [next, error] = std::from_chars(at, end, rank);
    const bool ends = next == end || (*next == ' ' && next + 1 != end);
    if (error != std::errc() || !ends || rank < 0 || rank > kMost)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("\"{}\"; expected whole numbers from 0 to {} with a space between them", ranks, kMost));
    out.push_back(rank);
    at = next == end ? end : next + 1;
  }
  return out;
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("{}", fmt::join(ranks, " "));
}

}  // namespace seng
