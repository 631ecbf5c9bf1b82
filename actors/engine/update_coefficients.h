// What a step of momentum SGD multiplies by.
#pragma once

namespace seng {

// m <- momentum*m + scale*d + weight_decay*w ; w <- w - lr*m   (nesterov: w <- w - lr*(g' + momentum*m)),
// elementwise, g' = scale*d + weight_decay*w.
struct UpdateCoefficients {
  float lr = 0, momentum = 0, weight_decay = 0, scale = 1;
  bool nesterov = false;
};

}  // namespace seng
