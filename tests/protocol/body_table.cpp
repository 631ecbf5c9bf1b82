// The table of all messages, compiled once.
#include "tests/protocol/body_table.h"

namespace seng {

template const std::vector<BodyInfo>& body_table<AllMessages>();

}  // namespace seng
