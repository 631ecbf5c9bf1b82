#include "actors/optim/curvature.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "actors/engine/linalg.h"
#include "actors/optim/damped_system.h"
#include "actors/optim/gradient_columns.h"
#include "actors/optim/tasks.h"

namespace seng {
namespace {

// One refresh's samples and what was formed of them.
struct Generation {
  std::uint64_t step = 0;
  double lambda = 0;
  SampleStore store;
  std::unique_ptr<GradientColumns> columns;  // null for kScale
  std::optional<DampedSystem> system;        // none until formed; none for kScale
  // kKronecker: `store` holds the factors, once what has arrived is folded into them (before: empty).
  SampleStore arrived;
  std::shared_ptr<const KroneckerBasis> basis;  // of the last set; null until formed

  // The `set`-th of the packed factors of A or G.
  std::span<float> factor_a(std::size_t set, const KroneckerShape& shape) {
    return {store.first.data() + set * shape.packed_a(), shape.packed_a()};
  }
  std::span<float> factor_g(std::size_t set, const KroneckerShape& shape) {
    return {store.second.data() + set * shape.packed_g(), shape.packed_g()};
  }
};

Curvature::Version version_of(const std::shared_ptr<Generation>& made) {
  const SampleStore& store = made->store;
  return {made->step,
          made->lambda,
          {store.first.data(), store.first.size()},
          {store.second.data(), store.second.size()},
          made};
}

double scaled_direction(std::span<const float> g, double lambda, std::span<float> d) {
  std::fill(d.begin(), d.end(), 0.0f);
  return finish_direction(g.data(), 1.0 / (1.0 + lambda), d.data(), d.size());
}

}  // namespace

struct Curvature::State {
  State(const Block& block_in, const CurvatureOptions& options_in)
      : block(block_in),
        options(options_in),
        samples(std::size_t(options_in.micro_batches) * std::size_t(options_in.samples_per_micro)),
        size(stored_size(block_in, options_in.form)),
        count(kronecker() ? 1 : samples) {}

  static SampleSize stored_size(const Block& block, const CurvatureForm& form) {
    if (form.representation != Representation::kKronecker) return sample_size(block, form);
    const KroneckerShape shape = kronecker_shape(block);
    const std::size_t sets = std::size_t(form.factor_sets);
    return {sets * shape.packed_a(), sets * shape.packed_g()};
  }

  // A Generation's columns borrow `block` and its own store: both stay where they are.
  const Block block;
  const CurvatureOptions options;
  const std::size_t samples;  // N
  const SampleSize size;      // of what is stored, `count` times
  const std::size_t count;    // N; 1 for kKronecker
  std::shared_ptr<Generation> current, previous, pending, incoming;
  std::vector<bool> arrived;
  std::size_t missing = 0;

  bool scale() const { return options.form.representation == Representation::kScale; }
  bool kronecker() const { return options.form.representation == Representation::kKronecker; }

  std::shared_ptr<Generation> generation(std::uint64_t step, double lambda) const {
    auto made = std::make_shared<Generation>();
    made->step = step;
    made->lambda = lambda;
    made->store = room(count, size);
    if (!scale() && !kronecker()) made->columns = columns(made->store, step);
    return made;
  }

  static SampleStore room(std::size_t count, const SampleSize& size) {
    return {count, size, AlignedBuffer<float>(count * size.first), AlignedBuffer<float>(count * size.second)};
  }

  // Makes a whole refresh of Kronecker factors what it is kept as; `current` is that of before.
  void fold(Generation& made, Lanes& lanes) const {
    if (made.arrived.count == 0) return;
    const KroneckerShape shape = kronecker_shape(block);
    KroneckerRefresh refresh;
    refresh.sums = kronecker_fragment(block, options.samples_per_micro).sums;
    refresh.samples = samples;
    if (current) {
      refresh.retained = retained_share(options.kronecker, made.step);
      refresh.old_a = current->factor_a(0, shape);
      refresh.old_g = current->factor_g(0, shape);
    }
    fold_factors(block, made.arrived, refresh, made.factor_a(0, shape), made.factor_g(0, shape), lanes);
    made.arrived = {};
    if (options.form.factor_sets == 1) return;
    const bool renews = !current || renews_inverse(options.kronecker, made.step);
    Generation& inverse = renews ? made : *current;
    std::ranges::copy(inverse.factor_a(renews ? 0 : 1, shape), made.factor_a(1, shape).begin());
    std::ranges::copy(inverse.factor_g(renews ? 0 : 1, shape), made.factor_g(1, shape).begin());
    if (!renews) made.basis = current->basis;
  }

  std::unique_ptr<GradientColumns> columns(const SampleStore& store, std::uint64_t step) const {
    const SketchKey key{options.seed, step, options.index};
    auto made = make_columns(block, options.form, store);
    made = bucketed_columns(std::move(made), block, options.form, store, options.product, key);
    return sketched_columns(std::move(made), block, options.form, store, options.sketch, key);
  }

  Error refusal(const Generation& made, const std::string& reason) const {
    std::string message = "block " + block.name + ": the curvature of step " + std::to_string(made.step) +
                          " is refused: " + reason;
    if (current) message += "; that of step " + std::to_string(current->step) + " stays in force";
    return {ErrorCode::kInvalidArgument, message};
  }

  // What can be said without forming anything.
  Status check(const Generation& made) const {
    if (!std::isfinite(made.lambda) || !(made.lambda > 0)) {
      return fail(refusal(made, "its damping " + std::to_string(made.lambda) + " is not positive"));
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (!all_finite(made.store.first.data() + i * size.first, size.first) ||
          !all_finite(made.store.second.data() + i * size.second, size.second)) {
        const std::string where = kronecker() ? "a factor" : "sample " + std::to_string(i);
        return fail(refusal(made, where + " holds a value that is not finite"));
      }
    }
    return {};
  }

  Status form(Generation& made, Lanes& lanes) const {
    if (scale() || made.system || made.basis) return {};
    if (kronecker()) {
      const KroneckerShape shape = kronecker_shape(block);
      const std::size_t last = std::size_t(options.form.factor_sets) - 1;
      auto basis = KroneckerBasis::form(block, made.factor_a(last, shape), made.factor_g(last, shape), lanes);
      if (!basis) return fail(refusal(made, basis.error().message));
      made.basis = std::move(*basis);
      return {};
    }
    AlignedBuffer<double> gram(samples * samples);
    made.columns->gram(gram.data(), lanes);
    auto system = DampedSystem::form(std::move(gram), samples, made.lambda, std::size_t(options.workers));
    if (!system) return fail(refusal(made, system.error().message));
    made.system = std::move(*system);
    return {};
  }

  bool whole() const { return pending && missing == 0; }

  void put_in_force(std::shared_ptr<Generation> made) {
    previous = std::move(current);
    current = std::move(made);
  }

  // Closes the open refresh.
  Result<std::shared_ptr<Generation>> take_pending(Lanes& lanes) {
    const bool all_in = whole();
    auto made = std::exchange(pending, nullptr);
    if (!made)
      return fail(ErrorCode::kInvalidArgument, "block " + block.name + ": no curvature refresh is open");
    if (!all_in)
      return fail(refusal(*made, std::to_string(missing) + " micro-batches' fragments are missing"));
    fold(*made, lanes);
    return made;
  }
};

Curvature::Curvature(const Block& block, const CurvatureOptions& options) {
  SENG_CHECK(options.micro_batches > 0 && options.samples_per_micro > 0, "curvature without samples");
  state_ = std::make_unique<State>(block, options);
}
Curvature::~Curvature() = default;
Curvature::Curvature(Curvature&&) noexcept = default;
Curvature& Curvature::operator=(Curvature&&) noexcept = default;

void Curvature::begin_refresh(std::uint64_t step, double lambda) {
  State& s = *state_;
  s.pending = s.generation(step, lambda);
  s.missing = s.scale() ? 0 : std::size_t(s.options.micro_batches);
  s.arrived.assign(std::size_t(s.options.micro_batches), false);
  if (!s.kronecker()) return;
  const KroneckerFragment fragment = kronecker_fragment(s.block, s.options.samples_per_micro);
  s.pending->arrived = State::room(s.arrived.size() * std::size_t(fragment.count), fragment.size);
}

Status Curvature::add_fragment(std::uint32_t micro, std::span<const float> values) {
  State& s = *state_;
  const auto where = [&] { return "block " + s.block.name + ", micro-batch " + std::to_string(micro); };
  if (!s.pending) return fail(ErrorCode::kInvalidArgument, where() + ": a fragment, but no refresh is open");
  if (micro >= s.arrived.size()) {
    return fail(ErrorCode::kInvalidArgument, where() + ": a fragment of one of only " +
                                                 std::to_string(s.arrived.size()) + " micro-batches");
  }
  SampleStore& store = s.kronecker() ? s.pending->arrived : s.pending->store;
  const std::size_t per_micro = store.count / s.arrived.size();
  if (values.size() != per_micro * store.size.total()) {
    return fail(ErrorCode::kCorrupt, where() + ": a fragment of " + std::to_string(values.size()) +
                                         " floats instead of " +
                                         std::to_string(per_micro * store.size.total()));
  }
  if (s.scale() || s.arrived[micro]) return {};
  const std::size_t first = per_micro * store.size.first, second = per_micro * store.size.second;
  std::copy_n(values.data(), first, store.first.data() + micro * first);
  std::copy_n(values.data() + first, second, store.second.data() + micro * second);
  s.arrived[micro] = true;
  --s.missing;
  return {};
}

bool Curvature::complete() const {
  return state_->pending && state_->missing == 0;
}

Status Curvature::accept(Lanes& lanes) {
  State& s = *state_;
  auto made = s.take_pending(lanes);
  if (!made) return fail(std::move(made).error());
  SENG_TRY(s.check(**made));
  SENG_TRY(s.form(**made, lanes));
  s.put_in_force(std::move(*made));
  return {};
}

Status Curvature::accept_unformed(Lanes& lanes) {
  State& s = *state_;
  auto made = s.take_pending(lanes);
  if (!made) return fail(std::move(made).error());
  SENG_TRY(s.check(**made));
  s.put_in_force(std::move(*made));
  return {};
}

std::vector<Curvature::Version> Curvature::versions() const {
  const State& s = *state_;
  std::vector<Version> out;
  const auto add = [&](const std::shared_ptr<Generation>& made) {
    if (made) out.push_back(version_of(made));
  };
  add(s.current);
  add(s.previous);
  if (s.whole()) {
    Lanes here(1);
    s.fold(*s.pending, here);
    add(s.pending);
  }
  return out;
}

Curvature::Kept Curvature::keep() const {
  SENG_CHECK(ready(), "no curvature is in force");
  return {version_of(state_->current)};
}

bool Curvature::settle(std::uint64_t step) {
  State& s = *state_;
  std::shared_ptr<Generation> kept;
  for (auto* made : {&s.current, &s.previous, &s.pending}) {
    if (*made && (*made)->step == step && (made != &s.pending || s.whole())) {
      kept = std::move(*made);
      break;
    }
  }
  if (step != 0 && !kept) return false;
  Lanes here(1);
  if (kept) s.fold(*kept, here);
  s.current = std::move(kept);
  s.incoming = nullptr;
  s.previous = nullptr;
  s.pending = nullptr;
  return true;
}

Curvature::Room Curvature::begin_version(std::uint64_t step, double lambda) {
  State& s = *state_;
  s.incoming = s.generation(step, lambda);
  SampleStore& store = s.incoming->store;
  return {{store.first.data(), store.first.size()}, {store.second.data(), store.second.size()}};
}

Status Curvature::finish_version() {
  State& s = *state_;
  SENG_CHECK(s.incoming != nullptr, "no version was begun");
  auto made = std::exchange(s.incoming, nullptr);
  SENG_TRY(s.check(*made));
  s.current = std::move(made);
  s.previous = nullptr;
  s.pending = nullptr;
  return {};
}

void Curvature::reject() {
  state_->pending = nullptr;
}

bool Curvature::ready() const {
  return state_->current != nullptr;
}
std::uint64_t Curvature::step() const {
  return state_->current ? state_->current->step : 0;
}
double Curvature::lambda() const {
  return state_->current ? state_->current->lambda : 0;
}

double Curvature::precondition(std::span<const float> g, std::span<float> d, double lambda_fallback,
                               Lanes& lanes) {
  State& s = *state_;
  SENG_CHECK(g.size() == s.block.count && d.size() == s.block.count, "gradient of block " + s.block.name);
  if (s.current && !s.form(*s.current, lanes)) s.current = nullptr;
  if (!s.current) return scaled_direction(g, lambda_fallback, d);
  const Generation& curvature = *s.current;
  if (s.kronecker()) return curvature.basis->precondition(s.block, g, curvature.lambda, d, lanes);
  if (s.scale()) return scaled_direction(g, curvature.lambda, d);
  // With K = lambda I + R^T R / N and c = R^T g:  d = (g - R K^-1 c / N) / lambda.
  std::vector<double> b(s.samples);
  curvature.columns->project(g, b.data(), lanes);
  curvature.system->solve(b.data());
  for (double& weight : b) weight /= double(s.samples);
  return curvature.columns->correct(g, b.data(), 1.0 / curvature.lambda, d, lanes);
}

double Curvature::curvature_along(std::span<const float> v, Lanes& lanes) {
  State& s = *state_;
  SENG_CHECK(v.size() == s.block.count, "vector of block " + s.block.name);
  if (s.current && !s.form(*s.current, lanes)) s.current = nullptr;
  if (!s.current || s.scale()) return dot(v.data(), v.data(), v.size());
  if (s.kronecker()) return s.current->basis->curvature_along(s.block, v, lanes);
  std::vector<double> c(s.samples);
  s.current->columns->project(v, c.data(), lanes);
  double sum = 0;
  for (const double each : c) sum += each * each;
  return sum / double(s.samples);
}

double Curvature::damping(double lambda_fallback) const {
  return ready() ? lambda() : lambda_fallback;
}

std::vector<float> Curvature::values() const {
  return ready() ? keep().values() : std::vector<float>{};
}

std::vector<float> Curvature::Kept::values() const {
  std::vector<float> values;
  values.reserve(first.size() + second.size());
  values.insert(values.end(), first.begin(), first.end());
  values.insert(values.end(), second.begin(), second.end());
  return values;
}

Status Curvature::restore(std::uint64_t step, double lambda, std::span<const float> values, Lanes& lanes) {
  State& s = *state_;
  if (values.size() != s.count * s.size.total()) {
    return fail(ErrorCode::kCorrupt, "block " + s.block.name + ": a curvature of " +
                                         std::to_string(values.size()) + " floats instead of " +
                                         std::to_string(s.count * s.size.total()));
  }
  auto made = s.generation(step, lambda);
  const std::size_t first = s.count * s.size.first;
  std::copy_n(values.data(), first, made->store.first.data());
  std::copy_n(values.data() + first, values.size() - first, made->store.second.data());
  SENG_TRY(s.check(*made));
  SENG_TRY(s.form(*made, lanes));
  s.current = std::move(made);
  s.previous = nullptr;
  return {};
}

Digest Curvature::digest() const {
  return ready() ? keep().digest() : Kept{}.digest();
}

Digest Curvature::Kept::digest() const {
  static_assert(std::endian::native == std::endian::little, "the digest is over little-endian bytes");
  Sha256 hash;
  hash.update(&step, sizeof step);
  hash.update(&lambda, sizeof lambda);
  hash.update(first.data(), first.size_bytes());
  hash.update(second.data(), second.size_bytes());
  return hash.finish();
}

std::size_t Curvature::bytes() const {
  std::size_t bytes = 0;
  for (const auto* made : {&state_->current, &state_->previous, &state_->pending, &state_->incoming}) {
    if (!*made) continue;
    for (const SampleStore* store : {&(*made)->store, &(*made)->arrived})
      bytes += (store->first.size() + store->second.size()) * sizeof(float);
    if ((*made)->basis) bytes += (*made)->basis->bytes();
    if ((*made)->system) bytes += state_->samples * state_->samples * sizeof(double);
  }
  return bytes;
}

}  // namespace seng
