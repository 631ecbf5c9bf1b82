#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

constexpr int kThreads = 128;

struct Best {
  float value;
  int index;
};

// The larger of two, the earlier of equal ones.
__device__ inline Best better(const Best& a, const Best& b) {
  if (b.index < 0 || (a.index >= 0 && a.value > b.value)) return a;
  if (a.index < 0 || b.value > a.value) return b;
  return a.index < b.index ? a : b;
}

struct Shared {
  Best best[kThreads];
  double sums[kThreads], logit_sums[kThreads];
};

// A block computes one sample: the largest logit, then sums over classes along one tree.
__global__ void cross_entropy_kernel(LossKernel args) {
  __shared__ Shared shared;
  const int sample = blockIdx.x, thread = threadIdx.x;
  const float* logits = args.logits + std::size_t(sample) * args.classes;
  Best best = {0, -1};
  for (int c = thread; c < args.classes; c += kThreads) best = better(best, {logits[c], c});
  shared.best[thread] = best;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) shared.best[thread] = better(shared.best[thread], shared.best[thread + half]);
    __syncthreads();
  }
  best = shared.best[0];
  const double largest = best.value;

  double sum = 0, logit_sum = 0;
  for (int c = thread; c < args.classes; c += kThreads) {
    sum += exp(logits[c] - largest);
    logit_sum += logits[c];
  }
  shared.sums[thread] = sum;
  shared.logit_sums[thread] = logit_sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      shared.sums[thread] += shared.sums[thread + half];
      shared.logit_sums[thread] += shared.logit_sums[thread + half];
    }
    __syncthreads();
  }
  sum = shared.sums[0];

  const int label = args.labels[sample], other = args.others[sample];
  const double weight = args.weights[sample];
  const double off_target = args.smoothing / args.classes, on_target = (1 - args.smoothing) * weight,
               on_other = (1 - args.smoothing) * (1 - weight);
  if (thread == 0) {
    double loss = largest + log(sum) - on_target * logits[label] - off_target * shared.logit_sums[0];
    if (on_other > 0) loss -= on_other * logits[other];
    args.losses[sample] = loss;
    args.hits[sample] = best.index == (weight >= 0.5 ? label : other);
  }
  if (args.gradient == nullptr) return;
  __syncthreads();  // the gradient may lie over the logits
  float* gradient = args.gradient + std::size_t(sample) * args.classes;
  for (int c = thread; c < args.classes; c += kThreads) {
    const double wanted = off_target + (c == label ? on_target : 0.0) + (c == other ? on_other : 0.0);
    gradient[c] = *args.scale * static_cast<float>(exp(logits[c] - largest) / sum - wanted);
  }
}

}  // namespace

void launch_cross_entropy(Stream stream, const LossKernel& args) {
  SENG_LAUNCH(cross_entropy_kernel, dim3(args.samples), dim3(kThreads), stream, args);
}

}  // namespace seng::cuda
