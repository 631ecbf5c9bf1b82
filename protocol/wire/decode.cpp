#include "protocol/wire/decode.h"

namespace seng::wire_detail {

void FieldReader::skip_below(std::uint64_t number) {
  while (reader_.ok() && !done_ && number_ < number) {
    if (reader_.skip()) next();
  }
}

void FieldReader::next() {
  if (!reader_.ok()) return;
  if (left_ == 0) {
    done_ = true;
    return;
  }
  --left_;
  const std::uint64_t before = number_;
  // The largest number itself stays free: finish() skips all below it.
  if (!reader_.read_unsigned(number_, std::numeric_limits<std::uint32_t>::max())) return;
  if (number_ == before && before != 0) {
    reader_.refuse("field " + std::to_string(number_) + " comes twice");
  } else if (number_ <= before) {
    reader_.refuse("field " + std::to_string(number_) + " comes after field " + std::to_string(before) +
                   ", out of order");
  }
}

}  // namespace seng::wire_detail
