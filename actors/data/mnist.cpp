#include "actors/data/mnist.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "actors/data/byte_images.h"
#include "actors/data/idx.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

constexpr int kClasses = 10;
constexpr int kMaxSide = 4096;
constexpr std::array<const char*, 4> kFiles = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                               "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

// The file itself, else its compressed form, else nothing.
std::optional<std::string> find_file(const std::string& directory, const std::string& name) {
  for (const char* suffix : {"", ".gz"}) {
    const fs::path path = fs::path(directory) / (name + suffix);
    std::error_code error;
    if (fs::exists(path, error)) return path.string();
  }
  return std::nullopt;
}

Error missing(const MnistFamily& family, const std::vector<std::string>& candidates) {
  std::string text = "data set " + family.name + " not found; looked in:";
  for (const std::string& directory : candidates) text += "\n    " + searched(directory);
  text += "\n  ";
  if (!family.debian_package.empty())
    text += "install it with `apt-get install " + family.debian_package + "`, or ";
  text += "put the four files of " + family.download_url + " (" + kFiles[0] +
          ".gz, ...) into one of these, or name ";
  text += "their directory as data.root";
  return {ErrorCode::kNotFound, text};
}

// The four files' paths, in kFiles' order.
Result<std::array<std::string, 4>> find_files(const MnistFamily& family,
                                              const std::vector<std::string>& candidates) {
  for (const std::string& directory : candidates) {
    std::array<std::string, 4> paths;
    std::string lacking;
    int found = 0;
    for (std::size_t i = 0; i < kFiles.size(); ++i) {
      if (auto path = find_file(directory, kFiles[i])) {
        paths[i] = *path;
        ++found;
      } else {
        lacking += std::string(lacking.empty() ? "" : ", ") + kFiles[i] + "[.gz]";
      }
    }
    if (found == 4) return paths;
    if (found > 0) {
      return fail(ErrorCode::kNotFound, "data set " + family.name + " in " + directory +
                                            " is incomplete: it lacks " + lacking +
                                            "; add what is missing, or remove the rest");
    }
  }
  return fail(missing(family, candidates));
}

Status check_split(const IdxArray& images, const std::string& images_path, const IdxArray& labels,
                   const std::string& labels_path) {
  if (images.dimensions[1] > kMaxSide || images.dimensions[2] > kMaxSide) {
    return fail(ErrorCode::kCorrupt, images_path + ": images of " + std::to_string(images.dimensions[1]) +
                                         " x " + std::to_string(images.dimensions[2]) +
                                         "; expected at most " + std::to_string(kMaxSide) + " a side");
  }
  if (images.dimensions[0] != labels.dimensions[0]) {
    return fail(ErrorCode::kCorrupt, images_path + " has " + std::to_string(images.dimensions[0]) +
                                         " images but " + labels_path + " has " +
                                         std::to_string(labels.dimensions[0]) + " labels");
  }
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    if (labels.values[i] >= kClasses) {
      return fail(ErrorCode::kCorrupt, labels_path + ": label " + std::to_string(labels.values[i]) +
                                           " at index " + std::to_string(i) + "; expected 0 to " +
                                           std::to_string(kClasses - 1));
    }
  }
  return {};
}

Result<std::unique_ptr<Dataset>> open_split(const MnistFamily& family, const std::string& images_path,
                                            const std::string& labels_path, std::size_t limit,
                                            const char* option) {
  auto images = read_idx(images_path, 3);
  if (!images) return fail(images.error());
  auto labels = read_idx(labels_path, 1);
  if (!labels) return fail(labels.error());
  SENG_TRY(check_split(*images, images_path, *labels, labels_path));
  const std::size_t available = labels->values.size();
  if (limit > available) {
    return fail(ErrorCode::kInvalidArgument, std::string(option) + " is " + std::to_string(limit) + ", but " +
                                                 images_path + " has " + std::to_string(available) +
                                                 " images");
  }
  ByteImagesContent content;
  content.height = static_cast<int>(images->dimensions[1]);
  content.width = static_cast<int>(images->dimensions[2]);
  content.classes = kClasses;
  content.scales = {{family.mean, family.deviation}};
  content.values = std::move(images->values);
  content.labels = std::move(labels->values);
  if (limit > 0) {
    content.values.resize(limit * content.height * content.width);
    content.values.shrink_to_fit();
    content.labels.resize(limit);
    content.labels.shrink_to_fit();
  }
  return std::make_unique<ByteImages>(std::move(content));
}

}  // namespace

const MnistFamily& fashion_mnist_family() {
  static const MnistFamily family{"fashion-mnist",
                                  "FashionMNIST",
                                  "dataset-fashion-mnist",
                                  "https://github.com/zalandoresearch/fashion-mnist",
                                  .2860,
                                  .3530};
  return family;
}

const MnistFamily& mnist_family() {
  static const MnistFamily family{"mnist", "MNIST", "", "https://yann.lecun.com/exdb/mnist", .1307, .3081};
  return family;
}

std::vector<std::string> candidate_directories(const MnistFamily& family, const std::string& root,
                                               const DataPlaces& places) {
  return candidate_directories(std::vector<std::string>{family.name, family.torchvision_folder + "/raw"},
                               root, places);
}

Result<DataSplits> open_mnist(const MnistFamily& family, const std::string& root, const DataPlaces& places,
                              const MnistLimits& limits) {
  auto files = find_files(family, candidate_directories(family, root, places));
  if (!files) return fail(files.error());
  DataSplits splits;
  auto train = open_split(family, (*files)[0], (*files)[1], limits.train, "train_limit");
  if (!train) return fail(train.error());
  auto test = open_split(family, (*files)[2], (*files)[3], limits.test, "test_limit");
  if (!test) return fail(test.error());
  if ((*train)->height() != (*test)->height() || (*train)->width() != (*test)->width()) {
    return fail(ErrorCode::kCorrupt, (*files)[0] + " and " + (*files)[2] + " hold images of different sizes");
  }
  splits.train = std::move(*train);
  splits.test = std::move(*test);
  return splits;
}

}  // namespace seng
