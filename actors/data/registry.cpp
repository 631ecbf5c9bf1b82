#include <array>

#include <fmt/format.h>

#include "actors/data/cifar.h"
#include "actors/data/dataset.h"
#include "actors/data/image_folder.h"
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

Result<DataSplits> cifar(const CifarFamily& family, const std::string& root, DataOptions& options) {
  std::uint64_t train = 0, test = 0;
  options.whole("train_limit", 0, kMaxSamples, &train);
  options.whole("test_limit", 0, kMaxSamples, &test);
  SENG_TRY(options.finish());
  return open_cifar(family, root, process_data_places(), {train, test});
}

Result<DataSplits> cifar10(const std::string& root, DataOptions& options) {
  return cifar(cifar10_family(), root, options);
}

Result<DataSplits> cifar100(const std::string& root, DataOptions& options) {
  return cifar(cifar100_family(), root, options);
}

Result<DataSplits> imagefolder(const std::string& root, DataOptions& options) {
  std::uint64_t size = 224, resize = 0, channels = 3;
  std::string broken = "fail", cache = "auto";
  options.whole("size", 1, 4096, &size);
  options.whole("resize", 1, 8192, &resize);
  options.whole("channels", 1, 3, &channels);
  options.word("broken", {"fail", "skip"}, &broken);
  options.text("cache", &cache);
  // ImageNet's, as torchvision gives them.
  std::vector<double> mean = {.485, .456, .406}, deviation = {.229, .224, .225};
  if (channels == 1) mean = {.449}, deviation = {.226};
  options.reals("mean", 0, 1, &mean);
  options.reals("deviation", 1e-6, 1, &deviation);
  SENG_TRY(options.finish());
  if (channels == 2)
    return fail(ErrorCode::kInvalidArgument, "data.channels of imagefolder: expected 1 or 3, found 2");
  if (root == "auto")
    return fail(ErrorCode::kInvalidArgument,
                "data set imagefolder: expected data.root, the directory that holds train and val (or test)");
  if (cache != "auto" && cache != "off" && !cache.starts_with('/'))
    return fail(
        ErrorCode::kInvalidArgument,
        "data.cache of imagefolder: expected auto, off or an absolute directory, found \"" + cache + "\"");
  if (cache == "auto") cache = cache_directory(process_data_places());
  ImageFolderOptions values;
  values.size = static_cast<int>(size);
  values.resize = static_cast<int>(resize);
  values.channels = static_cast<int>(channels);
  values.skip_broken = broken == "skip";
  values.cache = cache.empty() ? "off" : cache;
  for (std::size_t c = 0; c < channels; ++c) values.scales.push_back({mean[c], deviation[c]});
  return open_image_folder(root, values);
}

struct Entry {
  std::string_view name;
  Result<DataSplits> (*open)(const std::string& root, DataOptions& options);
};
constexpr std::array<Entry, 6> kEntries = {{
    {"cifar10", cifar10},
    {"cifar100", cifar100},
    {"fashion-mnist", fashion_mnist},
    {"imagefolder", imagefolder},
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
