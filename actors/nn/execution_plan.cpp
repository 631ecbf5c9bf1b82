#include "actors/nn/execution_plan.h"

#include <algorithm>

namespace seng {
namespace {

// Between a layer and one that wants another layout.
class ReorderPlan final : public LayerPlan {
 public:
  ReorderPlan(Backend& backend, const LayoutPtr& from, const LayoutPtr& to, bool training)
      : from_(from), to_(to), forward_(backend.plan_reorder(from, to, from->shape().n)) {
    if (training) backward_ = backend.plan_reorder(to, from, from->shape().n);
  }
  LayoutPtr input() const override { return from_; }
  LayoutPtr output() const override { return to_; }
  void forward(const Pass& pass) override { forward_->run(pass.x[0], pass.y); }
  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) backward_->run(pass.dy, pass.dx);
  }

 private:
  LayoutPtr from_, to_;
  std::unique_ptr<Reorder> forward_, backward_;
};

}  // namespace

struct ExecutionPlan::Value {
  LayoutPtr layout;
  bool needs_gradient = false;
  int buffer = -1, gradient = -1;
  std::vector<int> users;  // steps
};

struct ExecutionPlan::Connection {
  struct Sum {
    Add* add;
    int a, b, sum;
  };
  std::vector<int> inputs;  // values
  int workspace = -1, dy = -1, dx = -1;
  std::vector<Sum> sums;
};

ExecutionPlan::ExecutionPlan(const Graph& graph, Backend& backend, const ReplicaOptions& options)
    : backend_(backend), options_(options) {
  const ImageShape image = graph.input;
  values_.push_back(
      {backend.plain({options.micro_batch, image.channels, image.height, image.width}), false, -1, -1, {}});
  append_nodes(graph);
  plan_forward_buffers();
  if (options.training) plan_backward_buffers();
  bind();
}

ExecutionPlan::~ExecutionPlan() = default;

void ExecutionPlan::append_nodes(const Graph& graph) {
  std::vector<int> users(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    for (const int input : node.inputs) {
      if (input != kImage) ++users[input];
    }
  }
  // A relu that is the only user of a layer which can do it along.
  const auto fused_into_input = [&](const Node& node) {
    if (!node.layer->is_relu() || node.inputs[0] == kImage) return false;
    return users[node.inputs[0]] == 1 && graph.nodes[node.inputs[0]].layer->fuses_relu();
  };
  std::vector<bool> with_relu(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    if (fused_into_input(node)) with_relu[node.inputs[0]] = true;
  }

  std::vector<int> value_of(graph.nodes.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    std::vector<int> inputs;
    for (const int input : node.inputs) inputs.push_back(input == kImage ? 0 : value_of[input]);
    if (fused_into_input(node)) {
      value_of[i] = inputs[0];
      continue;
    }
    PlanRequest request{.backend = backend_};
    request.batch = options_.micro_batch;
    request.block = node.block < 0 ? nullptr : &graph.blocks[node.block];
    for (const int input : inputs) request.inputs.push_back(values_[input].layout);
    request.output = node.output;
    request.output.n = options_.micro_batch;
    request.training = options_.training;
    request.input_gradient = values_[inputs[0]].needs_gradient;
    request.direct_convolution = options_.direct_convolution;
    request.relu = with_relu[i];
    request.index = static_cast<std::uint32_t>(i);
    auto plan = node.layer->plan(request);
    for (int& input : inputs) input = converted(input, plan->input(), node.name);
    append_step(node.name, std::move(plan), inputs, node.block);
    value_of[i] = static_cast<int>(values_.size()) - 1;
  }
  const int last = value_of.back();
  converted(last, backend_.plain(values_[last].layout->shape()), "logits");
}

void ExecutionPlan::append_step(const std::string& name, std::unique_ptr<LayerPlan> plan,
                                std::vector<int> inputs, int block) {
  const int step = static_cast<int>(steps_.size());
  Value output{plan->output(), block >= 0, -1, -1, {}};
  for (const int input : inputs) {
    output.needs_gradient = output.needs_gradient || values_[input].needs_gradient;
    values_[input].users.push_back(step);
  }
  values_.push_back(std::move(output));
  steps_.push_back({name, std::move(plan), block, {}, false, {}});
  connections_.push_back({std::move(inputs), -1, -1, -1, {}});
}

// The value in this layout: itself, or the output of a new step.
int ExecutionPlan::converted(int value, const LayoutPtr& layout, const std::string& name) {
  if (values_[value].layout->same(*layout)) return value;
  append_step("reorder:" + name,
              std::make_unique<ReorderPlan>(backend_, values_[value].layout, layout, options_.training),
              {value}, -1);
  return static_cast<int>(values_.size()) - 1;
}

// The times at which a value is read.
std::vector<int> ExecutionPlan::uses(int value) const {
  std::vector<int> times;
  for (const int user : values_[value].users) {
    times.push_back(forward_time(user));
    if (options_.training && steps_[user].plan->keeps_input()) times.push_back(backward_time(user));
  }
  if (value == static_cast<int>(steps_.size()))
    times.push_back(forward_time(value));  // the loss reads the logits
  if (options_.training && value > 0 && steps_[value - 1].plan->keeps_output()) {
    times.push_back(backward_time(value - 1));
  }
  return times;
}

// Whether a step may write its output over its first input: nobody reads that memory later.
bool ExecutionPlan::may_overwrite(int step) const {
  const LayerPlan& plan = *steps_[step].plan;
  if (!plan.forward_in_place() || plan.keeps_input()) return false;
  const int buffer = values_[connections_[step].inputs[0]].buffer;
  const bool read_twice = std::count_if(connections_[step].inputs.begin(), connections_[step].inputs.end(),
                                        [&](int input) { return values_[input].buffer == buffer; }) > 1;
  if (read_twice) return false;
  for (int value = 0; value <= step; ++value) {
    if (values_[value].buffer != buffer) continue;
    for (const int time : uses(value)) {
      if (time > forward_time(step)) return false;
    }
  }
  return true;
}

void ExecutionPlan::plan_forward_buffers() {
  const auto extend = [&](int value) {
    for (const int time : uses(value)) buffers_.use(values_[value].buffer, time);
  };
  values_[0].buffer = buffers_.add(values_[0].layout->bytes(), 0);
  extend(0);
  for (int step = 0; step < static_cast<int>(steps_.size()); ++step) {
    const LayerPlan& plan = *steps_[step].plan;
    Value& output = values_[step + 1];
    if (plan.identity() || may_overwrite(step)) {
      output.buffer = values_[connections_[step].inputs[0]].buffer;
    } else {
      output.buffer = buffers_.add(output.layout->bytes(), forward_time(step));
    }
    extend(step + 1);
    if (plan.workspace_bytes() == 0) continue;
    connections_[step].workspace = buffers_.add(plan.workspace_bytes(), forward_time(step));
    if (options_.training) buffers_.use(connections_[step].workspace, backward_time(step));
  }
}

// Adds the gradient in buffer dx to what the value has; owners counts the values whose pending gradient a
// buffer is.
int ExecutionPlan::contribute(int step, int value, int dx, std::vector<int>& owners) {
  int& gradient = values_[value].gradient;
  if (gradient < 0) {
    ++owners[dx];
    return gradient = dx;
  }
  const int time = backward_time(step);
  const int a = gradient;
  int sum = a;
  if (owners[a] > 1) sum = owners[dx] == 0 ? dx : buffers_.add(values_[value].layout->bytes(), time);
  for (const int buffer : {a, dx, sum}) buffers_.use(buffer, time);
  adds_.push_back(backend_.plan_add(values_[value].layout, false));
  // The sum may only lie over the first operand.
  const int first = sum == dx ? dx : a, second = sum == dx ? a : dx;
  connections_[step].sums.push_back({adds_.back().get(), first, second, sum});
  owners.resize(std::max<std::size_t>(owners.size(), sum + 1));
  --owners[a];
  ++owners[sum];
  return gradient = sum;
}

void ExecutionPlan::plan_backward_buffers() {
  const int last = static_cast<int>(steps_.size());
  logits_gradient_buffer_ = buffers_.add(values_[last].layout->bytes(), forward_time(last));
  values_[last].gradient = logits_gradient_buffer_;
  std::vector<int> owners(logits_gradient_buffer_ + 1);
  owners[logits_gradient_buffer_] = 1;
  for (int step = last - 1; step >= 0; --step) {
    const LayerPlan& plan = *steps_[step].plan;
    Connection& connection = connections_[step];
    const int dy = values_[step + 1].gradient;
    if (dy < 0) continue;
    steps_[step].backward = true;
    connection.dy = dy;
    buffers_.use(dy, backward_time(step));
    std::vector<int> wanting;
    for (const int input : connection.inputs) {
      if (values_[input].needs_gradient) wanting.push_back(input);
    }
    if (!wanting.empty() || plan.needs_dx()) {
      if (plan.passes_gradient() || (plan.backward_in_place() && owners[dy] == 1)) {
        connection.dx = dy;
      } else {
        connection.dx = buffers_.add(plan.input()->bytes(), backward_time(step));
        owners.resize(connection.dx + 1);
      }
      for (const int input : wanting) contribute(step, input, connection.dx, owners);
    }
    --owners[dy];
  }
}

void ExecutionPlan::bind() {
  auto* arena = static_cast<std::byte*>(backend_.allocate(buffers_.place()));
  const auto at = [&](int buffer) {
    return buffer < 0 ? nullptr : reinterpret_cast<float*>(arena + buffers_.offset(buffer));
  };
  for (std::size_t step = 0; step < steps_.size(); ++step) {
    const Connection& connection = connections_[step];
    Pass& pass = steps_[step].pass;
    for (std::size_t i = 0; i < connection.inputs.size(); ++i)
      pass.x[i] = at(values_[connection.inputs[i]].buffer);
    pass.y = at(values_[step + 1].buffer);
    pass.dy = at(connection.dy);
    pass.dx = at(connection.dx);
    pass.workspace = at(connection.workspace);
    for (const Connection::Sum& sum : connection.sums) {
      steps_[step].accumulations.push_back({sum.add, at(sum.a), at(sum.b), at(sum.sum)});
    }
  }
  image_ = at(values_.front().buffer);
  logits_ = at(values_.back().buffer);
  logits_gradient_ = at(logits_gradient_buffer_);
}

}  // namespace seng
