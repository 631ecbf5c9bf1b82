#include "actors/exchange/step_exchange.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace seng {

std::vector<std::size_t> block_floats(std::span<const Block> blocks) {
  std::vector<std::size_t> floats;
  for (const Block& block : blocks) floats.push_back(block.count + block.statistics_count);
  return floats;
}

StepExchange::StepExchange(StepExchangeOptions options)
    : options_(std::move(options)), pool_(FloatPool::create()), outbox_(options_.bundle_bytes, pool_) {}

Status StepExchange::join(const Group& group, std::shared_ptr<BlockCarrier> carrier) {
  auto view = GroupView::create(group, options_.block_floats, options_.limits);
  if (!view) return fail(std::move(view).error());
  SENG_CHECK(carrier || !group.vectors, "vectors of a device without a link");
  // What goes of the membership before goes when nobody is kept waiting: a device's memory takes its time.
  std::unique_ptr<BlockSums> old_sums;
  std::unique_ptr<DirectionSet> old_directions;
  std::deque<ExchangeEvent> old_events;
  StepPools old_pools, pools{pool_, group.vectors ? FloatPool::create(group.vectors) : pool_};
  auto sums = std::make_unique<BlockSums>(*view, pools);
  auto directions = std::make_unique<DirectionSet>(*view, pools);
  std::unique_lock lock(step_mutex_);
  group_ = *std::move(view);
  carrier_ = std::move(carrier);
  if (carrier_) carrier_->join(group_);
  step_ = 0;
  left_ = false;
  early_.clear();
  SENG_CHECK(carrier_ || !group_->fast(), "fast sums without a link");
  old_sums = std::exchange(sums_, std::move(sums));
  old_directions = std::exchange(directions_, std::move(directions));
  old_pools = std::exchange(pools_, std::move(pools));
  fragments_ = std::make_unique<FragmentSet>(group_);
  progress_.join(group_);
  backups_.begin();
  outbox_.join(group_);
  {
    std::lock_guard events(event_mutex_);
    old_events = std::exchange(events_, {});
    messages_.clear();
    step_open_ = false;
  }
  // What faster peers have said in this membership; what belongs to a later one still is kept again.
  future_bytes_ = 0;
  for (const Message& message : std::exchange(future_, {})) (void)receive_counted(message);
  lock.unlock();
  old_events.clear();
  old_sums.reset();
  old_directions.reset();
  pool_->trim();
  return {};
}

void StepExchange::begin_step(std::uint64_t step, bool renews_curvature) {
  std::unique_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr && step > step_, "steps of a membership go up");
  step_ = step;
  left_ = false;
  flags_ = 0;
  sums_->begin();
  directions_->begin();
  fragments_->begin();
  progress_.begin(renews_curvature);
  backups_.begin();
  outbox_.begin_step(step);
  if (carrier_) carrier_->begin_step(step);
  {
    // Events of the step before go, if it was left unfinished; messages beside the steps stay.
    std::lock_guard events(event_mutex_);
    events_.clear();
    step_open_ = true;
  }
  const EarlyStep arrived = std::exchange(early_[step], {});
  std::erase_if(early_, [&](const auto& entry) { return entry.first != step + 1; });
  for (const auto& [key, part] : arrived) {
    if (const Status applied = apply(part); !applied) ++refused_;
  }
}

void StepExchange::add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                            std::span<const float> statistics) {
  add_node(block, {micro, micro + 1}, gradient, statistics);
}

void StepExchange::add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                            std::span<const float> statistics) {
  std::shared_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr && step_ > 0 && block < group_->blocks(), "a sum outside of a step");
  SENG_CHECK(group_->own_range().contains(node), "a micro-batch of another actor");
  const auto at = sums_->node(node);
  SENG_CHECK(at.has_value(), "micro-batches " + to_string(node) + ", which are no node of the tree");
  BlockSum& sum = sums_->of_leaves(block);
  for (std::uint32_t run = 0; run < sum.grid().runs(); ++run) {
    auto added = sum.add_node(*at, run, gradient, statistics);
    SENG_CHECK(added.has_value(), added.error().message);
    finished(block, std::move(added->finished));
  }
}

void StepExchange::finished(std::uint32_t block, std::optional<BlockSum::Finished> finished) {
  if (!finished) return;
  if (!finished->values) {  // it stays here: this actor owns the block
    if (finished->block_complete) push(BlockSummed{block, sums_->of_arrivals(block).total()});
    return;
  }
  if (carrier_) return carrier_->add_sum(block, finished->node, finished->run, std::move(finished->values));
  const LeafRange range = group_->tree().range(finished->node);
  const RunGrid& grid = group_->grid(block);
  const SumPart part{block, range.first, range.last, grid.offset(finished->run), grid.count(finished->run)};
  outbox_.add_sum(group_->owner(block), part, std::move(finished->values));
}

void StepExchange::add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values) {
  if (values.empty()) return;
  std::shared_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr && step_ > 0 && block < group_->summary(), "add_fragment outside of a step");
  SENG_CHECK(group_->own_range().contains({micro, micro + 1}), "a micro-batch of another actor");
  const auto& sizes = group_->group().fragment_floats;
  SENG_CHECK(sizes.empty() || sizes[block] == values.size(), "a fragment of another length than the group's");
  const auto owner = std::make_shared<const std::vector<float>>(std::move(values));
  const Frame frame(owner, owner->data(), owner->size() * sizeof(float));
  std::vector<ActorId> peers;
  bool here = false;
  for (const ActorId to : {group_->owner(block), group_->backup(block)}) {
    if (to == kNoActor) continue;
    if (to == group_->self()) {
      here = true;
    } else {
      peers.push_back(to);
    }
  }
  const RunGrid grid = group_->fragment_grid(owner->size());
  fragment_seen(block);
  for (std::uint32_t run = 0; run < grid.runs() && !peers.empty(); ++run) {
    const Fragment part{block, micro, grid.offset(run), grid.count(run), grid.floats};
    outbox_.add_fragment(peers, part, frame.part(part.offset * sizeof(float), part.count * sizeof(float)));
  }
  if (!here) return;
  push(FragmentArrived{block, micro, *owner, frame});
  fragment_complete(block);
}

std::span<float> StepExchange::direction_buffer(std::uint32_t block) {
  std::shared_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr && step_ > 0 && block < group_->blocks() && group_->owns(block),
             "another's block");
  return directions_->buffer(block);
}

void StepExchange::publish(std::uint32_t block, std::span<const float> direction, const PublishWord& word) {
  std::shared_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr && step_ > 0 && block < group_->blocks() && group_->owns(block),
             "another's block");
  const std::span<float> buffer = directions_->buffer(block);
  SENG_CHECK(direction.size() == buffer.size(), "a direction of another block's length");
  if (direction.data() != buffer.data())
    pools_.of(block == group_->summary())->memory().copy(direction.data(), buffer.data(), buffer.size());
  const bool copied = group_->backup(block) != kNoActor && progress_.renews(block);
  if (!copied || backups_.ready(block, word)) release(block, word);
}

void StepExchange::release(std::uint32_t block, const PublishWord& word) {
  if (block == group_->summary()) flags_ = word.flags;
  const Arrival arrival = directions_->set_own(block, word);
  if (arrival == Arrival::kDuplicate) return;
  const RunGrid& grid = group_->grid(block);
  if (carrier_) {
    std::vector<Frame> runs;
    for (std::uint32_t run = 0; run < grid.runs(); ++run) runs.push_back(directions_->frame(block, run));
    carrier_->add_direction(block, word, std::move(runs));
  }
  for (std::uint32_t run = 0; run < grid.runs() && !group_->alone() && !carrier_; ++run) {
    DirectionPart part{block, grid.offset(run), grid.count(run), word.inner_product, word.refused};
    part.gradient_squared = word.gradient_squared;
    part.direction_squared = word.direction_squared;
    part.model = word.model;
    outbox_.add_direction(part, directions_->frame(block, run), block == group_->summary() ? word.flags : 0);
  }
  if (arrival == Arrival::kCompleted) directions_complete();
}

void StepExchange::send(ActorId to, std::uint64_t step,
                        const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body) {
  std::shared_lock lock(step_mutex_);
  SENG_CHECK(group_ != nullptr, "send outside of a group");
  if (to == group_->self()) {
    push_message({to, step, body});
    return;
  }
  SENG_CHECK(group_->is_peer(to), "a message to an actor that is no member");
  outbox_.add_message(to, step, body);
}

StepTraffic StepExchange::traffic() const {
  std::shared_lock lock(step_mutex_);
  StepTraffic traffic = outbox_.traffic();
  if (!carrier_) return traffic;
  const StepTraffic carried = carrier_->traffic();
  traffic.sum_bytes += carried.sum_bytes;
  traffic.direction_bytes += carried.direction_bytes;
  return traffic;
}

void StepExchange::directions_complete() {
  if (progress_.directions_complete()) push_complete();
}

void StepExchange::fragment_complete(std::uint32_t block) {
  const StepProgress::Fragments now = progress_.fragment_complete(block);
  if (now.block_complete && group_->backup(block) == group_->self()) {
    outbox_.add_held(group_->owner(block), block);
  }
  if (now.step_complete) push_complete();
}

void StepExchange::push_complete() {
  StepComplete complete{
      .directions = directions_->directions(), .inner_products = {}, .refused = {}, .flags = flags_.load()};
  for (PublishWord& word : directions_->words()) {
    complete.inner_products.push_back(word.inner_product);
    complete.refused.push_back(word.refused);
    complete.gradient_squares.push_back(word.gradient_squared);
    complete.direction_squares.push_back(word.direction_squared);
    complete.models.push_back(std::move(word.model));
  }
  complete.keeps = directions_->keeps();
  push(std::move(complete));
}

std::vector<ActorId> StepExchange::awaits() const {
  std::shared_lock lock(step_mutex_);
  if (!group_ || step_ == 0) return {};
  std::set<ActorId> missing;
  const auto holders_of = [&](const std::vector<bool>& leaves) {
    for (const Member& member : group_->group().members) {
      for (std::uint32_t micro = member.first_micro; micro < member.last_micro; ++micro) {
        if (leaves[micro]) missing.insert(member.actor);
      }
    }
  };
  for (std::uint32_t block = 0; block < group_->blocks(); ++block) {
    if (group_->owns(block)) {
      holders_of(sums_->missing_leaves(block));
    } else if (!directions_->complete(block)) {
      missing.insert(group_->owner(block));
    }
  }
  for (const std::uint32_t block : backups_.waiting()) missing.insert(group_->backup(block));
  missing.erase(group_->self());
  return {missing.begin(), missing.end()};
}

void StepExchange::push(ExchangeEvent event) {
  std::lock_guard lock(event_mutex_);
  events_.push_back(std::move(event));
}

void StepExchange::push_message(PeerMessage message) {
  std::lock_guard lock(event_mutex_);
  if (messages_.size() >= options_.max_peer_messages) messages_.pop_front();
  messages_.push_back(std::move(message));
}

std::optional<ExchangeEvent> StepExchange::next_event() {
  std::lock_guard lock(event_mutex_);
  std::optional<ExchangeEvent> event;
  if (!events_.empty()) {
    event = std::move(events_.front());
    events_.pop_front();
    if (std::holds_alternative<StepComplete>(*event)) step_open_ = false;
  } else if (!step_open_ && !messages_.empty()) {
    event = std::move(messages_.front());
    messages_.pop_front();
  }
  return event;
}

std::vector<FragmentArrived> StepExchange::take_fragments() {
  std::unique_lock step(step_mutex_);
  left_ = true;
  std::lock_guard lock(event_mutex_);
  std::vector<FragmentArrived> fragments;
  std::erase_if(events_, [&](ExchangeEvent& event) {
    auto* fragment = std::get_if<FragmentArrived>(&event);
    if (fragment != nullptr) fragments.push_back(std::move(*fragment));
    return fragment != nullptr;
  });
  return fragments;
}

bool StepExchange::has_event() const {
  std::lock_guard lock(event_mutex_);
  return !events_.empty() || !messages_.empty();
}

bool StepExchange::would_give_event() const {
  std::lock_guard lock(event_mutex_);
  return !events_.empty() || (!step_open_ && !messages_.empty());
}

std::optional<PeerMessage> StepExchange::take_message(MessageKind kind, std::uint64_t step) {
  const auto matches = [&](const PeerMessage& message) {
    return message.step == step &&
           std::visit([&]<class Body>(const Body&) { return Body::kKind == kind; }, message.body);
  };
  std::lock_guard lock(event_mutex_);
  const auto found = std::ranges::find_if(messages_, matches);
  if (found == messages_.end()) return std::nullopt;
  PeerMessage message = std::move(*found);
  messages_.erase(found);
  return message;
}

ExchangeCounters StepExchange::counters() const {
  return {stale_.load(), duplicates_.load(), refused_.load()};
}

}  // namespace seng
