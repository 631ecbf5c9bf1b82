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
    Pass forward;           // of the forward pass; all but `dropout` is settled
    Pass pass;              // of the backward pass, and of the forward pass where it is done again before it
    bool again = false;     // it is
    bool backward = false;  // something before or in this step learns
    std::vector<Accumulation> accumulations;
  };

  // Steps [first, last). Where `again`, what lies between them is dropped in the forward pass and made again
  // before the segment's backward pass.
  struct Segment {
    int first = 0, last = 0;
    bool again = false;
  };

  // `backend` must outlive the plan.
  ExecutionPlan(const Graph& graph, Backend& backend, const ReplicaOptions& options);
  ~ExecutionPlan();

  std::vector<Step>& steps() { return steps_; }
  const std::vector<Segment>& segments() const { return segments_; }
  std::size_t arena_bytes() const { return arena_bytes_; }     // of all activations and gradients
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
  std::vector<Segment> best_segments();
  std::vector<int> borders() const;
  std::size_t plan_buffers(const std::vector<Segment>& segments);
  void order_times();
  void choose_what_is_kept();
  void plan_forward_buffers();
  void plan_segment_again(const Segment& segment);
  void plan_backward_buffers();
  int place_output(int step, int input_buffer, int time);
  int contribute(int step, int value, int dx, std::vector<int>& owners);
  void bind();

  int forward_time(int step) const { return step; }
  std::vector<int> early_uses(int value) const;
  std::vector<int> late_uses(int value) const;
  bool may_overwrite(int step, int buffer, int time) const;
  bool made_again(int step) const;  // its segment's outputs are dropped unless they are kept

  Backend& backend_;
  ReplicaOptions options_;
  std::vector<Step> steps_;
  std::vector<Value> values_;  // value 0 is the image, value s + 1 the output of step s
  std::vector<Connection> connections_;
  std::vector<std::unique_ptr<Add>> adds_;
  std::vector<Segment> segments_;
  std::vector<int> segment_of_;                  // per step
  std::vector<int> again_time_, backward_time_;  // per step
  BufferPlan buffers_;
  std::size_t arena_bytes_ = 0;
  int logits_gradient_buffer_ = -1;
  float *image_ = nullptr, *logits_ = nullptr, *logits_gradient_ = nullptr;
};

}  // namespace seng
