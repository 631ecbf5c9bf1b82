// The numbers of a training run, as they travel and lie in the store. A field's number is never used again.
#pragma once

#include <cstdint>

namespace seng {

// One committed step, as the group's leader saw it; or, where it could not say it any more, another member.
// One that has its state and did not make it knows neither its seconds nor what is of the one who did: 0.
struct StepMetrics {
  std::uint64_t step = 0;         // the number of committed steps after it, from 1
  double epoch = 0;               // passes over the data after it
  double loss = 0, accuracy = 0;  // of the global batch before the step
  double lr = 0, damping = 0;
  double trust_scale = 1;                 // what the trust region multiplied the direction by
  double seconds = 0;                     // wall time of the step; 0: not known
  bool refreshed = false;                 // curvature was renewed
  std::uint64_t bytes_sent = 0;           // by this actor in this step: gradient sums and directions
  std::uint64_t fragment_bytes_sent = 0;  // by this actor in this step: curvature fragments
  double cosine = 1;                      // of the angle between direction and gradient; 1 without curvature
  double reduction_ratio = 0;  // the loss' change by the step before, over what its model promised; 0: none
  std::uint64_t curvature_bytes = 0;  // that this actor holds behind the step
  double refresh_seconds = 0;         // that this actor took to form the curvature of its blocks

  template <class V>
  void visit(V& v) {
    v.field(1, "step", step);
    v.field(2, "epoch", epoch);
    v.field(3, "loss", loss);
    v.field(4, "accuracy", accuracy);
    v.field(5, "lr", lr);
    v.field(6, "damping", damping);
    v.field(7, "trust_scale", trust_scale);
    v.field(8, "seconds", seconds);
    v.field(9, "refreshed", refreshed);
    v.field(10, "bytes_sent", bytes_sent);
    v.field(11, "fragment_bytes_sent", fragment_bytes_sent);
    v.field(12, "cosine", cosine);
    v.field(13, "reduction_ratio", reduction_ratio);
    v.field(14, "curvature_bytes", curvature_bytes);
    v.field(15, "refresh_seconds", refresh_seconds);
  }
};

// One pass over the training data, or an evaluation in between.
struct EpochMetrics {
  double epoch = 0;
  std::uint64_t step = 0;
  double train_loss = 0, train_accuracy = 0;  // means over the steps since the record before
  double test_loss = 0, test_accuracy = -1;   // -1: not evaluated
  double seconds = 0;                         // training time since the record before
  double images_per_second = 0;

  template <class V>
  void visit(V& v) {
    v.field(1, "epoch", epoch);
    v.field(2, "step", step);
    v.field(3, "train_loss", train_loss);
    v.field(4, "train_accuracy", train_accuracy);
    v.field(5, "test_loss", test_loss);
    v.field(6, "test_accuracy", test_accuracy);
    v.field(7, "seconds", seconds);
    v.field(8, "images_per_second", images_per_second);
  }
};

}  // namespace seng
