#include "actors/data/cifar.h"

#include <filesystem>

#include <fmt/format.h>

#include "actors/data/byte_images.h"
#include "protocol/base/file.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32, kChannels = 3;
constexpr std::size_t kImageBytes = std::size_t{kChannels} * kSide * kSide;

bool exists(const std::string& directory, const std::string& file) {
  std::error_code error;
  return fs::exists(fs::path(directory) / file, error);
}

Result<std::string> find_directory(const CifarFamily& family, const std::vector<std::string>& candidates) {
  std::vector<std::string> files = family.train_files;
  files.insert(files.end(), family.test_files.begin(), family.test_files.end());
  for (const std::string& directory : candidates) {
    std::vector<std::string> lacking;
    for (const std::string& file : files) {
      if (!exists(directory, file)) lacking.push_back(file);
    }
    if (lacking.empty()) return directory;
    if (lacking.size() < files.size())
      return fail(ErrorCode::kNotFound,
                  fmt::format("data set {} in {} is incomplete: it lacks {}; add what is missing, or remove "
                              "the rest",
                              family.name, directory, fmt::join(lacking, ", ")));
  }
  std::string places;
  for (const std::string& directory : candidates) places += "\n    " + searched(directory);
  return fail(ErrorCode::kNotFound,
              fmt::format("data set {} not found; looked in:{}\n  unpack {} of "
                          "https://www.cs.toronto.edu/~kriz/cifar.html into one of these, or name its "
                          "directory as data.root",
                          family.name, places, family.archive));
}

Status append_file(const CifarFamily& family, const std::string& path, std::size_t records,
                   ByteImagesContent& content) {
  const std::size_t record = family.label_bytes + kImageBytes, expected = records * record;
  auto bytes = read_file(path, expected);
  if (!bytes && bytes.error().code != ErrorCode::kExhausted) return fail(bytes.error());
  if (!bytes || bytes->size() != expected)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes; expected {}, {} records of {}", path,
                            bytes ? std::to_string(bytes->size()) : "more", expected, records, record));
  for (std::size_t i = 0; i < records; ++i) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(bytes->data()) + i * record;
    const std::uint8_t label = at[family.label_bytes - 1];
    if (label >= family.classes)
      return fail(ErrorCode::kCorrupt, fmt::format("{}: label {} of record {}; expected 0 to {}", path, label,
                                                   i, family.classes - 1));
    content.labels.push_back(label);
    content.values.insert(content.values.end(), at + family.label_bytes, at + record);
  }
  return {};
}

Result<std::unique_ptr<Dataset>> open_split(const CifarFamily& family, const std::string& directory,
                                            const std::vector<std::string>& files, std::size_t records,
                                            std::size_t limit, const char* option) {
  const std::size_t available = records * files.size();
  if (limit > available)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is {}, but {} has {} images", option, limit, directory, available));
  ByteImagesContent content;
  content.channels = kChannels;
  content.height = content.width = kSide;
  content.classes = family.classes;
  content.scales = family.scales;
  content.values.reserve(available * kImageBytes);
  for (const std::string& file : files)
    SENG_TRY(append_file(family, (fs::path(directory) / file).string(), records, content));
  if (limit > 0) {
    content.values.resize(limit * kImageBytes);
    content.values.shrink_to_fit();
    content.labels.resize(limit);
  }
  return std::make_unique<ByteImages>(std::move(content));
}

}  // namespace

const CifarFamily& cifar10_family() {
  static const CifarFamily family{
      "cifar10",
      "cifar-10-batches-bin",
      "cifar-10-binary.tar.gz",
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      {"test_batch.bin"},
      10'000,
      10'000,
      10,
      1,
      {{.4914, .2470}, {.4822, .2435}, {.4465, .2616}}};
  return family;
}

const CifarFamily& cifar100_family() {
  static const CifarFamily family{"cifar100",
                                  "cifar-100-binary",
                                  "cifar-100-binary.tar.gz",
                                  {"train.bin"},
                                  {"test.bin"},
                                  10'000,
                                  50'000,
                                  100,
                                  2,
                                  {{.5071, .2673}, {.4865, .2564}, {.4409, .2762}}};
  return family;
}

Result<DataSplits> open_cifar(const CifarFamily& family, const std::string& root, const DataPlaces& places,
                              const CifarLimits& limits) {
  const auto directory =
      find_directory(family, candidate_directories({family.name, family.published_folder}, root, places));
  if (!directory) return fail(directory.error());
  auto train =
      open_split(family, *directory, family.train_files, family.train_records, limits.train, "train_limit");
  if (!train) return fail(train.error());
  auto test = open_split(family, *directory, family.test_files, family.records, limits.test, "test_limit");
  if (!test) return fail(test.error());
  DataSplits splits;
  splits.train = std::move(*train);
  splits.test = std::move(*test);
  return splits;
}

}  // namespace seng
