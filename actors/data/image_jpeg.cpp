#include <turbojpeg.h>

#include "actors/data/image_file.h"

namespace seng {
namespace {

// A decompressor of the thread's own: making one costs as much as a small picture.
class Decompressor {
 public:
  Decompressor() = default;
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
  ~Decompressor() { drop(); }

  tjhandle get() {
    if (handle_ == nullptr) handle_ = tjInitDecompress();
    if (handle_ == nullptr) throw VendorError("turbojpeg: cannot make a decompressor");
    return handle_;
  }
  void drop() {
    if (handle_ != nullptr) tjDestroy(handle_);
    handle_ = nullptr;
  }

 private:
  tjhandle handle_ = nullptr;
};

Decompressor& decompressor() {
  thread_local Decompressor one;
  return one;
}

// One that met an error may be left in the middle of the picture, and would go on there with the next one.
tl::unexpected<Error> corrupt(const std::string& what) {
  decompressor().drop();
  return fail(ErrorCode::kCorrupt, "a damaged JPEG: " + what);
}

// Of warnings only the one about bytes between two segments leaves the picture as it is; others mean that a
// part of it is missing and has been made up.
bool is_harmless(tjhandle handle) {
  return tjGetErrorCode(handle) == TJERR_WARNING &&
         std::string_view(tjGetErrorStr2(handle)).find("extraneous bytes") != std::string_view::npos;
}

// Adobe's inverted inks.
void to_red_green_blue(const std::vector<std::uint8_t>& inks, std::size_t pixels,
                       std::vector<std::uint8_t>& out) {
  for (std::size_t i = 0; i < pixels; ++i) {
    for (std::size_t c = 0; c < 3; ++c)
      out[3 * i + c] = static_cast<std::uint8_t>((inks[4 * i + c] * inks[4 * i + 3] + 127) / 255);
  }
}

std::uint8_t grey_of(const std::uint8_t* rgb) {  // ITU-R BT.601, in 1/2^16
  return static_cast<std::uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16);
}

}  // namespace

Result<FileImage> decode_jpeg(std::string_view bytes, int channels, const ChooseReduction& reduction) {
  tjhandle handle = decompressor().get();
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());
  FileImage image;
  image.channels = channels;
  int subsampling = 0, colours = 0;
  if (tjDecompressHeader3(handle, data, size, &image.full.width, &image.full.height, &subsampling,
                          &colours) != 0 &&
      !is_harmless(handle))
    return corrupt(tjGetErrorStr2(handle));
  if (image.full.height < 1 || image.full.width < 1) return corrupt("it ends before the picture");
  SENG_TRY(check_image_size(image.full));
  const tjscalingfactor factor{1, reduction(image.full)};
  image.size = {TJSCALED(image.full.height, factor), TJSCALED(image.full.width, factor)};
  const std::size_t pixels = std::size_t(image.size.height) * image.size.width;
  image.values.resize(pixels * channels);
  const bool inks = colours == TJCS_CMYK || colours == TJCS_YCCK;
  const int format = inks ? TJPF_CMYK : channels == 1 ? TJPF_GRAY : TJPF_RGB;
  std::vector<std::uint8_t> four(inks ? 4 * pixels : 0);
  if (tjDecompress2(handle, data, size, inks ? four.data() : image.values.data(), image.size.width, 0,
                    image.size.height, format, 0) != 0 &&
      !is_harmless(handle))
    return corrupt(tjGetErrorStr2(handle));
  if (!inks) return image;
  std::vector<std::uint8_t> three(3 * pixels);
  to_red_green_blue(four, pixels, three);
  if (channels == 3) {
    image.values = std::move(three);
  } else {
    for (std::size_t i = 0; i < pixels; ++i) image.values[i] = grey_of(three.data() + 3 * i);
  }
  return image;
}

}  // namespace seng
