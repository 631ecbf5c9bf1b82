// A leader's reports, as they were sent: they are told again to a new daemon, whose predecessor may have died
// before it stored them.
#pragma once

#include <deque>

#include "protocol/messages/lifecycle.h"
#include "protocol/wire/message.h"

namespace seng {

// Not thread-safe.
class ToldReports {
 public:
  void keep(Message report);
  void forget() { reports_.clear(); }
  const std::deque<Message>& all() const { return reports_; }  // oldest first

 private:
  std::deque<Message> reports_;
};

}  // namespace seng
