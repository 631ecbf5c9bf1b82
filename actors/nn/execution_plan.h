// A graph planned for one replica: the layers' plans in order, the layouts between them, and all activations
// and gradients placed in one arena by their lifetimes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/nn/buffer_plan.h"
#include "actors/nn/graph.h"

namespace seng {

class ExecutionPlan {
 public:
  // sum = a + b after a step's backward pass, where a value has several users.
  struct Accumulation {
    Add* add = nullptr;
    float *a = nullptr, *b = nullptr, *sum = nullptr;
  };

  struct Step {
    std::string name;
    std::unique_ptr<LayerPlan> plan;
    int block = -1;
    Pass pass;              // its pointers are settled; `dropout` is the caller's
    bool backward = false;  // something before or in this step learns
    std::vector<Accumulation> accumulations;
  };

  // `backend` must outlive the plan.
  ExecutionPlan(const Graph& graph, Backend& backend, const ReplicaOptions& options);
  ~ExecutionPlan();

  std::vector<Step>& steps() { return steps_; }
  float* image() const { return image_; }                      // [batch, C, H, W], plain
  float* logits() const { return logits_; }                    // [batch, classes], plain
  float* logits_gradient() const { return logits_gradient_; }  // null if not for training

 private:
  struct Value;       // a tensor between two steps
  struct Connection;  // a step's values and buffers, while planning

  void append_nodes(const Graph& graph);
  void append_step(const std::string& name, std::unique_ptr<LayerPlan> plan, std::vector<int> inputs,
                   int block);
  int converted(int value, const LayoutPtr& layout, const std::string& name);
  void plan_forward_buffers();
  void plan_backward_buffers();
  int contribute(int step, int value, int dx, std::vector<int>& owners);
  void bind();

  int forward_time(int step) const { return step; }
  int backward_time(int step) const { return 2 * static_cast<int>(steps_.size()) - step; }
  std::vector<int> uses(int value) const;
  bool may_overwrite(int step) const;

  Backend& backend_;
  ReplicaOptions options_;
  std::vector<Step> steps_;
  std::vector<Value> values_;  // value 0 is the image, value s + 1 the output of step s
  std::vector<Connection> connections_;
  std::vector<std::unique_ptr<Add>> adds_;
  BufferPlan buffers_;
  int logits_gradient_buffer_ = -1;
  float *image_ = nullptr, *logits_ = nullptr, *logits_gradient_ = nullptr;
};

}  // namespace seng
