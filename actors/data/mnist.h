// MNIST and Fashion-MNIST: four IDX files in a directory, each plain or with .gz.
#pragma once

#include <string>
#include <vector>

#include "actors/data/dataset.h"
#include "actors/data/places.h"

namespace seng {

// What tells one such set from another.
struct MnistFamily {
  std::string name;                // fashion-mnist
  std::string torchvision_folder;  // FashionMNIST: torchvision keeps the files below <this>/raw
  std::string debian_package;      // empty: none
  std::string download_url;        // where the four files come from
  double mean = 0, deviation = 1;  // of the training set's values / 255, as published
};

const MnistFamily& fashion_mnist_family();
const MnistFamily& mnist_family();

// The directories that may hold the set, in the order of the search. root: "auto" or a directory.
std::vector<std::string> candidate_directories(const MnistFamily& family, const std::string& root,
                                               const DataPlaces& places);

struct MnistLimits {
  std::size_t train = 0, test = 0;  // use the first n images; 0: all
};
// The first candidate directory with any of the four files is taken, and must have all four.
Result<DataSplits> open_mnist(const MnistFamily& family, const std::string& root, const DataPlaces& places,
                              const MnistLimits& limits);

}  // namespace seng
