// From a tree to a JobSpec by the table of fields: types, ranges, unknown and missing keys. What holds
// between several keys is job_spec.cpp's business.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "protocol/spec/job_spec.h"
#include "protocol/spec/spec_tree.h"

namespace seng {

struct DecodedSpec {
  JobSpec spec;                              // defaults where the tree says nothing
  std::set<std::string, std::less<>> given;  // paths of the fields that the tree has, right or wrong
  std::set<std::string, std::less<>> wrong;  // paths of fields and groups with a problem
};

DecodedSpec decode_spec(const SpecNode& root, SpecProblems& problems);

// Where the field stands, else its group, else the whole.
std::string place_of(const SpecNode& root, std::string_view path);

}  // namespace seng
