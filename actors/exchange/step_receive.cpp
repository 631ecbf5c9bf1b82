// The receiving half of StepExchange: from a peer's message to checked parts, and what they change.
#include <utility>

#include <fmt/format.h>

#include "actors/exchange/step_exchange.h"

namespace seng {
namespace {

// Steps held before the first begin_step of a membership. Peers can be in the first one only; whatever else
// claims to belong to this membership may not fill memory.
constexpr std::size_t kMaxEarlySteps = 4;

// A peer that sends what a device's memory is to take.
constexpr const char* kByTheLink = "this group's sums and directions travel over NCCL";

// What a kept message takes beside its body and payload.
constexpr std::size_t kFutureMessageBytes = 256;

tl::unexpected<Error> refusal(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_kind(const Message& message, MessageKind kind) {
  return message.envelope.kind == static_cast<std::uint16_t>(kind);
}

bool is_step_kind(const Message& message) {
  return is_kind(message, MessageKind::kPartialSums) || is_kind(message, MessageKind::kDirections) ||
         is_kind(message, MessageKind::kFragment) || is_kind(message, MessageKind::kCurvatureHeld);
}

Status check_payload(const Message& message, std::uint64_t floats) {
  if (message.payload.size() != 1)
    return refusal(fmt::format("{} payload frames instead of 1", message.payload.size()));
  const std::size_t bytes = message.payload[0].size();
  if (bytes != floats * sizeof(float))
    return refusal(fmt::format("{} bytes of payload for {} values", bytes, floats));
  return {};
}

// Checks the parts, which lie one after another in the payload, and cuts it. `make`: (run, part, values) ->
// arrived.
template <class Arrived, class Part, class Make>
Result<std::vector<Arrived>> cut(const GroupView& group, const Message& message,
                                 const std::vector<Part>& parts, const Make& make) {
  if (parts.empty()) return refusal("no parts");
  const auto in_part = [&](std::size_t i, Error error) {
    return fail(error.with_context(fmt::format("parts[{}]", i)));
  };
  using Run = typename decltype(group.check(parts[0], ActorId{}))::value_type;
  std::vector<Run> runs;
  std::uint64_t floats = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto run = group.check(parts[i], message.envelope.from);
    if (!run) return in_part(i, std::move(run).error());
    runs.push_back(*run);
    floats += parts[i].count;
  }
  SENG_TRY(check_payload(message, floats));
  std::vector<Arrived> arrived;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t bytes = parts[i].count * sizeof(float);
    arrived.push_back(make(runs[i], parts[i], message.payload[0].part(offset, bytes)));
    offset += bytes;
  }
  return arrived;
}

}  // namespace

Status StepExchange::receive(const Message& message) {
  std::shared_lock lock(step_mutex_);
  return receive_counted(message);
}

Status StepExchange::receive_counted(const Message& message) {
  const Status received = receive_checked(message);
  if (received) return received;
  ++refused_;
  const Envelope& envelope = message.envelope;
  return fail(received.error().with_context(fmt::format(
      "{} of step {} from actor {}", message_kind_name(envelope.kind), envelope.step, envelope.from)));
}

Status StepExchange::receive_checked(const Message& message) {
  const Envelope& envelope = message.envelope;
  const bool is_ours =
      group_ && envelope.job == group_->group().job && envelope.epoch == group_->group().epoch;
  if (is_ours) return receive_current(message);
  if (!group_ || (envelope.job == group_->group().job && envelope.epoch > group_->group().epoch)) {
    keep_for_join(message);
  } else {
    ++stale_;
  }
  return {};
}

void StepExchange::keep_for_join(const Message& message) {
  std::size_t bytes = kFutureMessageBytes + message.body.size();
  for (const Frame& frame : message.payload) bytes += frame.size();
  if (future_bytes_ + bytes > options_.max_future_bytes) {
    ++stale_;
    return;
  }
  future_bytes_ += bytes;
  future_.push_back(message);
}

Status StepExchange::receive_current(const Message& message) {
  const Envelope& envelope = message.envelope;
  if (!group_->is_peer(envelope.from)) return refusal("the sender is no member of the group");
  if (is_kind(message, MessageKind::kPeerHello)) return {};
  if (is_kind(message, MessageKind::kLinkIdentity)) return receive_identity(message);
  if (!is_step_kind(message)) return receive_side(message);
  if (left_ || (step_ > 0 && envelope.step < step_)) {
    ++stale_;
    return {};
  }
  if (!expects(envelope.step))
    return refusal(fmt::format("that step is not expected while step {} is in hand", step_));
  auto parts = parse(message);
  if (!parts) return fail(std::move(parts).error());
  Status status;
  for (Arrived& part : *parts) {
    if (envelope.step == step_) {
      // The others may be good: only what the sums say against one part stops that one.
      if (Status applied = apply(part); !applied) status = std::move(applied);
    } else if (!early_[envelope.step].try_emplace(key(part), std::move(part)).second) {
      ++duplicates_;
    }
  }
  return status;
}

bool StepExchange::expects(std::uint64_t step) const {
  if (step_ > 0) return step == step_ || step == step_ + 1;
  return step > 0 && (early_.contains(step) || early_.size() < kMaxEarlySteps);
}

Status StepExchange::receive_side(const Message& message) {
  std::variant<EvaluationPart, StateDigest, CheckpointShard> body;
  const auto read = [&]<class Body>(Body) -> Status {
    auto parsed = parse_body<Body>(message);
    if (!parsed) return fail(std::move(parsed).error());
    body = *std::move(parsed);
    return {};
  };
  if (is_kind(message, MessageKind::kEvaluationPart)) {
    SENG_TRY(read(EvaluationPart{}));
  } else if (is_kind(message, MessageKind::kStateDigest)) {
    SENG_TRY(read(StateDigest{}));
  } else if (is_kind(message, MessageKind::kCheckpointShard)) {
    SENG_TRY(read(CheckpointShard{}));
  } else {
    return refusal(fmt::format("kind {} is no message between actors", message.envelope.kind));
  }
  if (!message.payload.empty())
    return refusal(fmt::format("{} payload frames instead of 0", message.payload.size()));
  push_message({message.envelope.from, message.envelope.step, std::move(body)});
  return {};
}

Status StepExchange::receive_identity(const Message& message) {
  auto body = parse_body<LinkIdentity>(message);
  if (!body) return fail(std::move(body).error());
  if (message.envelope.from != group_->group().members[0].actor)
    return refusal("the sender is not the group's leader");
  if (!carrier_) return refusal("this group's sums and directions travel as messages");
  carrier_->meet(body->identity);
  return {};
}

bool StepExchange::in_hand(const GroupEpoch& epoch, std::uint64_t step) const {
  return group_ && carrier_ && epoch == group_->group().epoch && step == step_ && !left_;
}

Status StepExchange::receive_sum(const GroupEpoch& epoch, std::uint64_t step, std::uint32_t block,
                                 std::uint32_t node, const Frame& values) {
  std::shared_lock lock(step_mutex_);
  if (!in_hand(epoch, step)) return ++stale_, Status{};
  const RunGrid& grid = group_->grid(block);
  for (std::uint32_t run = 0; run < grid.runs(); ++run) {
    const Frame part = values.part(grid.offset(run) * sizeof(float), grid.count(run) * sizeof(float));
    SENG_TRY(apply(SumArrival{{block, node, run}, part}));
  }
  return {};
}

Status StepExchange::receive_direction(const GroupEpoch& epoch, std::uint64_t step, std::uint32_t block,
                                       const PublishWord& word, const Frame& values) {
  std::shared_lock lock(step_mutex_);
  if (!in_hand(epoch, step)) return ++stale_, Status{};
  const RunGrid& grid = group_->grid(block);
  for (std::uint32_t run = 0; run < grid.runs(); ++run) {
    const Frame part = values.part(grid.offset(run) * sizeof(float), grid.count(run) * sizeof(float));
    SENG_TRY(apply(DirectionArrival{{block, run}, word, part}));
  }
  return {};
}

Result<std::vector<StepExchange::Arrived>> StepExchange::parse(const Message& message) const {
  if (is_kind(message, MessageKind::kPartialSums)) {
    if (carrier_) return refusal(kByTheLink);
    auto body = parse_body<PartialSums>(message);
    if (!body) return fail(std::move(body).error());
    return cut<Arrived>(*group_, message, body->parts,
                        [](const GroupView::SumRun& run, const SumPart&, Frame values) {
                          return SumArrival{run, std::move(values)};
                        });
  }
  if (is_kind(message, MessageKind::kDirections)) {
    if (carrier_) return refusal(kByTheLink);
    auto body = parse_body<Directions>(message);
    if (!body) return fail(std::move(body).error());
    const auto flags = body->flags;
    return cut<Arrived>(*group_, message, body->parts,
                        [&](const GroupView::DirectionRun& run, const DirectionPart& part, Frame values) {
                          return DirectionArrival{run,
                                                  {part.inner_product, flags, part.refused,
                                                   part.gradient_squared, part.direction_squared, part.model},
                                                  std::move(values)};
                        });
  }
  if (is_kind(message, MessageKind::kCurvatureHeld)) {
    const auto body = parse_body<CurvatureHeld>(message);
    if (!body) return fail(body.error());
    std::vector<Arrived> arrived;
    for (const std::uint32_t block : body->blocks) {
      SENG_TRY(group_->check_held(block, message.envelope.from));
      arrived.push_back(HeldArrival{block});
    }
    return arrived;
  }
  auto fragment = parse_body<Fragment>(message);
  if (!fragment) return fail(std::move(fragment).error());
  SENG_TRY(group_->check(*fragment, message.envelope.from));
  SENG_TRY(check_payload(message, fragment->count));
  return std::vector<Arrived>{FragmentArrival{*fragment, message.payload[0]}};
}

StepExchange::EarlyKey StepExchange::key(const Arrived& arrived) {
  if (const auto* sum = std::get_if<SumArrival>(&arrived))
    return {0, sum->run.block, sum->run.node, sum->run.run};
  if (const auto* direction = std::get_if<DirectionArrival>(&arrived)) {
    return {1, direction->run.block, 0, direction->run.run};
  }
  if (const auto* held = std::get_if<HeldArrival>(&arrived)) return {3, held->block, 0, 0};
  const Fragment& part = std::get<FragmentArrival>(arrived).part;
  return {2, part.block, part.micro, part.offset};
}

Status StepExchange::apply(const Arrived& arrived) {
  return std::visit([this](const auto& part) { return apply(part); }, arrived);
}

Status StepExchange::apply(const SumArrival& sum) {
  auto added = sums_->of_arrivals(sum.run.block).add_partial(sum.run.node, sum.run.run, sum.values);
  if (!added) return fail(added.error().with_context(fmt::format("block {}", sum.run.block)));
  if (added->duplicate) ++duplicates_;
  finished(sum.run.block, std::move(added->finished));
  return {};
}

Status StepExchange::apply(const DirectionArrival& direction) {
  const GroupView::DirectionRun& run = direction.run;
  if (run.block == group_->summary()) flags_ = direction.word.flags;
  switch (directions_->add(run.block, run.run, direction.word, direction.values)) {
    case Arrival::kDuplicate:
      ++duplicates_;
      break;
    case Arrival::kTaken:
      break;
    case Arrival::kCompleted:
      directions_complete();
      break;
  }
  return {};
}

Status StepExchange::apply(const FragmentArrival& fragment) {
  bool duplicate = false;
  auto added = fragments_->add(fragment.part, fragment.values, &duplicate);
  if (!added) return fail(std::move(added).error());
  if (duplicate) ++duplicates_;
  fragment_seen(fragment.part.block);
  if (!*added) return {};
  push(FragmentArrived{fragment.part.block, fragment.part.micro, (*added)->values, (*added)->owner});
  fragment_complete(fragment.part.block);
  return {};
}

Status StepExchange::apply(const HeldArrival& held) {
  if (const auto word = backups_.held(held.block)) release(held.block, *word);
  return {};
}

}  // namespace seng
