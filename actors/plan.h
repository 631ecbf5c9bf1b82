// What a job would need, said before anything starts: `seng-actor plan`. README.md of this folder lists the
// JSON's fields.
#pragma once

#include <string>

namespace seng {

struct PlanOutcome {
  std::string json;  // one line
  bool ok = false;
};

// `lanes`: of each actor, where the job leaves it to the slot.
PlanOutcome plan_job(const std::string& spec_yaml, int lanes);

}  // namespace seng
