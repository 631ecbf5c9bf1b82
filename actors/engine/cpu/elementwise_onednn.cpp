#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::algorithm;
using dnnl::memory;

class OnednnRelu final : public Relu {
 public:
  OnednnRelu(CpuBackend& backend, const memory::desc& x) {
    const auto attributes = user_scratchpad();
    const auto kind = algorithm::eltwise_relu_use_dst_for_bwd;
    const dnnl::eltwise_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, kind, x, 0.0f, 0.0f}, attributes, onednn_engine());
    const dnnl::eltwise_backward::primitive_desc backward({kind, x, x, 0.0f, 0.0f}, attributes,
                                                          onednn_engine(), forward);
    forward_ = Kernel(backend, forward, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, x}});
    backward_ =
        Kernel(backend, backward, {{DNNL_ARG_DST, x}, {DNNL_ARG_DIFF_DST, x}, {DNNL_ARG_DIFF_SRC, x}});
  }

  void forward(const float* x, float* y) override { forward_.run({x, y}); }
  void backward(const float* y, const float* dy, float* dx) override { backward_.run({y, dy, dx}); }

 private:
  Kernel forward_, backward_;
};

// Whether the layout's blocks of channels are filled up with zeros.
bool is_padded(const memory::desc& x) {
  return !std::equal(x.data.dims, x.data.dims + x.data.ndims, x.data.padded_dims);
}

class OnednnAdd final : public Add {
 public:
  OnednnAdd(CpuBackend& backend, const memory::desc& x, bool relu) {
    auto attributes = user_scratchpad();
    // oneDNN 2.6 leaves the relu out where the layout is padded.
    if (relu && is_padded(x)) {
      relu_ = std::make_unique<OnednnRelu>(backend, x);
    } else if (relu) {
      dnnl::post_ops after;
      after.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
      attributes.set_post_ops(after);
    }
    const dnnl::binary::primitive_desc pd({algorithm::binary_add, x, x, x}, attributes, onednn_engine());
    add_ = Kernel(backend, pd, {{DNNL_ARG_SRC_0, x}, {DNNL_ARG_SRC_1, x}, {DNNL_ARG_DST, x}});
  }

  void run(const float* a, const float* b, float* sum) override {
    add_.run({a, b, sum});
    if (relu_) relu_->forward(sum, sum);
  }

 private:
  Kernel add_;
  std::unique_ptr<OnednnRelu> relu_;  // where it is not done along
};

class OnednnReorder final : public Reorder {
 public:
  OnednnReorder(CpuBackend& backend, const memory::desc& from, const memory::desc& to) {
    const dnnl::reorder::primitive_desc pd(onednn_engine(), from, onednn_engine(), to, user_scratchpad());
    reorder_ = Kernel(backend, pd, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  void run(const float* from, float* to) override { reorder_.run({from, to}); }

 private:
  Kernel reorder_;
};

memory::desc first_samples(const memory::desc& desc, int samples) {
  memory::dims dims = desc.dims();
  dims[0] = std::min<memory::dim>(dims[0], samples);
  return desc.submemory_desc(dims, memory::dims(dims.size(), 0));
}

}  // namespace

std::unique_ptr<Relu> CpuBackend::plan_relu(const LayoutPtr& layout) {
  return checked("relu", [&] { return std::make_unique<OnednnRelu>(*this, desc_of(layout)); });
}

std::unique_ptr<Add> CpuBackend::plan_add(const LayoutPtr& layout, bool relu) {
  return checked("addition", [&] { return std::make_unique<OnednnAdd>(*this, desc_of(layout), relu); });
}

std::unique_ptr<Reorder> CpuBackend::plan_reorder(const LayoutPtr& from, const LayoutPtr& to, int samples) {
  return checked("reorder", [&] {
    return std::make_unique<OnednnReorder>(*this, first_samples(desc_of(from), samples),
                                           first_samples(desc_of(to), samples));
  });
}

}  // namespace seng::cpu
