// `--set key.path=value`: changes of a job's tree before it is checked.
#pragma once

#include <string>

#include "protocol/spec/spec_tree.h"

namespace seng {

// Puts the value (YAML: a scalar, [a, list] or {a: map}) in the place of what `root`, a map, has there,
// adding groups on the way. A scalar for a group sets the group's main key and leaves its other keys as they
// are: optimizer.lr=0.1 is optimizer.lr.initial=0.1. epochs takes the place of the file's steps, and steps of
// its epochs. Problems are appended and name "--set key.path=value" as their place.
void apply_override(SpecNode& root, const std::string& assignment, SpecProblems& problems);

}  // namespace seng
