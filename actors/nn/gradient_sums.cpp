#include "actors/nn/gradient_sums.h"

#include <utility>

namespace seng {
namespace {

// Each block's run begins where a kernel may read and write as much at once as it likes.
constexpr std::size_t kAlignment = 64;  // floats

std::size_t rounded(std::size_t floats) {
  return (floats + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

GradientSums::GradientSums(Backend& backend, const std::vector<Block>& blocks, int held)
    : places_(blocks.size()), backend_(backend), order_{0} {
  SENG_CHECK(held >= 1, "room for sums");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    places_[i].gradient = gradients_;
    gradients_ += rounded(blocks[i].count);
  }
  floats_ = gradients_;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    places_[i].statistics = floats_;
    floats_ += rounded(blocks[i].statistics_count);
  }
  operations_ = backend.plan_sums(floats_);
  in_hand_ = static_cast<float*>(backend.allocate(floats_ * sizeof(float)));
  make_room(held);
}

void GradientSums::make_room(int held) {
  while (held_.size() < std::size_t(held))
    held_.push_back(static_cast<float*>(backend_.allocate(floats_ * sizeof(float))));
}

void GradientSums::begin(SumOrder order) {
  SENG_CHECK(!order.empty(), "a sum of no micro-batches");
  order_ = std::move(order);
  added_ = height_ = 0;
}

bool GradientSums::add(float factor) {
  if (factor != 1) operations_->scale(in_hand_, factor, gradients_);
  const bool last = added_ + 1 == order_.size();
  std::size_t additions = order_[added_];
  if (additions > 0) {
    SENG_CHECK(additions <= height_, "sums that are not there are to be added");
    operations_->add(held_[height_ - 1], in_hand_, held_[height_ - 1]);
    for (; additions > 1; --additions, --height_)
      operations_->add(held_[height_ - 2], held_[height_ - 1], held_[height_ - 2]);
  } else if (order_.size() > 1) {
    SENG_CHECK(height_ < held_.size(), "more sums than there was room made for");
    operations_->copy(in_hand_, held_[height_++]);
  }
  ++added_;
  if (!last) return false;
  SENG_CHECK(order_.size() == 1 || height_ == 1, "a sum that is not one at its end");
  sum_ = order_.size() == 1 ? in_hand_ : held_[0];
  order_.assign(1, 0);
  added_ = height_ = 0;
  return true;
}

}  // namespace seng
