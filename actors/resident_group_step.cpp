#include "actors/resident_group_step.h"

#include "actors/exchange/assembly.h"
#include "actors/exchange/step_exchange.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

// About what the exchange takes in a step: own blocks' sums, sums on their way, two steps' directions, and
// the link's own. What has no room for it is better known now, when the host still can do without.
constexpr int kVectorsOfTheExchange = 8;

void try_to_take(VectorMemory& memory, std::size_t floats) {
  std::vector<float*> taken;
  const auto give_back = [&] {
    for (float* each : taken) memory.free(each);
  };
  try {
    for (int i = 0; i < kVectorsOfTheExchange; ++i) taken.push_back(memory.allocate(floats));
  } catch (const VendorError&) {
    give_back();
    throw;
  }
  give_back();
}

}  // namespace

ResidentGroupStep::ResidentGroupStep(const Workload& workload, ResidentHome& home,
                                     ResidentDirections& directions)
    : home_(home),
      directions_(directions),
      vectors_(home.replica().make_vector_memory()),
      sums_(home.state().make_vector()),
      joined_(home.state().plan()) {
  const JoinedBlocks joined = join_blocks(block_floats(workload.network.blocks()));
  for (std::size_t b = 0; b < joined_.blocks.size(); ++b) {
    ResidentBlock& block = joined_.blocks[b];
    block.gradient = joined.offsets[b];
    block.statistics = block.gradient + block.count;
  }
  joined_.floats = joined_.gradients = joined.floats;
  of_joined_ = home.state().plan_vectors(joined_);
  try_to_take(*vectors_, joined_.floats);
}

// The last block first, as backward has reached them and as rounds of sums go.
void ResidentGroupStep::hand_out(const LeafRange& micros, Exchange& exchange) {
  let_go();
  const float* sum = home_.replica().held_sum();
  const auto& blocks = home_.state().plan().blocks;
  for (std::size_t b = blocks.size(); b-- > 0;)
    exchange.add_node(static_cast<std::uint32_t>(b), micros, {sum + blocks[b].gradient, blocks[b].count},
                      {sum + blocks[b].statistics, blocks[b].statistics_count});
  vectors_->wait();  // the next passes write where this sum is
}

void ResidentGroupStep::publish(TrainState& state, const std::vector<Owned>& owned, double damping,
                                Lanes& lanes, Exchange& exchange, const std::function<void()>& directed) {
  vectors_->wait();  // what the exchange has added up
  const auto& blocks = home_.state().plan().blocks;
  std::vector<std::uint32_t> indices;
  for (const Owned& each : owned) {
    const ResidentBlock& block = blocks[each.block];
    indices.push_back(each.block);
    home_.state().copy(each.sum.data(), sums_ + block.gradient, block.count);
    if (block.statistics_count > 0)
      home_.state().copy(each.sum.data() + block.count, sums_ + block.statistics, block.statistics_count);
  }
  const auto products = directions_.form(state, sums_, indices, damping, lanes, directed);
  let_go();
  for (std::size_t i = 0; i < owned.size(); ++i) {
    const ResidentBlock& block = blocks[owned[i].block];
    const std::span<float> out = exchange.direction_buffer(owned[i].block);
    vectors_->copy(directions_.vector() + block.gradient, out.data(), block.count);
    if (block.statistics_count > 0)
      vectors_->copy(sums_ + block.statistics, out.data() + block.count, block.statistics_count);
    PublishWord word;
    word.refused = owned[i].refused;
    if (!products.empty()) {
      word.inner_product = products[i].gd;
      word.gradient_squared = products[i].gg;
      word.direction_squared = products[i].dd;
    }
    exchange.publish(owned[i].block, out, word);
  }
}

void ResidentGroupStep::let_go() {
  home_.replica().wait();
  keeps_.reset();
}

void ResidentGroupStep::take(const StepComplete& complete) {
  let_go();
  taken_ = complete.directions.front().data();
  keeps_ = complete.keeps;
  for (std::size_t b = 0; b < joined_.blocks.size(); ++b)
    SENG_CHECK(complete.directions[b].data() == taken_ + joined_.blocks[b].gradient,
               "directions that are not joined");
  vectors_->wait();
}

bool ResidentGroupStep::overflowed() {
  return !of_joined_->finite(taken_, taken_);
}

void ResidentGroupStep::update(const UpdateCoefficients& coefficients) {
  of_joined_->update(coefficients, taken_, taken_);
  home_.changed();
}

StepComplete ResidentGroupStep::on_host(const StepComplete& complete) {
  const float* all = home_.state().view(taken_, joined_.floats);
  StepComplete step = complete;
  for (std::size_t b = 0; b < joined_.blocks.size(); ++b)
    step.directions[b] = {all + joined_.blocks[b].gradient, complete.directions[b].size()};
  return step;
}

}  // namespace seng
