// Where an ExecutionPlan's values lie: the order in time of all passes, what is kept from the forward to the
// backward pass, and the lives of the buffers.
#include <algorithm>

#include "actors/nn/execution_plan_values.h"

namespace seng {
namespace {

constexpr int kMostSegments = 12;

}  // namespace

// Between steps where a single value is handed on: after such a step, by its number.
std::vector<int> ExecutionPlan::borders() const {
  std::vector<int> borders;
  const int steps = static_cast<int>(steps_.size());
  for (int border = 1; border < steps; ++border) {
    int crossing = 0;
    for (int value = 1; value <= border; ++value) {
      const auto& users = values_[value].users;
      crossing += std::any_of(users.begin(), users.end(), [&](int user) { return user >= border; });
    }
    if (crossing == 1) borders.push_back(border);
  }
  return borders;
}

// Among cuts into 1, 2 ... parts of about as many bytes each, the one that takes least memory. The last is
// never done again: its backward pass follows its forward pass.
std::vector<ExecutionPlan::Segment> ExecutionPlan::best_segments() {
  const int steps = static_cast<int>(steps_.size());
  std::vector<Segment> best = {{0, steps, false}};
  if (!options_.training || !options_.checkpoint_activations) return best;
  std::vector<double> before(steps + 1);
  for (int step = 0; step < steps; ++step)
    before[step + 1] = before[step] + static_cast<double>(values_[step + 1].layout->bytes());
  const std::vector<int> all = borders();
  std::size_t least = plan_buffers(best);
  for (int count = 2; count <= kMostSegments; ++count) {
    std::vector<int> cuts = {0};
    for (int i = 1; i < count; ++i) {
      const double target = before[steps] * i / count;
      const auto nearest = std::min_element(all.begin(), all.end(), [&](int a, int b) {
        return std::abs(before[a] - target) < std::abs(before[b] - target);
      });
      if (nearest != all.end() && *nearest > cuts.back()) cuts.push_back(*nearest);
    }
    std::vector<Segment> segments;
    for (std::size_t i = 0; i < cuts.size(); ++i) {
      const bool last = i + 1 == cuts.size();
      segments.push_back({cuts[i], last ? steps : cuts[i + 1], !last});
    }
    const std::size_t bytes = plan_buffers(segments);
    if (bytes < least) least = bytes, best = segments;
  }
  return best;
}

// Plans anew; returns the arena's size.
std::size_t ExecutionPlan::plan_buffers(const std::vector<Segment>& segments) {
  segments_ = segments;
  buffers_ = {};
  for (Value& value : values_) value.buffer = value.late = value.gradient = -1, value.kept = true;
  for (Connection& connection : connections_) connection = {std::move(connection.inputs)};
  for (Step& step : steps_) step.again = step.backward = false;
  order_times();
  if (options_.training) choose_what_is_kept();
  plan_forward_buffers();
  if (options_.training) {
    for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment)
      if (segment->again) plan_segment_again(*segment);
    plan_backward_buffers();
  }
  for (Value& value : values_)
    if (value.late < 0) value.late = value.buffer;  // nobody reads it
  return buffers_.place();
}

// The forward pass, the loss, then each segment from the last: forward again, and backward.
void ExecutionPlan::order_times() {
  const int steps = static_cast<int>(steps_.size());
  segment_of_.assign(steps, 0);
  again_time_.assign(steps, -1);
  backward_time_.assign(steps, -1);
  int time = steps + 1;
  for (int number = static_cast<int>(segments_.size()) - 1; number >= 0; --number) {
    const Segment& segment = segments_[number];
    for (int step = segment.first; step < segment.last; ++step) {
      segment_of_[step] = number;
      if (segment.again) again_time_[step] = time++;
    }
    for (int step = segment.last - 1; step >= segment.first; --step) backward_time_[step] = time++;
  }
}

bool ExecutionPlan::made_again(int step) const {
  return segments_[segment_of_[step]].again;
}

// Kept is what another segment reads, too. A step is done again for its output, or for its workspace.
void ExecutionPlan::choose_what_is_kept() {
  for (int step = static_cast<int>(steps_.size()) - 1; step >= 0; --step) {
    const LayerPlan& plan = *steps_[step].plan;
    Value& output = values_[step + 1];
    if (!made_again(step)) continue;
    bool wanted = plan.keeps_output(), identity_kept = false;
    output.kept = false;
    for (const int user : output.users) {
      if (segment_of_[user] != segment_of_[step]) output.kept = true;
      wanted = wanted || steps_[user].again || steps_[user].plan->keeps_input();
      identity_kept = identity_kept || (steps_[user].plan->identity() && values_[user + 1].kept);
    }
    output.kept = output.kept || identity_kept;  // the same memory
    steps_[step].again = plan.workspace_bytes() > 0 || (!output.kept && wanted);
  }
}

// When the buffer of the forward pass is read: of a value that is kept, all reads.
std::vector<int> ExecutionPlan::early_uses(int value) const {
  std::vector<int> times;
  for (const int user : values_[value].users) times.push_back(forward_time(user));
  if (value == static_cast<int>(steps_.size()))
    times.push_back(forward_time(value));  // the loss reads the logits
  if (!values_[value].kept) return times;
  const std::vector<int> late = late_uses(value);
  times.insert(times.end(), late.begin(), late.end());
  return times;
}

// When it is read, or written again, after the loss.
std::vector<int> ExecutionPlan::late_uses(int value) const {
  std::vector<int> times;
  if (!options_.training) return times;
  for (const int user : values_[value].users) {
    if (steps_[user].again) times.push_back(again_time_[user]);
    if (steps_[user].plan->keeps_input()) times.push_back(backward_time_[user]);
  }
  if (value == 0) return times;
  const int producer = value - 1;
  if (steps_[producer].again) times.push_back(again_time_[producer]);
  if (steps_[producer].plan->keeps_output()) times.push_back(backward_time_[producer]);
  return times;
}

// Whether a step may write its output at that time over its first input, in `buffer`: nobody reads it later.
bool ExecutionPlan::may_overwrite(int step, int buffer, int time) const {
  const LayerPlan& plan = *steps_[step].plan;
  if (!plan.forward_in_place() || plan.keeps_input()) return false;
  const bool late = time != forward_time(step);
  const auto& inputs = connections_[step].inputs;
  const bool read_twice = std::count_if(inputs.begin(), inputs.end(), [&](int input) {
                            return (late ? values_[input].late : values_[input].buffer) == buffer;
                          }) > 1;
  if (read_twice) return false;
  const auto is_later = [&](int use) { return use > time; };
  for (int value = 0; value < static_cast<int>(values_.size()); ++value) {
    if (values_[value].buffer == buffer && std::ranges::any_of(early_uses(value), is_later)) return false;
    if (values_[value].late == buffer && std::ranges::any_of(late_uses(value), is_later)) return false;
  }
  return true;
}

int ExecutionPlan::place_output(int step, int input_buffer, int time) {
  if (steps_[step].plan->identity() || may_overwrite(step, input_buffer, time)) return input_buffer;
  return buffers_.add(values_[step + 1].layout->bytes(), time);
}

void ExecutionPlan::plan_forward_buffers() {
  const auto extend = [&](int value) {
    for (const int time : early_uses(value)) buffers_.use(values_[value].buffer, time);
    if (values_[value].kept) values_[value].late = values_[value].buffer;
  };
  values_[0].buffer = buffers_.add(values_[0].layout->bytes(), 0);
  extend(0);
  for (int step = 0; step < static_cast<int>(steps_.size()); ++step) {
    const LayerPlan& plan = *steps_[step].plan;
    Connection& connection = connections_[step];
    values_[step + 1].buffer = place_output(step, values_[connection.inputs[0]].buffer, forward_time(step));
    extend(step + 1);
    if (plan.workspace_bytes() == 0) continue;
    connection.workspace = buffers_.add(plan.workspace_bytes(), forward_time(step));
    if (!options_.training || steps_[step].again) continue;
    connection.late_workspace = connection.workspace;
    buffers_.use(connection.workspace, backward_time_[step]);
  }
}

void ExecutionPlan::plan_segment_again(const Segment& segment) {
  for (int step = segment.first; step < segment.last; ++step) {
    if (!steps_[step].again) continue;
    const LayerPlan& plan = *steps_[step].plan;
    Connection& connection = connections_[step];
    Value& output = values_[step + 1];
    if (!output.kept) {
      output.late = place_output(step, values_[connection.inputs[0]].late, again_time_[step]);
      buffers_.use(output.late, again_time_[step]);
      for (const int time : late_uses(step + 1)) buffers_.use(output.late, time);
    }
    if (plan.workspace_bytes() == 0) continue;
    connection.late_workspace = buffers_.add(plan.workspace_bytes(), again_time_[step]);
    buffers_.use(connection.late_workspace, backward_time_[step]);
  }
}

}  // namespace seng
