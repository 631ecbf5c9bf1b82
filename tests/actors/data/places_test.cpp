#include "actors/data/places.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/actors/data/scratch_directory.h"

namespace seng::places_test {
namespace {

TEST(Places, SayWhereNothingCouldBeSeen) {
  const ScratchDirectory scratch;
  const std::string closed = scratch / "closed", open = scratch / "open";
  for (const std::string& directory : {closed, open}) ASSERT_EQ(mkdir(directory.c_str(), 0755), 0);
  ASSERT_EQ(chmod(scratch.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(closed.c_str(), 0), 0);
  const bool root = geteuid() == 0;  // who may see everything
  ASSERT_TRUE(!root || seteuid(65534) == 0);
  const std::string in_it = searched(closed), below = searched(closed + "/set"), seen = searched(open),
                    absent = searched(open + "/none");
  ASSERT_TRUE(!root || seteuid(0) == 0);
  chmod(closed.c_str(), 0755);
  EXPECT_EQ(in_it, closed + " (Permission denied)");
  EXPECT_EQ(below, closed + "/set (Permission denied)");
  EXPECT_EQ(seen, open);
  EXPECT_EQ(absent, open + "/none");
}

}  // namespace
}  // namespace seng::places_test
