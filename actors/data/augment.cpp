#include "actors/data/augment.h"

#include <algorithm>
#include <array>

namespace seng {
namespace {

// Each operation has a random stream of its own, so that one that is added or left out changes no other.
enum Operation : std::uint64_t {
  kResizedCrop = 1,
  kPadCrop = 2,
  kFlip = 3,
  kJitter = 4,
  kCutout = 5,
  kMixup = 6
};

Random random_of(std::uint64_t seed, const SampleUse& sample, Operation operation) {
  return {seed, RandomPurpose::kAugmentation, sample.epoch + (std::uint64_t{operation} << 56), sample.index};
}

bool has_jitter(const AugmentSpec& spec) {
  return spec.brightness > 0 || spec.contrast > 0 || spec.saturation > 0 || spec.hue > 0;
}

// The steps in random order, each with its random amount.
std::vector<JitterStep> jitter_steps(const AugmentSpec& spec, Random random) {
  const auto factor = [&](double strength) {
    const double low = std::max(0.0, 1 - strength);
    return static_cast<float>(low + (1 + strength - low) * random.uniform());
  };
  std::array<JitterStep, 4> all = {
      {{Jitter::kBrightness, factor(spec.brightness)},
       {Jitter::kContrast, factor(spec.contrast)},
       {Jitter::kSaturation, factor(spec.saturation)},
       {Jitter::kHue, static_cast<float>(spec.hue * (2 * random.uniform() - 1))}}};
  for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.below(i)]);
  const std::array<double, 4> strengths = {spec.brightness, spec.contrast, spec.saturation, spec.hue};
  std::vector<JitterStep> steps;
  for (const JitterStep& step : all) {
    if (strengths[static_cast<std::size_t>(step.kind)] > 0) steps.push_back(step);
  }
  return steps;
}

// Between normalised values and those from 0 to 1, where jitter works.
void rescale(const ImagePlanes& planes, std::span<const ChannelScale> scales, bool to_unit, float* image) {
  for (int c = 0; c < planes.channels; ++c) {
    const auto mean = static_cast<float>(scales[c].mean), deviation = static_cast<float>(scales[c].deviation);
    float* at = image + c * planes.pixels();
    for (std::size_t i = 0; i < planes.pixels(); ++i)
      at[i] = to_unit ? at[i] * deviation + mean : (at[i] - mean) / deviation;
  }
}

// Each sample becomes a mixture of itself and the next one of the micro-batch, the last one of the first.
void mix(std::span<const SampleUse> samples, double alpha, std::uint64_t seed, std::size_t image_floats,
         LabelledImages& out) {
  const std::size_t n = samples.size();
  const std::vector<float> unmixed = out.images;
  out.partners.resize(n);
  out.weights.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t partner = (i + 1) % n;
    Random random = random_of(seed, samples[i], kMixup);
    const auto weight = static_cast<float>(symmetric_beta(alpha, random));
    out.weights[i] = weight;
    out.partners[i] = out.labels[partner];
    const float* a = unmixed.data() + i * image_floats;
    const float* b = unmixed.data() + partner * image_floats;
    float* to = out.images.data() + i * image_floats;
    for (std::size_t j = 0; j < image_floats; ++j) to[j] = weight * a[j] + (1 - weight) * b[j];
  }
}

}  // namespace

Result<Augmenter> Augmenter::create(const AugmentSpec& spec, std::uint64_t seed, const Dataset& data) {
  const int channels = data.channels();
  const bool bytes = !data.scales().empty();
  if (has_jitter(spec) && (!bytes || (channels != 1 && channels != 3)))
    return fail(ErrorCode::kInvalidArgument,
                "data.augment.color_jitter: this data set's images are neither grey nor red, green and blue");
  if ((spec.saturation > 0 || spec.hue > 0) && channels != 3)
    return fail(ErrorCode::kInvalidArgument,
                "data.augment.color_jitter: grey images have no saturation and hue; expected 0 for both");
  const int side = std::min(data.height(), data.width());
  for (const auto& [key, pixels] : {std::pair{"pad_crop", spec.pad_crop}, {"cutout", spec.cutout}}) {
    if (pixels > static_cast<std::uint32_t>(side))
      return fail(ErrorCode::kInvalidArgument,
                  "data.augment." + std::string(key) + ": " + std::to_string(pixels) +
                      " pixels; expected at most the images' " + std::to_string(side));
  }
  return Augmenter(spec, seed, data);
}

Augmenter::Augmenter(const AugmentSpec& spec, std::uint64_t seed, const Dataset& data)
    : spec_(spec),
      seed_(seed),
      data_(&data),
      planes_{data.channels(), {data.height(), data.width()}},
      black_(data.channels()),
      plain_(spec == AugmentSpec{}) {
  const auto scales = data.scales();
  for (std::size_t c = 0; c < scales.size(); ++c)
    black_[c] = static_cast<float>((0.0 - scales[c].mean) / scales[c].deviation);
}

Status Augmenter::read(std::span<const SampleUse> samples, LabelledImages& out) const {
  out.images.resize(samples.size() * planes_.count());
  out.labels.resize(samples.size());
  out.partners.clear();
  out.weights.clear();
  if (plain_) {
    std::vector<std::uint32_t> indices(samples.size());
    std::transform(samples.begin(), samples.end(), indices.begin(),
                   [](const SampleUse& s) { return s.index; });
    return data_->read(indices, out.images.data(), out.labels.data());
  }
  for (std::size_t i = 0; i < samples.size(); ++i)
    SENG_TRY(read_one(samples[i], out.images.data() + i * planes_.count(), &out.labels[i]));
  if (spec_.mixup > 0 && samples.size() > 1) mix(samples, spec_.mixup, seed_, planes_.count(), out);
  return {};
}

Status Augmenter::read_one(const SampleUse& sample, float* image, std::int32_t* label) const {
  if (spec_.resized_crop > 0) {
    const auto choose = [&](PixelSize source) {
      Random random = random_of(seed_, sample, kResizedCrop);
      return choose_part(source, spec_.resized_crop, random);
    };
    SENG_TRY(data_->read_part(sample.index, choose, image, label));
  } else {
    SENG_TRY(data_->read({&sample.index, 1}, image, label));
  }
  if (spec_.pad_crop > 0) {
    Random random = random_of(seed_, sample, kPadCrop);
    const auto pad = static_cast<int>(spec_.pad_crop);
    const int down = static_cast<int>(random.below(2 * pad + 1)) - pad,
              right = static_cast<int>(random.below(2 * pad + 1)) - pad;
    const std::vector<float> whole(image, image + planes_.count());
    shift(planes_, whole.data(), down, right, black_, image);
  }
  if (spec_.flip && random_of(seed_, sample, kFlip).uniform() < 0.5f) flip_left_right(planes_, image);
  if (has_jitter(spec_)) {
    const auto steps = jitter_steps(spec_, random_of(seed_, sample, kJitter));
    rescale(planes_, data_->scales(), true, image);
    jitter(planes_, steps, image);
    rescale(planes_, data_->scales(), false, image);
  }
  if (spec_.cutout > 0) {
    Random random = random_of(seed_, sample, kCutout);
    const int row = static_cast<int>(random.below(planes_.size.height)),
              column = static_cast<int>(random.below(planes_.size.width));
    cut_out(planes_, row, column, static_cast<int>(spec_.cutout), image);
  }
  return {};
}

}  // namespace seng
