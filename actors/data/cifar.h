// CIFAR-10 and CIFAR-100 in their binary form, as published: files of records, each the label bytes and then
// 32 x 32 red, green and blue values, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
#pragma once

#include <string>
#include <vector>

#include "actors/data/dataset.h"
#include "actors/data/places.h"

namespace seng {

// What tells one such set from another.
struct CifarFamily {
  std::string name;              // cifar10
  std::string published_folder;  // cifar-10-batches-bin: what the archive unpacks to
  std::string archive;           // cifar-10-binary.tar.gz
  std::vector<std::string> train_files, test_files;
  std::size_t records = 10'000;  // of each test file and, for CIFAR-10, each training file
  std::size_t train_records = 10'000;
  int classes = 10;
  int label_bytes = 1;  // CIFAR-100: coarse, then fine; the last one counts
  std::vector<ChannelScale> scales;
};
const CifarFamily& cifar10_family();
const CifarFamily& cifar100_family();

struct CifarLimits {
  std::size_t train = 0, test = 0;  // use the first n images; 0: all
};
// The first candidate directory with any of the files is taken, and must have all. A file of another length
// than published, or with a label out of range, is refused by name.
Result<DataSplits> open_cifar(const CifarFamily& family, const std::string& root, const DataPlaces& places,
                              const CifarLimits& limits);

}  // namespace seng
