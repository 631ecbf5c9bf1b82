#include "actors/optim/curvature.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>

#include "actors/engine/linalg.h"
#include "actors/optim/device_kronecker.h"
#include "actors/optim/generation.h"
#include "actors/optim/tasks.h"

namespace seng {
namespace {

Curvature::Version version_of(const std::shared_ptr<Generation>& made) {
  const SampleStore& store = made->store();
  return {made->step(),        made->lambda(),       store.first.precision(),
          store.first.bytes(), store.second.bytes(), made->shared_store()};
}

double scaled_direction(std::span<const float> g, double lambda, std::span<float> d) {
  std::fill(d.begin(), d.end(), 0.0f);
  return finish_direction(g.data(), 1.0 / (1.0 + lambda), d.data(), d.size());
}

}  // namespace

struct Curvature::State {
  State(const Block& block_in, const CurvatureOptions& options_in)
      : block_kept(std::make_shared<const Block>(block_in)),
        block(*block_kept),
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

  const std::shared_ptr<const Block> block_kept;
  const Block& block;
  const CurvatureOptions options;
  const std::size_t samples;  // N
  const SampleSize size;      // of what is stored, `count` times
  const std::size_t count;    // N; 1 for kKronecker
  std::shared_ptr<Generation> current, previous, pending, waiting, incoming, incoming_waiting;
  std::mutex arrival;  // guards the two below while fragments come from several lanes
  std::vector<bool> arrived;
  std::size_t missing = 0;

  bool scale() const { return options.form.representation == Representation::kScale; }
  bool kronecker() const { return options.form.representation == Representation::kKronecker; }

  std::shared_ptr<Generation> generation(std::uint64_t step, double lambda) const {
    auto made =
        std::make_shared<Generation>(block_kept, step, lambda, make_store(count, size, options.stored));
    if (kronecker()) {
      made->set_factors(std::size_t(options.form.factor_sets), options.device);
    } else if (!scale()) {
      made->set_columns(columns(made->store(), step), std::size_t(options.workers));
    }
    return made;
  }

  // Makes a whole refresh of Kronecker factors what it is kept as; `current` is that of before.
  void fold(Generation& made, Lanes& lanes) const {
    if (made.arrived().count == 0) return;
    KroneckerRefresh refresh;
    refresh.sums = kronecker_fragment(block, options.samples_per_micro).sums;
    refresh.samples = samples;
    if (current) {
      refresh.retained = retained_share(options.kronecker, made.step());
      refresh.old_a = current->factor_a(0);
      refresh.old_g = current->factor_g(0);
    }
    if (options.device) {
      device_fold_factors(*options.device, block, made.arrived(), refresh, made.factor_a(0),
                          made.factor_g(0));
    } else {
      fold_factors(block, made.arrived(), refresh, made.factor_a(0), made.factor_g(0), lanes);
    }
    made.arrived() = {};
    if (options.form.factor_sets == 1) return;
    const bool renews = !current || renews_inverse(options.kronecker, made.step());
    Generation& inverse = renews ? made : *current;
    std::ranges::copy(inverse.factor_a(renews ? 0 : 1), made.factor_a(1).begin());
    std::ranges::copy(inverse.factor_g(renews ? 0 : 1), made.factor_g(1).begin());
    if (!renews) made.take_basis(*current);
  }

  std::unique_ptr<GradientColumns> columns(const SampleStore& store, std::uint64_t step) const {
    const ApproximatedSamples of{
        block, options.form, store, {options.seed, step, options.index}, options.device};
    if (!options.device) {
      auto made = bucketed_columns(make_columns(block, options.form, store), of, options.product);
      return sketched_columns(std::move(made), of, options.sketch);
    }
    std::optional<SampleBuckets> buckets;
    if (is_bucketed(of, options.product)) buckets = draw_buckets(of, options.product);
    auto made = device_columns(options.device, block, options.form, store, std::move(buckets));
    return sketched_columns(std::move(made), of, options.sketch);
  }

  // Says too what stays in force.
  Status told(Status status) const {
    if (status || !current) return status;
    Error error = std::move(status).error();
    error.message += "; that of step " + std::to_string(current->step()) + " stays in force";
    return fail(std::move(error));
  }

  bool has_arrived(std::uint32_t micro) {
    const std::lock_guard lock(arrival);
    return arrived[micro];
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
    if (!all_in) {
      Status refused = fail(made->refusal(std::to_string(missing) + " micro-batches' fragments are missing"));
      return fail(told(std::move(refused)).error());
    }
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
  s.pending->arrived() =
      make_store(s.arrived.size() * std::size_t(fragment.count), fragment.size, Precision::kF32);
}

Status Curvature::add_fragment(std::uint32_t micro, std::span<const float> values) {
  State& s = *state_;
  const auto where = [&] { return "block " + s.block.name + ", micro-batch " + std::to_string(micro); };
  if (!s.pending) return fail(ErrorCode::kInvalidArgument, where() + ": a fragment, but no refresh is open");
  if (micro >= s.arrived.size()) {
    return fail(ErrorCode::kInvalidArgument, where() + ": a fragment of one of only " +
                                                 std::to_string(s.arrived.size()) + " micro-batches");
  }
  const std::size_t words =
      fragment_shape(s.block, s.options.form, s.options.samples_per_micro, s.options.wire).words;
  if (values.size() != words) {
    return fail(ErrorCode::kCorrupt, where() + ": a fragment of " + std::to_string(values.size()) +
                                         " floats instead of " + std::to_string(words));
  }
  if (s.scale() || s.has_arrived(micro)) return {};
  SampleStore& store = s.kronecker() ? s.pending->arrived() : s.pending->store();
  const std::size_t per_micro = store.count / s.arrived.size();
  const std::size_t first = per_micro * store.size.first, second = per_micro * store.size.second;
  store.first.put(micro * first, s.options.wire, values.data(), 0, first);
  store.second.put(micro * second, s.options.wire, values.data(), first, second);
  const std::lock_guard lock(s.arrival);
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
  SENG_TRY(s.told((*made)->form(lanes)));
  s.put_in_force(std::move(*made));
  return {};
}

Status Curvature::accept_unformed(Lanes& lanes) {
  State& s = *state_;
  auto made = s.take_pending(lanes);
  if (!made) return fail(std::move(made).error());
  SENG_TRY(s.told((*made)->check()));
  s.put_in_force(std::move(*made));
  return {};
}

Status Curvature::accept_waiting(Lanes& lanes) {
  State& s = *state_;
  if (!s.waiting)
    return fail(ErrorCode::kInvalidArgument, "block " + s.block.name + ": no refresh waits to take effect");
  if (s.waiting == s.current) return {};
  SENG_TRY(s.told(s.waiting->form(lanes)));
  s.put_in_force(s.waiting);
  return {};
}

std::function<void(Lanes&)> Curvature::formation() const {
  const State& s = *state_;
  auto made = s.whole() ? s.pending : s.waiting;
  if (!made) return {};
  return [made](Lanes& lanes) { (void)made->form(lanes); };
}

std::vector<Curvature::Version> Curvature::versions() const {
  const State& s = *state_;
  std::vector<Version> out;
  const auto add = [&](const std::shared_ptr<Generation>& made) {
    if (made) out.push_back(version_of(made));
  };
  add(s.current);
  add(s.previous);
  if (s.waiting != s.current) add(s.waiting);
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

std::optional<Curvature::Kept> Curvature::keep_waiting() const {
  if (!state_->waiting) return std::nullopt;
  return Kept{version_of(state_->waiting)};
}

bool Curvature::settle(std::uint64_t step, std::uint64_t waiting) {
  State& s = *state_;
  const auto find = [&](std::uint64_t wanted) -> std::shared_ptr<Generation> {
    for (const auto* made : {&s.current, &s.previous, &s.waiting, &s.pending})
      if (*made && (*made)->step() == wanted && (made != &s.pending || s.whole())) return *made;
    return nullptr;
  };
  auto kept = step == 0 ? nullptr : find(step), kept_waiting = waiting == 0 ? nullptr : find(waiting);
  if ((step != 0 && !kept) || (waiting != 0 && !kept_waiting)) return false;
  Lanes here(1);
  if (kept) s.fold(*kept, here);
  s.current = std::move(kept);
  s.waiting = std::move(kept_waiting);
  s.incoming = s.incoming_waiting = s.previous = s.pending = nullptr;
  return true;
}

Curvature::Room Curvature::begin_version(std::uint64_t step, double lambda, bool waiting) {
  State& s = *state_;
  auto& incoming = waiting ? s.incoming_waiting : s.incoming;
  incoming = s.generation(step, lambda);
  SampleStore& store = incoming->store();
  return {store.first.bytes(), store.second.bytes()};
}

Status Curvature::finish_version() {
  State& s = *state_;
  SENG_CHECK(s.incoming || s.incoming_waiting, "no version was begun");
  if (auto made = std::exchange(s.incoming_waiting, nullptr)) s.waiting = std::move(made);
  auto made = std::exchange(s.incoming, nullptr);
  if (!made) return {};
  SENG_TRY(s.told(made->check()));
  // The one before stays until settle(): the group may go back behind the step that renewed it.
  s.put_in_force(std::move(made));
  if (!s.whole()) s.pending = nullptr;
  return {};
}

void Curvature::drop_begun() {
  state_->incoming = state_->incoming_waiting = nullptr;
}

void Curvature::reject() {
  state_->pending = nullptr;
}

bool Curvature::ready() const {
  return state_->current != nullptr;
}
std::uint64_t Curvature::step() const {
  return state_->current ? state_->current->step() : 0;
}
double Curvature::lambda() const {
  return state_->current ? state_->current->lambda() : 0;
}

double Curvature::precondition(std::span<const float> g, std::span<float> d, double lambda_fallback,
                               Lanes& lanes) {
  State& s = *state_;
  SENG_CHECK(g.size() == s.block.count && d.size() == s.block.count, "gradient of block " + s.block.name);
  if (s.current && !s.current->form(lanes)) s.current = nullptr;
  if (!s.current) return scaled_direction(g, lambda_fallback, d);
  const Generation& curvature = *s.current;
  if (s.kronecker()) return curvature.basis().precondition(s.block, g, curvature.lambda(), d, lanes);
  if (s.scale()) return scaled_direction(g, curvature.lambda(), d);
  // With K = lambda I + R^T R / N and c = R^T g:  d = (g - R K^-1 c / N) / lambda.
  const GradientColumns& columns = curvature.columns();
  if (columns.keeps_system()) return columns.precondition(g, 1.0 / curvature.lambda(), d, lanes);
  std::vector<double> b(s.samples);
  columns.project(g, b.data(), lanes);
  curvature.system().solve(b.data());
  for (double& weight : b) weight /= double(s.samples);
  return columns.correct(g, b.data(), 1.0 / curvature.lambda(), d, lanes);
}

Curvature::InForce Curvature::form_there(double lambda_fallback, Lanes& lanes) {
  State& s = *state_;
  if (s.current && !s.current->form(lanes)) s.current = nullptr;
  if (!s.current || s.scale()) return {.step = step(), .scaling = damping(lambda_fallback)};
  return {.made = s.current.get(), .step = step()};
}

void Curvature::precondition_there(const float* g, float* d) const {
  const Generation& curvature = *state_->current;
  if (state_->kronecker()) {
    curvature.basis().precondition_there(g, curvature.lambda(), d);
  } else {
    curvature.columns().precondition_there(g, 1.0 / curvature.lambda(), d);
  }
}

double Curvature::curvature_along(std::span<const float> v, Lanes& lanes) {
  State& s = *state_;
  SENG_CHECK(v.size() == s.block.count, "vector of block " + s.block.name);
  if (s.current && !s.current->form(lanes)) s.current = nullptr;
  if (!s.current || s.scale()) return dot(v.data(), v.data(), v.size());
  if (s.kronecker()) return s.current->basis().curvature_along(s.block, v, lanes);
  std::vector<double> c(s.samples);
  s.current->columns().project(v, c.data(), lanes);
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
  std::vector<float> values((first.size() + second.size()) / bytes_of(precision));
  float* to = values.data();
  for (const auto& half : {first, second}) {
    const std::size_t count = half.size() / bytes_of(precision);
    if (precision == Precision::kBf16) {
      widen(reinterpret_cast<const Bf16*>(half.data()), to, count);
    } else if (count > 0) {
      std::memcpy(to, half.data(), half.size());
    }
    to += count;
  }
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
  made->store().first.put(0, Precision::kF32, values.data(), 0, first);
  made->store().second.put(0, Precision::kF32, values.data(), first, values.size() - first);
  SENG_TRY(s.told(made->form(lanes)));
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
  hash.update(first.data(), first.size());
  hash.update(second.data(), second.size());
  return hash.finish();
}

std::size_t Curvature::bytes() const {
  const State& s = *state_;
  std::set<const Generation*> held;
  for (const auto* made : {&s.current, &s.previous, &s.pending, &s.waiting, &s.incoming, &s.incoming_waiting})
    if (*made) held.insert(made->get());
  std::size_t bytes = 0;
  for (const Generation* made : held) bytes += made->bytes();
  return bytes;
}

}  // namespace seng
