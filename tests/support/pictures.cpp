#include "tests/support/pictures.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <png.h>
#include <turbojpeg.h>

namespace seng::testing {

Picture make_picture(int number, int height, int width) {
  Picture picture{height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double wave =
            std::sin(0.9 * number + 0.7 * c + 4.0 * y / height) * std::cos(number + 3.0 * x / width);
        picture.values.push_back(static_cast<std::uint8_t>(127.5 + 120 * wave));
      }
    }
  }
  return picture;
}

std::string as_jpeg(const Picture& picture, int quality) {
  tjhandle handle = tjInitCompress();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  if (tjCompress2(handle, picture.values.data(), picture.width, 0, picture.height, TJPF_RGB, &bytes, &size,
                  TJSAMP_444, quality, 0) != 0)
    throw std::runtime_error(tjGetErrorStr2(handle));
  std::string out(reinterpret_cast<char*>(bytes), size);
  tjFree(bytes);
  tjDestroy(handle);
  return out;
}

std::string as_png(const Picture& picture) {
  png_image png;
  std::memset(&png, 0, sizeof png);
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(picture.width);
  png.height = static_cast<png_uint_32>(picture.height);
  png.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  if (png_image_write_to_memory(&png, nullptr, &size, 0, picture.values.data(), 0, nullptr) == 0)
    throw std::runtime_error(png.message);
  std::string out(size, '\0');
  if (png_image_write_to_memory(&png, out.data(), &size, 0, picture.values.data(), 0, nullptr) == 0)
    throw std::runtime_error(png.message);
  out.resize(size);
  return out;
}

void write_image_folder(const std::string& root, const std::string& second,
                        const std::vector<std::string>& classes, int each, int height, int width) {
  int number = 0;
  for (const std::string& split : {std::string("train"), second}) {
    for (const std::string& name : classes) {
      const std::string folder = root + "/" + split + "/" + name;
      std::filesystem::create_directories(folder);
      for (int i = 0; i < each; ++i, ++number) {
        const Picture picture = make_picture(number, height, width);
        const bool png = number % 2 == 1;
        std::ofstream out(folder + "/" + std::to_string(10 + i) + (png ? ".png" : ".jpg"), std::ios::binary);
        out << (png ? as_png(picture) : as_jpeg(picture));
        if (!out.flush()) throw std::runtime_error("cannot write into " + folder);
      }
    }
  }
}

}  // namespace seng::testing
