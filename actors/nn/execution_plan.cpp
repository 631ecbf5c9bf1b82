#include "actors/nn/execution_plan.h"

#include <algorithm>

#include "actors/nn/execution_plan_values.h"

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

ExecutionPlan::ExecutionPlan(const Graph& graph, Backend& backend, const ReplicaOptions& options)
    : backend_(backend), options_(options) {
  const ImageShape image = graph.input;
  values_.push_back({backend.plain({options.micro_batch, image.channels, image.height, image.width})});
  append_nodes(graph);
  arena_bytes_ = plan_buffers(best_segments());
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
  Value output{plan->output(), block >= 0};
  for (const int input : inputs) {
    output.needs_gradient = output.needs_gradient || values_[input].needs_gradient;
    values_[input].users.push_back(step);
  }
  values_.push_back(std::move(output));
  steps_.push_back({name, std::move(plan), block});
  connections_.push_back({std::move(inputs)});
}

// The value in this layout: itself, or the output of a new step.
int ExecutionPlan::converted(int value, const LayoutPtr& layout, const std::string& name) {
  if (values_[value].layout->same(*layout)) return value;
  append_step("reorder:" + name,
              std::make_unique<ReorderPlan>(backend_, values_[value].layout, layout, options_.training),
              {value}, -1);
  return static_cast<int>(values_.size()) - 1;
}

// Adds the gradient in buffer dx to what the value has; owners counts the values whose pending gradient a
// buffer is.
int ExecutionPlan::contribute(int step, int value, int dx, std::vector<int>& owners) {
  int& gradient = values_[value].gradient;
  if (gradient < 0) {
    ++owners[dx];
    return gradient = dx;
  }
  const int time = backward_time_[step];
  const int a = gradient;
  int sum = a;
  if (owners[a] > 1) sum = owners[dx] == 0 ? dx : buffers_.add(values_[value].layout->bytes(), time);
  for (const int buffer : {a, dx, sum}) buffers_.use(buffer, time);
  // The sum may only lie over the first operand.
  const int first = sum == dx ? dx : a, second = sum == dx ? a : dx;
  connections_[step].sums.push_back({value, first, second, sum});
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
    buffers_.use(dy, backward_time_[step]);
    std::vector<int> wanting;
    for (const int input : connection.inputs) {
      if (values_[input].needs_gradient) wanting.push_back(input);
    }
    if (!wanting.empty() || plan.needs_dx()) {
      if (plan.passes_gradient() || (plan.backward_in_place() && owners[dy] == 1)) {
        connection.dx = dy;
      } else {
        connection.dx = buffers_.add(plan.input()->bytes(), backward_time_[step]);
        owners.resize(connection.dx + 1);
      }
      for (const int input : wanting) contribute(step, input, connection.dx, owners);
    }
    --owners[dy];
  }
}

void ExecutionPlan::bind() {
  auto* arena = static_cast<std::byte*>(backend_.allocate(arena_bytes_));
  const auto at = [&](int buffer) {
    return buffer < 0 ? nullptr : reinterpret_cast<float*>(arena + buffers_.offset(buffer));
  };
  for (std::size_t step = 0; step < steps_.size(); ++step) {
    const Connection& connection = connections_[step];
    Pass &pass = steps_[step].pass, &forward = steps_[step].forward;
    for (std::size_t i = 0; i < connection.inputs.size(); ++i) {
      forward.x[i] = at(values_[connection.inputs[i]].buffer);
      pass.x[i] = at(values_[connection.inputs[i]].late);
    }
    forward.y = at(values_[step + 1].buffer);
    forward.workspace = at(connection.workspace);
    pass.y = at(values_[step + 1].late);
    pass.dy = at(connection.dy);
    pass.dx = at(connection.dx);
    pass.workspace = at(connection.late_workspace);
    for (const Connection::Sum& sum : connection.sums) {
      adds_.push_back(backend_.plan_add(values_[sum.value].layout, false));
      steps_[step].accumulations.push_back({adds_.back().get(), at(sum.a), at(sum.b), at(sum.sum)});
    }
  }
  image_ = at(values_.front().buffer);
  logits_ = at(values_.back().buffer);
  logits_gradient_ = at(logits_gradient_buffer_);
}

}  // namespace seng
