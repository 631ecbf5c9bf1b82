// The table: every operation of the backend's contract with the arguments that its cases differ in. The same
// draws give both devices the same inputs.
#include <cmath>

#include "tests/parity/machine.h"

namespace seng::testing {
namespace {

ConvolutionPlan convolution_plan(const Size& size, int channels_in, int kernel_h, int kernel_w, int stride,
                                 int padding, bool bias) {
  const auto out = [&](int kernel) { return (size.image + 2 * padding - kernel) / stride + 1; };
  ConvolutionPlan plan;
  plan.geometry = {channels_in,   size.image,    size.image, size.channels + 2,
                   out(kernel_h), out(kernel_w), kernel_h,   kernel_w,
                   stride,        padding};
  plan.batch = size.batch;
  plan.bias = bias;
  plan.direct = true;
  return plan;
}

void convolution(Machine& m, Random& random, const ConvolutionPlan& plan) {
  const ConvolutionGeometry& g = plan.geometry;
  const std::size_t weights = std::size_t(g.channels_out) * g.channels_in * g.kernel_h * g.kernel_w;
  const auto c = m.backend().plan_convolution(plan);
  const Values weight = normal(random, weights);
  const float* x = m.put(c->input(), normal(random, c->input()->shape().count()));
  const float* dy = m.put(c->output(), normal(random, c->output()->shape().count()));
  const float* bias = m.put(normal(random, g.channels_out));
  float* packed = m.room(c->packed_bytes() / sizeof(float));
  const float* host = weight.data();
  if (m.backend().device() == Device::kCpu) host = m.put(weight);  // on a boundary of 64 bytes
  c->pack(host, packed);
  float *y = m.room(c->output()), *dx = m.room(c->input());
  float *dw = m.room(weights), *db = m.room(g.channels_out);
  m.run("forward", [&] { c->forward(x, packed, plan.bias ? bias : nullptr, y); });
  m.run("backward weights", [&] { c->backward_weights(x, dy, dw, plan.bias ? db : nullptr); });
  m.run("backward data", [&] { c->backward_data(dy, packed, dx); });
  m.results["y"] = m.get(y, c->output());
  m.results["dx"] = m.get(dx, c->input());
  m.results["dw"] = m.get(dw, weights);
  if (plan.bias) m.results["db"] = m.get(db, g.channels_out);
}

Operation convolution_case(const std::string& name, int channels_in, int kernel_h, int kernel_w, int stride,
                           int padding, bool bias) {
  return {"convolution_" + name, true, [=](Machine& m, Random& random, const Size& size) {
            const int in = channels_in > 0 ? channels_in : size.channels;
            convolution(m, random, convolution_plan(size, in, kernel_h, kernel_w, stride, padding, bias));
          }};
}

void linear(Machine& m, Random& random, const Size& size, bool bias) {
  const int in = size.channels * 9 + 1, out = size.channels + 3;
  const auto l = m.backend().plan_linear({size.batch, in, out, bias});
  const float* x = m.put(normal(random, std::size_t(size.batch) * in));
  const float* dy = m.put(normal(random, std::size_t(size.batch) * out));
  const float* w = m.put(normal(random, std::size_t(in) * out));
  const float* b = m.put(normal(random, out));
  float *y = m.room(std::size_t(size.batch) * out), *dx = m.room(std::size_t(size.batch) * in);
  float* gradient = m.room(std::size_t(in) * out + out);
  m.run("forward", [&] { l->forward(x, w, b, y); });
  m.run("backward data", [&] { l->backward_data(dy, w, dx); });
  m.run("backward weights", [&] { l->backward_weights(x, dy, gradient, gradient + std::size_t(in) * out); });
  m.results["y"] = m.get(y, std::size_t(size.batch) * out);
  m.results["dx"] = m.get(dx, std::size_t(size.batch) * in);
  m.results["gradient"] = m.get(gradient, std::size_t(in) * out + (bias ? out : 0));
}

LayoutPtr layout_for(Machine& m, TensorShape shape, bool plain) {
  return plain ? m.backend().plain(shape) : m.convolutional(shape);
}

// dy is 0 where the sign of y could differ between two roundings.
void clear_near_zero(const TensorShape& shape, const Values& x, const Values& gamma, const Values& beta,
                     Values& dy) {
  const std::size_t positions = std::size_t(shape.h) * shape.w;
  for (int c = 0; c < shape.c; ++c) {
    const auto for_each = [&](auto visit) {
      for (int n = 0; n < shape.n; ++n)
        for (std::size_t p = 0; p < positions; ++p) visit((std::size_t(n) * shape.c + c) * positions + p);
    };
    double sum = 0, square = 0;
    for_each([&](std::size_t i) { sum += x[i]; });
    const double mean = sum / (double(shape.n) * positions);
    for_each([&](std::size_t i) { square += (x[i] - mean) * (x[i] - mean); });
    const double scale = gamma[c] / std::sqrt(square / (double(shape.n) * positions) + 1e-5);
    for_each([&](std::size_t i) {
      if (std::abs((x[i] - mean) * scale + beta[c]) < 1e-2) dy[i] = 0;
    });
  }
}

void batch_norm(Machine& m, Random& random, const Size& size, bool relu, bool plain, float mean) {
  const TensorShape shape{size.batch, size.channels + 1, size.image, size.image};
  const LayoutPtr layout = layout_for(m, shape, plain);
  const auto norm = m.backend().plan_batch_norm({layout, 1e-5f, relu, true});
  const Values x = normal(random, shape.count(), mean);
  Values dy = normal(random, shape.count());
  Values gamma_beta = normal(random, 2 * shape.c);
  const Values gamma(gamma_beta.begin(), gamma_beta.begin() + shape.c);
  const Values beta(gamma_beta.begin() + shape.c, gamma_beta.end());
  if (relu) clear_near_zero(shape, x, gamma, beta, dy);
  const float *at_x = m.put(layout, x), *at_dy = m.put(layout, dy);
  const float *at_gamma = m.put(gamma), *at_beta = m.put(beta);
  float *batch_mean = m.room(shape.c), *batch_variance = m.room(shape.c);
  float *y = m.room(layout), *dx = m.room(layout), *gradient = m.room(2 * shape.c),
        *inferred = m.room(layout);
  void* workspace = m.room(norm->workspace_bytes() / sizeof(float) + 1);
  m.run("forward", [&] { norm->forward(at_x, at_gamma, at_beta, batch_mean, batch_variance, workspace, y); });
  m.run("backward", [&] {
    norm->backward(at_x, at_dy, at_gamma, batch_mean, batch_variance, workspace, dx, gradient,
                   gradient + shape.c);
  });
  m.run("infer", [&] { norm->infer(at_x, at_gamma, at_beta, batch_mean, batch_variance, inferred); });
  m.results["y"] = m.get(y, layout);
  m.results["mean"] = m.get(batch_mean, shape.c);
  m.results["variance"] = m.get(batch_variance, shape.c);
  m.results["dx"] = m.get(dx, layout);
  m.results["gradient"] = m.get(gradient, 2 * shape.c);
  m.results["inferred"] = m.get(inferred, layout);
  float* statistics = m.room(2 * shape.c);
  norm->statistics(batch_mean, batch_variance, statistics);
  m.results["statistics"] = m.get(statistics, 2 * shape.c);

  const int samples = std::max(1, size.batch / 2);
  const std::size_t floats = std::size_t(samples) * 2 * shape.c;
  float* own = m.room(floats);
  norm->sample_gradients(samples, at_x, at_dy, at_gamma, at_beta, batch_mean, batch_variance, own);
  m.results["sample gradients"] = m.get(own, floats);
  norm->backward(at_x, at_dy, at_gamma, batch_mean, batch_variance, workspace, const_cast<float*>(at_dy),
                 gradient, gradient + shape.c);
  m.results["dx in place"] = m.get(at_dy, layout);
}

Operation batch_norm_case(const std::string& name, bool relu, bool plain, float mean) {
  return {"batch_norm_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            batch_norm(m, random, size, relu, plain, mean);
          }};
}

void pool(Machine& m, Random& random, const Size& size, PoolPlan plan, bool global, bool plain) {
  const TensorShape shape{size.batch, size.channels + 1, size.image, size.image};
  plan.input = layout_for(m, shape, plain);
  if (global) plan.kernel_h = plan.kernel_w = size.image;
  const auto pooling = m.backend().plan_pool(plan);
  const LayoutPtr out = pooling->output();
  const float* x = m.put(plan.input, normal(random, shape.count()));
  const float* dy = m.put(out, normal(random, out->shape().count()));
  float *y = m.room(out), *dx = m.room(plan.input);
  void* workspace = m.room(pooling->workspace_bytes() / sizeof(float) + 1);
  m.run("forward", [&] { pooling->forward(x, workspace, y); });
  m.run("backward", [&] { pooling->backward(dy, workspace, dx); });
  m.results["y"] = m.get(y, out);
  m.results["dx"] = m.get(dx, plan.input);
}

Operation pool_case(const std::string& name, PoolKind kind, int kernel, int stride, int padding,
                    bool plain = false) {
  return {"pool_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            pool(m, random, size, {kind, nullptr, kernel, kernel, stride, padding}, kernel == 0, plain);
          }};
}

void elementwise(Machine& m, Random& random, const Size& size) {
  const TensorShape shape{size.batch, size.channels + 1, size.image, size.image};
  const LayoutPtr layout = m.convolutional(shape);
  const auto relu = m.backend().plan_relu(layout);
  const auto sum = m.backend().plan_add(layout, false), sum_with_relu = m.backend().plan_add(layout, true);
  float *a = m.put(layout, normal(random, shape.count())), *b = m.put(layout, normal(random, shape.count()));
  float *y = m.room(layout), *dx = m.room(layout), *c = m.room(layout), *d = m.room(layout);
  m.run("relu forward", [&] { relu->forward(a, y); });
  m.run("relu backward", [&] { relu->backward(y, b, dx); });
  m.run("add", [&] { sum->run(a, b, c); });
  m.run("add with relu", [&] { sum_with_relu->run(a, b, d); });
  m.results["relu"] = m.get(y, layout);
  m.results["relu backward"] = m.get(dx, layout);
  m.results["sum"] = m.get(c, layout);
  m.results["relu of sum"] = m.get(d, layout);
  sum->run(a, b, a);
  relu->forward(b, b);
  relu->backward(y, c, c);
  m.results["sum in place"] = m.get(a, layout);
  m.results["relu in place"] = m.get(b, layout);
  m.results["relu backward in place"] = m.get(c, layout);
}

// As many values as blocks of several kinds have, and no multiple of four.
void sums(Machine& m, Random& random, const Size& size) {
  const std::size_t count = std::size_t(size.channels) * size.image * size.image * 9 + 3, scaled = count / 2;
  const auto sums = m.backend().plan_sums(count);
  float *a = m.put(normal(random, count)), *b = m.put(normal(random, count));
  float *sum = m.room(count), *copied = m.room(count);
  m.run("add", [&] { sums->add(a, b, sum); });
  m.run("copy", [&] { sums->copy(sum, copied); });
  sums->scale(sum, 1.0f / 3, scaled);
  m.results["sum"] = m.get(copied, count);
  m.results["half of it scaled"] = m.get(sum, count);
  sums->add(a, b, b);
  sums->add(a, b, a);
  m.results["over the right"] = m.get(b, count);
  m.results["over the left"] = m.get(a, count);
}

void reorder(Machine& m, Random& random, const Size& size) {
  const TensorShape shape{size.batch, size.channels + 1, size.image, size.image + 2};
  const LayoutPtr plain = m.backend().plain(shape), other = m.convolutional(shape);
  const int samples = std::max(1, size.batch / 2);
  const auto there = m.backend().plan_reorder(plain, other, size.batch);
  const auto back = m.backend().plan_reorder(other, plain, size.batch);
  const auto some = m.backend().plan_reorder(other, plain, samples);
  const auto copy = m.backend().plan_reorder(plain, plain, samples);
  const float* x = m.put(normal(random, shape.count()));
  float *y = m.room(other), *z = m.room(plain), *part = m.room(plain), *copied = m.room(plain);
  m.run("plain to native", [&] { there->run(x, y); });
  m.run("native to plain", [&] { back->run(y, z); });
  some->run(y, part);
  copy->run(x, copied);
  m.results["there and back"] = m.get(z, plain);
  m.results["some samples"] = m.get(part, shape.count() / shape.n * samples);
  m.results["a copy"] = m.get(copied, shape.count());  // zeros behind the samples
}

void dropout(Machine& m, Random& random, const Size& size) {
  const TensorShape shape{size.batch, size.channels * 11 + 1};
  const auto drop = m.backend().plan_dropout(shape, 0.3);
  const DropoutKey host_key{random.next_u32(), random.next_u32(), random.next_u32()};
  const auto* key = static_cast<const DropoutKey*>(m.put_bytes(&host_key, sizeof host_key));
  const float* x = m.put(normal(random, shape.count()));
  float* y = m.room(shape.count());
  m.run("forward", [&] { drop->run(key, 7, x, y); });
  m.results["y"] = m.get(y, shape.count());
}

void cross_entropy(Machine& m, Random& random, const Size& size, double smoothing, bool mixed) {
  const int classes = size.channels * 3 + 1, samples = size.batch;
  const auto loss = m.backend().plan_cross_entropy(samples, classes);
  const std::size_t count = std::size_t(samples) * classes;
  float* logits = m.put(normal(random, count, 0, 5));
  std::vector<std::int32_t> labels(samples), others(samples);
  Values weights(samples);
  for (int i = 0; i < samples; ++i) {
    labels[i] = static_cast<std::int32_t>(random.below(classes));
    others[i] = static_cast<std::int32_t>(random.below(classes));
    weights[i] = i % 3 == 0 ? 0.5f : random.uniform();
  }
  if (!mixed) {
    others = labels;
    weights.assign(weights.size(), 1);
  }
  const auto put = [&](const auto& values) { return m.put_bytes(values.data(), values.size() * 4); };
  const LossTargets targets{static_cast<const std::int32_t*>(put(labels)),
                            static_cast<const std::int32_t*>(put(others)),
                            static_cast<const float*>(put(weights))};
  const float* scale = m.put({4});
  float* gradient = m.room(count);
  m.run("with gradient", [&] { loss->run(logits, targets, smoothing, scale, gradient); });
  const LossResult result = loss->result(samples);
  m.results["loss"] = {static_cast<float>(result.loss), static_cast<float>(result.hits)};
  m.results["gradient"] = m.get(gradient, count);
  loss->run(logits, targets, smoothing, nullptr, nullptr);
  const LossResult fewer = loss->result(std::max(1, samples - 1));
  m.results["fewer samples"] = {static_cast<float>(fewer.loss), static_cast<float>(fewer.hits)};
  loss->run(logits, targets, smoothing, m.put({1}), logits);
  m.results["gradient in place"] = m.get(logits, count);
}

// N samples' gradients. Their rows have a common part, so that the Gram matrix is no diagonal with noise.
void samples(Machine& m, Random& random, const SamplesPlan& plan) {
  const auto s = m.backend().plan_samples(plan);
  const Values first = normal(random, plan.first_floats(), 0.5f);
  const Values second = normal(random, plan.second_floats(), 0.5f);
  const Values g = normal(random, plan.parameters);
  std::vector<double> gram(plan.samples * plan.samples), c(plan.samples), b(plan.samples);
  for (double& each : b) each = random.normal();
  Values d(plan.parameters);
  s->put(first.data(), second.data());
  m.run("gram", [&] { s->gram(gram.data()); });
  m.run("project", [&] { s->project(g.data(), c.data()); });
  m.run("correct", [&] { s->correct(g.data(), b.data(), 3.0, d.data()); });
  Values lower;
  for (std::size_t i = 0; i < plan.samples; ++i)
    for (std::size_t j = 0; j <= i; ++j) lower.push_back(float(gram[i * plan.samples + j]));
  m.results["gram"] = lower;
  m.results["c"] = Values(c.begin(), c.end());
  m.results["d"] = d;
  const double lambda = 0.2 * gram[0] / double(plan.samples);
  SampleSystem system;
  m.run("system", [&] { system = s->form_system(lambda, 1); });
  m.results["it is formed"] = {system.formed ? 1.0f : 0.0f};
  m.run("precondition", [&] { s->precondition(g.data(), 1 / lambda, d.data()); });
  m.results["F^-1 g"] = d;
  s->solve(g.data());
  s->correct_by(g.data(), *s, 1 / lambda, d.data());
  m.results["F^-1 g in halves"] = d;
  std::vector<std::uint16_t> first16(first.size()), second16(second.size());
  narrow(first.data(), first16.data(), first.size());
  if (!second.empty()) narrow(second.data(), second16.data(), second.size());
  const auto halved = m.backend().plan_samples(plan);
  halved->put_bf16(first16.data(), second16.data());
  halved->project(g.data(), c.data());
  m.results["c of halves"] = Values(c.begin(), c.end());
  if (plan.factors == 0) return;
  // -R 1, of which b is nearly -1 for each sample: the roots of an estimate's weights magnify what two
  // devices differ in where a weight is next to zero.
  Values along(plan.parameters);
  const std::vector<double> ones(plan.samples, 1);
  s->correct(Values(plan.parameters).data(), ones.data(), 1.0, along.data());
  SampleBuckets buckets{.count = 5};
  for (std::size_t i = 0; i < plan.rows(); ++i) {
    buckets.of_pair.push_back(random.below(4));  // the last one stays empty
    buckets.sign.push_back(random.next_u32() & 1 ? 1.0f : -1.0f);
  }
  buckets.signs_of_b = random.next_u32() & 1;
  s->set_buckets(buckets);
  m.run("correct by buckets", [&] { s->correct(g.data(), b.data(), 3.0, d.data()); });
  m.results["d by buckets"] = d;
  s->precondition(along.data(), 1 / lambda, d.data());
  m.results["F^-1 g by buckets"] = d;
}

// Whole or as p pairs of rows.
Operation samples_case(const std::string& name, std::size_t factors, bool bias) {
  return {"samples_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            SamplesPlan plan{.samples = std::size_t(size.batch) * 4 + 1,
                             .factors = factors,
                             .m = std::size_t(size.channels) + 1,
                             .n = std::size_t(size.channels) * 9,
                             .bias = bias};
            plan.parameters = plan.m * (plan.n + (bias ? 1 : 0));
            if (factors == 0) plan.parameters *= 40;  // more than one run of columns
            samples(m, random, plan);
          }};
}

// A convolution's raw samples, in runs that leave none of its loops with one turn. `few_positions`: 2 x 2 of
// them, for which the Gram matrix is formed by pairs.
Operation samples_of_convolution_case(const std::string& name, int kernel, bool few_positions, bool bias) {
  return {"samples_of_convolution_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            const int stride = few_positions ? size.image - 1 : 1;
            ConvolutionGeometry g =
                convolution_plan(size, size.channels, kernel, kernel, stride, kernel / 2, bias).geometry;
            g.channels_out = few_positions ? 8 * size.channels : size.channels + 1;
            SamplesPlan plan{.samples = std::size_t(size.batch) * 4 + 2,
                             .factors = std::size_t(g.height_out) * std::size_t(g.width_out),
                             .m = std::size_t(g.channels_out),
                             .n = std::size_t(g.channels_in) * std::size_t(kernel * kernel),
                             .bias = bias,
                             .convolution = g};
            plan.parameters = plan.m * (plan.n + (bias ? 1 : 0));
            plan.run_floats = (plan.first_floats() + plan.second_floats()) / 8;
            samples(m, random, plan);
          }};
}

// Sums, running means from either kind of fragment, and what the inverse of the factors gives.
void kronecker(Machine& m, Random& random, const KroneckerPlan& plan, std::size_t samples) {
  const auto sums = m.backend().plan_kronecker_sums(plan);
  const auto inverse = m.backend().plan_kronecker_inverse(plan);
  // Without a mean, whose square would be an eigenvalue far above the others: their errors are relative to it
  // (curvature_test.cpp has such factors).
  const Values inputs = normal(random, samples * plan.input_floats(), 0, 0.5f);
  const Values gradients = normal(random, samples * plan.output_floats(), 0, 0.2f);
  const Values g = normal(random, plan.parameters());
  const std::size_t a_size = plan.packed_a(), g_size = plan.packed_g();
  Values sum_a(3 * a_size), sum_g(3 * g_size), mean_a(a_size), mean_g(g_size), d(plan.parameters());
  m.run("sums", [&] { sums->sum(samples, inputs.data(), gradients.data(), sum_a.data(), sum_g.data()); });
  m.results["sum of A"] = {sum_a.begin(), sum_a.begin() + a_size};
  m.results["sum of G"] = {sum_g.begin(), sum_g.begin() + g_size};
  const KroneckerArrivals raw{.samples = samples, .first = inputs.data(), .second = gradients.data()};
  m.run("means", [&] { sums->fold(raw, {}, mean_a.data(), mean_g.data()); });
  m.results["first mean A"] = mean_a;
  m.results["first mean G"] = mean_g;
  for (std::size_t i = a_size; i < sum_a.size(); ++i) sum_a[i] = 0.1f * sum_a[i % a_size];
  for (std::size_t i = g_size; i < sum_g.size(); ++i) sum_g[i] = 0.3f * sum_g[i % g_size];
  const KroneckerArrivals summed{true, 3, samples, sum_a.data(), sum_g.data()};
  const Values old_a = mean_a, old_g = mean_g;
  sums->fold(summed, {0.4, old_a.data(), old_g.data()}, mean_a.data(), mean_g.data());
  m.results["mean A"] = mean_a;
  m.results["mean G"] = mean_g;
  bool converges = false;
  m.run("decompose", [&] { converges = inverse->decompose(mean_a.data(), mean_g.data()); });
  m.results["it converges"] = {converges ? 1.0f : 0.0f};
  m.run("precondition", [&] { inverse->precondition(g.data(), 0.3, d.data()); });
  m.results["d"] = d;
  m.results["along"] = {static_cast<float>(inverse->curvature_along(g.data()))};
}

Operation kronecker_case(const std::string& name, int kernel, int stride, bool bias) {
  return {"kronecker_of_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            // The CPU's plain implementation, which is the judge, is slow.
            const Size some{size.batch, std::min(size.channels, 12), size.image};
            KroneckerPlan plan{.m = std::size_t(some.channels) + 1, .bias = bias};
            plan.n = std::size_t(some.channels) * 5 + (bias ? 1 : 0);
            std::size_t samples = KroneckerPlan::kFloatColumns + 3;
            if (kernel > 0) {
              ConvolutionGeometry g =
                  convolution_plan(some, some.channels, kernel, kernel, stride, kernel / 2, bias).geometry;
              g.channels_out = some.channels + 1;
              plan.convolution = g;
              plan.positions = std::size_t(g.height_out) * std::size_t(g.width_out);
              plan.n = std::size_t(g.channels_in) * std::size_t(kernel * kernel) + (bias ? 1 : 0);
              samples = plan.group() + 2;
            }
            kronecker(m, random, plan, samples);
          }};
}

Operation cross_entropy_case(const std::string& name, double smoothing, bool mixed) {
  return {"cross_entropy_" + name, false, [=](Machine& m, Random& random, const Size& size) {
            cross_entropy(m, random, size, smoothing, mixed);
          }};
}

}  // namespace

const std::vector<Operation>& operations() {
  using enum PoolKind;
  static const std::vector<Operation> table = {
      convolution_case("3x3", 0, 3, 3, 1, 1, false),
      convolution_case("3x3_bias", 0, 3, 3, 1, 1, true),
      convolution_case("3x3_stride_2", 0, 3, 3, 2, 1, false),
      convolution_case("1x1", 0, 1, 1, 1, 0, true),
      convolution_case("1x1_stride_2", 0, 1, 1, 2, 0, false),
      convolution_case("5x5_bias", 0, 5, 5, 1, 2, true),
      convolution_case("7x7_stride_2_of_3_channels", 3, 7, 7, 2, 3, false),
      convolution_case("3x3_of_1_channel", 1, 3, 3, 1, 1, true),
      convolution_case("1x3", 0, 1, 3, 1, 0, false),
      {"linear_bias", true, [](Machine& m, Random& r, const Size& s) { linear(m, r, s, true); }},
      {"linear", true, [](Machine& m, Random& r, const Size& s) { linear(m, r, s, false); }},
      batch_norm_case("native", false, false, 0.5f),
      batch_norm_case("native_relu", true, false, 0.5f),
      batch_norm_case("plain_relu", true, true, -0.5f),
      pool_case("max_3_stride_2", kMax, 3, 2, 1),
      pool_case("max_2", kMax, 2, 2, 0),
      pool_case("max_3_stride_1", kMax, 3, 1, 1),
      pool_case("max_plain", kMax, 3, 2, 1, true),
      pool_case("average_2", kAverage, 2, 2, 0),
      pool_case("average_3_stride_2", kAverage, 3, 2, 1),
      pool_case("average_plain", kAverage, 2, 2, 0, true),
      pool_case("average_global", kAverage, 0, 1, 0),
      {"elementwise", false, elementwise},
      {"sums", false, sums},
      {"reorder", false, reorder},
      {"dropout", false, dropout},
      samples_case("whole", 0, false),
      samples_case("of_rank_1_bias", 1, true),
      samples_case("of_rank_5", 5, false),
      samples_case("of_rank_5_bias", 5, true),
      samples_of_convolution_case("3x3", 3, false, false),
      samples_of_convolution_case("3x3_bias", 3, false, true),
      samples_of_convolution_case("5x5_bias", 5, false, true),
      samples_of_convolution_case("1x1", 1, false, false),
      samples_of_convolution_case("3x3_to_2x2_bias", 3, true, true),
      samples_of_convolution_case("5x5_to_2x2", 5, true, false),
      kronecker_case("linear", 0, 1, false),
      kronecker_case("linear_bias", 0, 1, true),
      kronecker_case("convolution_3x3_bias", 3, 1, true),
      kronecker_case("convolution_5x5_stride_2", 5, 2, false),
      cross_entropy_case("hard", 0, false),
      cross_entropy_case("smooth", 0.1, false),
      cross_entropy_case("mixed", 0.1, true),
  };
  return table;
}

}  // namespace seng::testing
