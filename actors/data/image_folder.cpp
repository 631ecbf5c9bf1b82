#include "actors/data/image_folder.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>

#include "actors/data/byte_images.h"
#include "actors/data/folder_listing.h"
#include "actors/data/image_cache.h"
#include "actors/data/image_file.h"
#include "actors/data/places.h"
#include "actors/data/resample.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

constexpr int kMostThreads = 8;

std::uint8_t to_byte(float value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value), 0l, 255l));
}

// The largest reduction that leaves at least as many pixels as are wanted.
int reduction_for(const PixelBox& box, int size) {
  for (const int reduction : {8, 4, 2}) {
    if (box.height >= double(size) * reduction && box.width >= double(size) * reduction) return reduction;
  }
  return 1;
}

class ImageFolder : public Dataset {
 public:
  ImageFolder(FolderListing listing, const ImageFolderOptions& options)
      : listing_(std::move(listing)), options_(options), tables_(byte_tables(options.scales)) {}

  std::size_t size() const override { return listing_.size(); }
  int channels() const override { return options_.channels; }
  int height() const override { return options_.size; }
  int width() const override { return options_.size; }
  int classes() const override { return static_cast<int>(listing_.classes().size()); }
  std::span<const ChannelScale> scales() const override { return options_.scales; }
  std::size_t bytes() const override { return listing_.bytes() + sizeof(*this); }

  Status read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const override {
    std::vector<std::uint8_t> unpacked(cache_ ? 0 : image_bytes());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      SENG_CHECK(indices[i] < size(), "sample index inside the data set");
      if (!cache_) SENG_TRY(unpack(indices[i], unpacked.data()));
      normalise(tables_, cache_ ? cache_->image(indices[i]) : unpacked.data(), pixels(),
                images + i * image_bytes());
      labels[i] = listing_.label(indices[i]);
    }
    return {};
  }

  Status read_part(std::uint32_t index, const ChooseBox& choose, float* image,
                   std::int32_t* label) const override {
    SENG_CHECK(index < size(), "sample index inside the data set");
    SENG_TRY(decode_part(index, choose, image));
    for (int c = 0; c < options_.channels; ++c) {
      const ChannelScale& scale = options_.scales[c];
      const auto factor = static_cast<float>(1 / (255 * scale.deviation)),
                 shift = static_cast<float>(-scale.mean / scale.deviation);
      for (std::size_t i = 0; i < pixels(); ++i)
        image[c * pixels() + i] = image[c * pixels() + i] * factor + shift;
    }
    *label = listing_.label(index);
    return {};
  }

  Status prepare() override {
    if (options_.cache == "off" || cache_ || size() * image_bytes() > kMaxCacheBytes) return {};
    const auto side = static_cast<std::uint32_t>(options_.size);
    const ImageCacheShape shape{static_cast<std::uint32_t>(options_.channels), side, side, size()};
    const auto fingerprint = listing_.fingerprint(fmt::format("imagefolder 2 {} {} {} {}", options_.channels,
                                                              options_.size, resize(), options_.skip_broken));
    if (!fingerprint) return fail(fingerprint.error());
    const std::string path =
        options_.cache + "/imagefolder-" + to_hex(*fingerprint).substr(0, 16) + ".images";
    auto cache = ImageCache::open_or_make(
        path, shape, *fingerprint, [&](std::uint64_t i, std::uint8_t* out) { return unpack(i, out); },
        std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads),
        [](const std::string& text) { log_warning("{}", text); });
    if (!cache) return fail(cache.error());
    cache_ = std::move(*cache);
    return {};
  }

 private:
  std::size_t pixels() const { return std::size_t(options_.size) * options_.size; }
  std::size_t image_bytes() const { return options_.channels * pixels(); }
  int resize() const { return options_.resize > 0 ? options_.resize : options_.size; }

  // The middle of the picture, its shorter side scaled to resize(), as bytes [C, H, W].
  Status unpack(std::uint64_t index, std::uint8_t* out) const {
    std::vector<float> values(image_bytes());
    SENG_TRY(decode_part(
        static_cast<std::uint32_t>(index),
        [&](PixelSize full) {
          const double side = std::min(full.height, full.width) * double(options_.size) / resize();
          return PixelBox{(full.height - side) / 2, (full.width - side) / 2, side, side};
        },
        values.data()));
    std::transform(values.begin(), values.end(), out, to_byte);
    return {};
  }

  // The file itself is bad, for everybody. One that cannot be read here and now may be good elsewhere: taking
  // another in its place would make the samples depend on who reads them.
  static bool is_broken(const Error& error) {
    return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kExhausted;
  }

  // Values from 0 to 255, [C, H, W].
  Status decode_part(std::uint32_t index, const ChooseBox& choose, float* out) const {
    const std::uint32_t begin = listing_.class_begin(listing_.label(index)),
                        end = listing_.class_begin(listing_.label(index) + 1);
    Status first;
    for (std::uint32_t tried = 0; tried < end - begin; ++tried) {
      const std::uint32_t at = begin + (index - begin + tried) % (end - begin);
      Status status = decode_file(listing_.path(at), choose, out);
      if (status || !options_.skip_broken || !is_broken(status.error())) return status;
      log_warning("{}; another picture of its class takes its place", status.error().message);
      if (tried == 0) first = std::move(status);
    }
    return first;
  }

  Status decode_file(const std::string& path, const ChooseBox& choose, float* out) const {
    PixelBox box;
    const auto image = read_image(path, options_.channels, [&](PixelSize full) {
      box = choose(full);
      return reduction_for(box, options_.size);
    });
    if (!image) return fail(image.error());
    if (box.height == 0) box = choose(image->full);  // a format without reductions
    const double down = double(image->size.height) / image->full.height,
                 across = double(image->size.width) / image->full.width;
    const PixelBox scaled{box.top * down, box.left * across, box.height * down, box.width * across};
    const auto channels = static_cast<std::size_t>(image->channels);
    resample(Raster<std::uint8_t>{image->values.data(), image->size, image->channels, 1,
                                  channels * image->size.width, channels},
             scaled, {options_.size, options_.size}, out);
    return {};
  }

  FolderListing listing_;
  ImageFolderOptions options_;
  ByteTables tables_;
  std::unique_ptr<ImageCache> cache_;
};

Status check(const ImageFolderOptions& options) {
  if (options.resize > 0 && options.resize < options.size)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("data.resize is {}, less than data.size, {}; expected at "
                            "least that",
                            options.resize, options.size));
  SENG_CHECK(options.scales.size() == std::size_t(options.channels), "a scale for each channel");
  return {};
}

}  // namespace

Result<DataSplits> open_image_folder(const std::string& root, const ImageFolderOptions& options) {
  SENG_TRY(check(options));
  namespace fs = std::filesystem;
  std::error_code error;
  const bool named_val = fs::is_directory(fs::path(root) / "val", error);
  const bool named_test = fs::is_directory(fs::path(root) / "test", error);
  if (!fs::is_directory(fs::path(root) / "train", error) || !(named_val || named_test))
    return fail(
        ErrorCode::kNotFound,
        searched(root) + ": expected the folders train and val (or test), each with a folder for each class");
  auto train = FolderListing::read(root + "/train");
  if (!train) return fail(train.error());
  auto test = FolderListing::read(root + (named_val ? "/val" : "/test"));
  if (!test) return fail(test.error());
  if (train->classes() != test->classes()) {
    std::vector<std::string> odd;
    std::set_symmetric_difference(train->classes().begin(), train->classes().end(), test->classes().begin(),
                                  test->classes().end(), std::back_inserter(odd));
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the class {} is in one of train and {} only", root,
                                                 odd.front(), named_val ? "val" : "test"));
  }
  DataSplits splits;
  splits.train = std::make_unique<ImageFolder>(std::move(*train), options);
  splits.test = std::make_unique<ImageFolder>(std::move(*test), options);
  return splits;
}

}  // namespace seng
