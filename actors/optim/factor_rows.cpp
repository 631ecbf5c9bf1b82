#include "actors/optim/factor_rows.h"

#include "actors/optim/unfold.h"
#include "actors/optim/workspace.h"
#include "protocol/base/error.h"

namespace seng {

FactorRows::FactorRows(const Block& block, const CurvatureForm& form, const SampleStore& store)
    : conv_(block.conv),
      store_(store),
      raw_convolution_(form.representation == Representation::kImplicit &&
                       block.kind == BlockKind::kConvolution),
      cut_(form.representation == Representation::kLowRank),
      bias_(block.bias),
      m_(std::size_t(block.m)),
      n_(std::size_t(block.n)),
      rank_(cut_ ? std::size_t(form.rank) : std::size_t(block.positions)) {
  SENG_CHECK(form.representation == Representation::kImplicit || cut_, "a form without factors");
}

void FactorRows::read(std::size_t sample, float* a, float* g) const {
  if (cut_ || !raw_convolution_) {
    store_.first.read(sample * store_.size.first, a, store_.size.first);
    store_.second.read(sample * store_.size.second, g, store_.size.second);
    if (cut_) return;
    if (bias_) a[n_] = 1;
    return;
  }
  const float* first = store_.first.floats(sample * store_.size.first, store_.size.first);
  const float* second =
      store_.second.floats(sample * store_.size.second, store_.size.second, Workspace::kWidenedToo);
  float* unfolded = Workspace::of_this_thread().floats(Workspace::kUnfolded, n_ * rank_);
  unfold(conv_, first, 0, conv_.channels_in, unfolded, rank_);
  for (std::size_t k = 0; k < rank_; ++k) {
    for (std::size_t j = 0; j < n_; ++j) a[k * width() + j] = unfolded[j * rank_ + k];
    if (bias_) a[k * width() + n_] = 1;
    for (std::size_t o = 0; o < m_; ++o) g[k * m_ + o] = second[o * rank_ + k];
  }
}

}  // namespace seng
