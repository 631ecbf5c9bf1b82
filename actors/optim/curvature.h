// The curvature of one block, as its owner (or backup) keeps it, and the direction it gives.
//
// With N samples' gradients u_i (columns of U, scaled by 1/sqrt(N)) the regularised empirical Fisher matrix
// is F = U U^T + lambda I, and by Sherman-Morrison-Woodbury
//     d = F^-1 g = (g - U b) / lambda,   b = (lambda I_N + U^T U)^-1 U^T g
// (Yang et al., arXiv 2006.05924, section 3). Two exact representations:
//   explicit   the u_i themselves: m*n (+m) floats a sample
//   implicit   A_i (n x kappa, unfolded input) and G_i (m x kappa): (U^T U)_ij = <A_i^T A_j, G_i^T G_j> / N
// K-FAC's Kronecker factors take their place where the form says so (kronecker.h): then a refresh renews
// running means, and what is kept of it are these. The bias is a row of ones below A_i, handled without being
// stored. One lambda per curvature, that of its refresh, in the matrix and in 1/lambda alike.
//
//   begin_refresh -> add_fragment (V of them) -> accept            owner: formed at once
//                                             -> accept_unformed   backup: formed when first needed
//                                             -> reject            backup, when the owner refused
//   settle(step)                               the step is committed, or left: one version stays
// Where a refresh takes effect a step later (the job's overlap), it waits meanwhile:
//   begin_refresh(s) -> add_fragment (V) -> settle(.., waiting = s) -> accept_waiting -> settle(s or before)
//                                      `-> formation(), on any thread, from when all fragments are in
// A backup does nothing between the two settle(): which refreshes are in force the owners' word decides.
// The curvature in force is the last accepted one; an open refresh does not touch it. The one before is kept
// until settle(), since the step that renewed it may be left and the group go on with what was before.
//
// Not thread-safe but for add_fragment(). Deterministic: work is cut into tasks that do not depend on the
// number of lanes, and fragments lie in micro-batch order however they came.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/block.h"
#include "actors/engine/lanes.h"
#include "actors/optim/approximate_columns.h"
#include "actors/optim/device_columns.h"
#include "actors/optim/fragment.h"
#include "actors/optim/kronecker.h"
#include "actors/optim/representation.h"
#include "protocol/base/error.h"
#include "protocol/base/sha256.h"

namespace seng {

struct CurvatureOptions {
  int micro_batches = 1;      // V: fragments per refresh
  int samples_per_micro = 1;  // N / V
  CurvatureForm form;
  // Local mode: M fixed virtual workers, each preconditioning with the samples of V/M micro-batches in a row,
  // whose directions are averaged (the authors' distributed method). 1: global, one Gram matrix over all.
  int workers = 1;
  SketchOptions sketch;
  ProductOptions product;
  Precision stored = Precision::kF32;  // as the samples are kept, served and hashed
  Precision wire = Precision::kF32;    // as fragments come
  std::uint64_t seed = 0;              // the job's, and
  std::uint32_t index = 0;             // the block's place: they key the sketches
  KroneckerOptions kronecker;
  std::shared_ptr<SampleDevice> device;  // multiplies samples, decomposes factors; none: the CPU
};

class Curvature {
 public:
  // `block` is copied.
  Curvature(const Block& block, const CurvatureOptions& options);
  ~Curvature();
  Curvature(Curvature&&) noexcept;
  Curvature& operator=(Curvature&&) noexcept;

  // Opens the refresh of step `step` with damping `lambda`: fragments go to a second store until it is
  // accepted. A refresh that is already open is dropped.
  void begin_refresh(std::uint64_t step, double lambda);
  // One micro-batch's fragment, as make_fragment gives it; a second one for the same micro-batch is ignored.
  // May be called for several micro-batches at the same time, and beside nothing else. Error: wrong size, no
  // such micro-batch, no refresh open.
  Status add_fragment(std::uint32_t micro, std::span<const float> values);
  bool complete() const;  // a refresh is open and all V are in; kScale needs none

  // Forms the Gram matrix and its Cholesky factor and puts the new curvature in place of the old. Refused
  // (the old one stays in force, the refresh is closed): an incomplete refresh, a lambda that is not
  // positive, a value that is not finite, a matrix that is not positive definite. The message names block,
  // step and reason.
  Status accept(Lanes& lanes);
  // The backup's form of accept(): keeps the fragments, forms nothing until it is needed. Refuses as accept()
  // does but for a matrix that is not positive definite or overflows, which only forming can tell: the
  // owner's refusal must reach the backup, which then calls reject().
  Status accept_unformed(Lanes& lanes);
  // Closes the open refresh; the old curvature stays in force.
  void reject();
  // As accept(), of the refresh that waits. It is kept until settle(), whether it was refused or not.
  Status accept_waiting(Lanes& lanes);
  // What accept() and precondition() would do first with the refresh that waits, or whose fragments are all
  // in; empty where there is none. To be run on any thread, with lanes of its own, while this object is used,
  // or when it is gone. Whoever comes second waits for it, or finds it done; the bits are the same.
  std::function<void(Lanes&)> formation() const;

  bool ready() const;          // there is a curvature in force
  std::uint64_t step() const;  // of the refresh in force; 0 before the first
  double lambda() const;       // likewise

  // One version of the curvature, whole: nothing writes to it any more. The spans are valid until it is
  // dropped here, and as long as somebody keeps `owner`; its bytes are values().
  struct Version {
    std::uint64_t step = 0;
    double lambda = 0;
    Precision precision = Precision::kF32;
    std::span<const std::byte> first, second;
    std::shared_ptr<const void> owner;
  };
  // In force, the one before if it is still kept, one that waits, and a refresh whose fragments are all in.
  std::vector<Version> versions() const;
  // The version in force, for as long as somebody wants it: what is renewed or dropped later does not touch
  // it. Reading it needs no lock, on any thread.
  struct Kept : Version {
    std::vector<float> values() const;  // as Curvature's
    Digest digest() const;
  };
  Kept keep() const;  // ready() only
  std::optional<Kept> keep_waiting() const;
  // Makes the version of that step the one in force, that of `waiting` the one that waits, and drops all
  // others; 0: there is none. False: one is not here, and nothing has changed.
  bool settle(std::uint64_t step, std::uint64_t waiting = 0);
  // A version that comes from elsewhere: to be filled, then taken by finish_version(), which puts it in force
  // unformed, or lets it wait. Error: what accept_unformed() refuses; one that waits is judged later.
  struct Room {
    std::span<std::byte> first, second;
  };
  Room begin_version(std::uint64_t step, double lambda, bool waiting = false);
  Status finish_version();
  void drop_begun();  // what was begun and will not be filled

  // d = F^-1 g; block.count floats each, which may not overlap. Returns g^T d. Before the first accepted
  // refresh d = g / (1 + lambda_fallback). kScale: d = g / (1 + lambda). A backup's curvature that cannot be
  // formed here is dropped (ready() turns false), with the same fallback.
  double precondition(std::span<const float> g, std::span<float> d, double lambda_fallback, Lanes& lanes);

  // The same on the options' device, in two parts. First what is in force is formed, if it is not yet:
  struct InForce {
    // Says, with the step, whether it is the same as it was. Null: d = g / (1 + scaling) is all that a
    // direction comes to, which is then the caller's to do.
    const void* made = nullptr;
    std::uint64_t step = 0;
    double scaling = 0;
    bool operator==(const InForce&) const = default;
  };
  InForce form_there(double lambda_fallback, Lanes& lanes);
  // Then, unless it only scales: d is queued. g and d are the device's memory.
  void precondition_there(const float* g, float* d) const;

  // v^T F v without the damping: of the matrix that precondition() inverts with it, whose damping is
  // damping(); before the first accepted refresh, and of kScale, F is the identity. Sketched where c = U^T g
  // is.
  double curvature_along(std::span<const float> v, Lanes& lanes);
  double damping(double lambda_fallback) const;

  // Canonical values: what a checkpoint holds and the state's hash is over; equal on owner and backup.
  // All samples' stored values in micro-batch order: explicit u_1 ... u_N; implicit all inputs, then all
  // gradients; Kronecker factors: packed A, then G, of the running means, each followed by those of the last
  // inverse where the form keeps two sets. Widened, which is exact.
  std::vector<float> values() const;
  // Values that are not as they are stored are rounded. Error: wrong size, or what accept() refuses; the old
  // curvature then stays in force.
  Status restore(std::uint64_t step, double lambda, std::span<const float> values, Lanes& lanes);
  // SHA-256 over step (u64), lambda (IEEE double) and the values as stored (floats or bf16), little-endian.
  // Before the first accepted refresh: of step 0, lambda 0 and no values.
  Digest digest() const;
  std::size_t bytes() const;  // held now: of all versions the samples, their sketches and the factor

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seng
