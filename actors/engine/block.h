// Layer blocks: the unit of ownership. One layer's trainable parameters (weight and bias together) and, for
// batch norm, its running statistics. All actors of a job have the same list of blocks, in the same order.
//
// Canonical layout. The parameters of all blocks form one flat float array of `parameter_count` values, block
// after block; within a block the tensors in PyTorch's order (weight, bias), each in PyTorch's layout: a
// convolution [C_out, C_in, kh, kw], a linear layer [out, in], batch norm [C]. Statistics form a second flat
// array likewise (running_mean [C], running_var [C]). Gradients, directions and momentum use the parameters'
// layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace seng {

enum class BlockKind { kConvolution, kLinear, kBatchNorm };

struct ConvolutionGeometry {
  int channels_in = 0, height_in = 0, width_in = 0;
  int channels_out = 0, height_out = 0, width_out = 0;
  int kernel_h = 0, kernel_w = 0, stride = 1, padding = 0;
};

struct BlockTensor {
  std::string name;  // PyTorch's: "layer1.0.conv1.weight"
  std::vector<std::int64_t> shape;
  std::size_t offset = 0, count = 0;  // in the flat array (of parameters or of statistics)
};

struct Block {
  std::string name;  // the layer's: "layer1.0.conv1"
  BlockKind kind = BlockKind::kLinear;
  // The weight as a matrix: m x n (convolution: m = C_out, n = C_in*kh*kw, without the bias column).
  // Batch norm: m = C, n = 1.
  std::int64_t m = 0, n = 0;
  std::int64_t positions =
      1;  // kappa: H_out*W_out of a convolution, 1 of a linear layer, H*W of a batch norm
  bool bias = false;
  ConvolutionGeometry conv;           // convolutions only
  std::size_t offset = 0, count = 0;  // its run of the flat parameters
  std::size_t statistics_offset = 0,
              statistics_count = 0;  // its run of the flat statistics; 0 but for batch norm
  std::vector<BlockTensor> parameters, statistics;
};

// What one micro-batch's backward pass leaves for curvature: the first `samples` of it, in plain layouts.
// The pointers are valid during the call that hands it over.
struct SampleFactors {
  int samples = 0;
  // Convolution: the layer's input [samples, C_in, H_in, W_in]. Linear: [samples, n]. Batch norm: null.
  const float* activations = nullptr;
  // Gradient of the loss sum with respect to the layer's output, [samples, m, positions]. Batch norm: the
  // samples' own gradients, [samples, 2, C], of weight and bias.
  const float* gradients = nullptr;
};

// Floats of one sample's part of each.
struct FactorSizes {
  std::size_t activations = 0, gradients = 0;
};
inline FactorSizes factor_sizes(const Block& block) {
  const auto m = static_cast<std::size_t>(block.m), n = static_cast<std::size_t>(block.n),
             positions = static_cast<std::size_t>(block.positions);
  switch (block.kind) {
    case BlockKind::kConvolution:
      return {static_cast<std::size_t>(block.conv.channels_in) *
                  static_cast<std::size_t>(block.conv.height_in) *
                  static_cast<std::size_t>(block.conv.width_in),
              m * positions};
    case BlockKind::kLinear:
      return {n, m};
    case BlockKind::kBatchNorm:
      return {0, block.count};
  }
  return {};
}

}  // namespace seng
