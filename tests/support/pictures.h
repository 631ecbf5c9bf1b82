// Writes small picture files for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seng::testing {

struct Picture {
  int height = 0, width = 0;
  std::vector<std::uint8_t> values;  // [height, width, 3], red, green, blue
};
// Smooth, so that JPEG keeps it; which one is told by `number`.
Picture make_picture(int number, int height, int width);

std::string as_jpeg(const Picture& picture, int quality = 95);
std::string as_png(const Picture& picture);

// root/{train,SECOND}/CLASS/NN.{jpg,png}: `each` pictures in every class, numbered on.
void write_image_folder(const std::string& root, const std::string& second,
                        const std::vector<std::string>& classes, int each, int height, int width);

}  // namespace seng::testing
