#include <array>

#include <fmt/format.h>

#include "actors/data/dataset.h"
#include "actors/data/mnist.h"
#include "actors/data/options.h"
#include "actors/data/synthetic.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr std::uint64_t kMaxSamples = 0xffffffff;  // an index is 32 bits

Result<DataSplits> open_family(const MnistFamily& family, const std::string& root, DataOptions& options) {
  std::uint64_t train = 0, test = 0;
  options.whole("train_limit", 0, kMaxSamples, &train);
  options.whole("test_limit", 0, kMaxSamples, &test);
  SENG_TRY(options.finish());
  return open_mnist(family, root, process_data_places(), {train, test});
}

Result<DataSplits> fashion_mnist(const std::string& root, DataOptions& options) {
  return open_family(fashion_mnist_family(), root, options);
}

Result<DataSplits> mnist(const std::string& root, DataOptions& options) {
  return open_family(mnist_family(), root, options);
}

Result<DataSplits> synthetic(const std::string& root, DataOptions& options) {
  SyntheticOptions values;
  options.whole("channels", 1, 1024, &values.channels);
  options.whole("height", 1, 4096, &values.height);
  options.whole("width", 1, 4096, &values.width);
  options.whole("classes", 2, 100'000, &values.classes);
  options.whole("train", 1, kMaxSamples, &values.train);
  options.whole("test", 1, kMaxSamples, &values.test);
  options.whole("seed", 0, ~std::uint64_t{0}, &values.seed);
  options.real("noise", 0, 1000, &values.noise);
  SENG_TRY(options.finish());
  if (root != "auto") {
    return fail(ErrorCode::kInvalidArgument,
                "data.root is \"" + root + "\", but data set synthetic is not read from files: leave it out");
  }
  return open_synthetic(values);
}

struct Entry {
  std::string_view name;
  Result<DataSplits> (*open)(const std::string& root, DataOptions& options);
};
constexpr std::array<Entry, 3> kEntries = {{
    {"fashion-mnist", fashion_mnist},
    {"mnist", mnist},
    {"synthetic", synthetic},
}};

}  // namespace

Result<DataSplits> open_dataset(const std::string& name, const std::string& root,
                                const std::map<std::string, std::string>& options) {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) {
    if (entry.name == name) {
      DataOptions given(name, options);
      return entry.open(root, given);
    }
    names.emplace_back(entry.name);
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("unknown data set \"{}\"{} (there are: {})", name,
                                                       did_you_mean(name, names), fmt::join(names, ", ")));
}

}  // namespace seng
