// The unfolded input of a convolution (im2col): A_i is n x kappa with row (c, kh, kw), the order of the
// weight's columns, and one column per output position; zero where the kernel lies over the padding.
#pragma once

#include <cstddef>

#include "actors/engine/block.h"

namespace seng {

// The rows of channels [channel_begin, channel_end) of one sample's input [C_in, H_in, W_in]:
// (channel_end - channel_begin)*kh*kw rows of H_out*W_out floats, `ld` apart.
void unfold(const ConvolutionGeometry& conv, const float* input, int channel_begin, int channel_end,
            float* out, std::size_t ld);

// The other way round, of a map of the output [H_out, W_out]: kh*kw rows of H_in*W_in floats, `ld` apart,
// such that row (kh, kw) times a channel's plane is that row of A_i times the map. Where few maps meet many
// channels it is the cheaper way to A_i's products.
void unfold_output(const ConvolutionGeometry& conv, const float* map, float* out, std::size_t ld);

}  // namespace seng
