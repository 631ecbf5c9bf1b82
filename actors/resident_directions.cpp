#include "actors/resident_directions.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace seng {
namespace {

constexpr std::size_t kRunOfDots = std::size_t{1} << 16;  // as inner_product() of actors/optim/update.h

// What inner_product() comes to, or without runs dot(): both add parts of kDotFloats in double.
double add_parts(std::span<const DotParts> parts, double DotParts::*of, bool in_runs) {
  constexpr std::size_t kParts = kRunOfDots / kDotFloats;
  double all = 0;
  for (std::size_t first = 0; first < parts.size();) {
    const std::size_t count = in_runs ? std::min(kParts, parts.size() - first) : parts.size();
    double run = 0;
    for (const DotParts& part : parts.subspan(first, count)) run += part.*of;
    all += run;
    first += count;
  }
  return all;
}

}  // namespace

void ResidentDirections::leave() {
  passes_.clear();
  blocks_.clear();
  in_force_.clear();
}

std::vector<DotParts> ResidentDirections::form(TrainState& state, float* sum,
                                               const std::vector<std::uint32_t>& blocks, double damping,
                                               Lanes& lanes, const std::function<void()>& directed) {
  home_.state().divide(sum, static_cast<float>(workload_.spec.batch_global),
                       static_cast<float>(workload_.spec.micro_batches()));
  means_ = vector_ = sum;
  if (!workload_.second_order) return {};
  direct(state, blocks, damping, lanes, directed);
  return products();
}

// The samples' own stream goes on where the replica's has ended, and the other way about.
void ResidentDirections::direct(TrainState& state, const std::vector<std::uint32_t>& blocks, double damping,
                                Lanes& lanes, const std::function<void()>& directed) {
  std::vector<Curvature::InForce> now;
  for (const std::uint32_t b : blocks) {
    now.push_back(state.curvature.at(b).form_there(damping, lanes));
    directed();
  }
  const bool same = now == in_force_ && blocks == blocks_ && means_ == recorded_;
  in_force_ = std::move(now);
  blocks_ = blocks;
  recorded_ = means_;
  if (!same) make_passes();
  vector_ = home_.state().directions();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (in_force_[i].made != nullptr) continue;
    const ResidentBlock& block = home_.state().plan().blocks[blocks_[i]];
    home_.state().scale(means_ + block.gradient, static_cast<float>(1.0 / (1.0 + in_force_[i].scaling)),
                        home_.state().directions() + block.gradient, block.count);
  }
  home_.replica().wait();
  std::vector<std::unique_lock<std::recursive_mutex>> locks;  // what is formed beside waits for it, not it
  for (Pass& pass : passes_) {
    locks.emplace_back(pass.device->mutex);
    precondition(state, pass);
  }
  for (const Pass& pass : passes_) pass.device->backend->wait();
}

// A stream's blocks go one after another, and beside those of the others.
void ResidentDirections::make_passes() {
  passes_.clear();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (in_force_[i].made == nullptr) continue;
    const auto device = workload_.sample_device(blocks_[i]);
    auto found = std::ranges::find(passes_, device, &Pass::device);
    if (found == passes_.end()) found = passes_.insert(found, {device, {}, nullptr});
    found->places.push_back(i);
  }
}

// The same calls until curvature is renewed, so that the GPU has them as one piece of work. With the device's
// mutex held: nobody else may use it while they are captured.
void ResidentDirections::precondition(TrainState& state, Pass& pass) {
  const auto calls = [this, &state, places = pass.places] {
    for (const std::size_t i : places) {
      const std::size_t at = home_.state().plan().blocks[blocks_[i]].gradient;
      state.curvature.at(blocks_[i]).precondition_there(means_ + at, home_.state().directions() + at);
    }
  };
  if (workload_.spec.engine_graphs != "auto") return calls();
  if (!pass.recording) pass.recording = pass.device->backend->record(calls);
  pass.recording->run();
}

std::string ResidentDirections::graph_shortfall() const {
  for (const Pass& pass : passes_)
    if (pass.recording && !pass.recording->shortfall().empty()) return pass.recording->shortfall();
  return "";
}

std::vector<DotParts> ResidentDirections::products() {
  std::span<const DotParts> parts = home_.vectors().dots(means_, vector_);
  std::vector<DotParts> products;
  std::size_t next = 0;  // of blocks_
  const auto& blocks = home_.state().plan().blocks;
  for (std::size_t b = 0; b < blocks.size() && next < blocks_.size(); ++b) {
    const auto own = parts.first((blocks[b].count + kDotFloats - 1) / kDotFloats);
    parts = parts.subspan(own.size());
    if (blocks_[next] != b) continue;
    products.push_back({add_parts(own, &DotParts::gd, in_force_[next].made != nullptr),
                        add_parts(own, &DotParts::gg, true), add_parts(own, &DotParts::dd, true)});
    ++next;
  }
  return products;
}

}  // namespace seng
