#include "actors/engine/cpu/cpu_backend.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <oneapi/dnnl/dnnl_debug.h>
#include <sys/mman.h>

#include "actors/engine/cpu/threads.h"

namespace seng::cpu {

using dnnl::memory;

const dnnl::engine& onednn_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

TensorShape OnednnLayout::shape() const {
  const auto d = desc_.dims();
  const auto at = [&](std::size_t i) { return i < d.size() ? static_cast<int>(d[i]) : 1; };
  return {at(0), at(1), at(2), at(3)};
}

bool OnednnLayout::plain() const {
  return desc_ == memory::desc(desc_.dims(), memory::data_type::f32, memory::format_tag::nchw);
}

bool OnednnLayout::same(const Layout& other) const {
  const auto* mine = dynamic_cast<const OnednnLayout*>(&other);
  return mine != nullptr && mine->desc_ == desc_;
}

const memory::desc& desc_of(const LayoutPtr& layout) {
  const auto* mine = dynamic_cast<const OnednnLayout*>(layout.get());
  SENG_CHECK(mine != nullptr, "a layout of another backend");
  return mine->desc();
}

LayoutPtr layout_of(const memory::desc& desc) {
  return std::make_shared<OnednnLayout>(desc);
}

memory::desc vector_desc(int count) {
  return {{count}, memory::data_type::f32, memory::format_tag::a};
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

CpuBackend::CpuBackend() {
  use_one_thread();
  stream_ = checked("stream", [] { return dnnl::stream(onednn_engine()); });
}

CpuBackend::~CpuBackend() {
  for (const Allocation& allocation : allocations_) std::free(allocation.memory);
}

void CpuBackend::enter() {
  use_one_thread();
}

namespace {

// Big areas sit on huge pages: strided kernels touch many pages at once.
constexpr std::size_t kHugePage = std::size_t{2} << 20, kCacheLine = 64;

std::size_t alignment_of(std::size_t bytes) {
  return bytes >= kHugePage ? kHugePage : kCacheLine;
}
std::size_t rounded_up(std::size_t bytes) {
  const std::size_t alignment = alignment_of(bytes);
  return (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
}

}  // namespace

void* CpuBackend::allocate(std::size_t bytes) {
  const std::size_t alignment = alignment_of(bytes), rounded = rounded_up(bytes);
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
  std::memset(memory, 0, rounded);
  allocations_.push_back({memory, rounded});
  allocated_ += rounded;
  return memory;
}

void CpuBackend::release(void* memory) {
  std::erase_if(allocations_, [&](const Allocation& allocation) {
    if (allocation.memory != memory) return false;
    std::free(memory);
    allocated_ -= allocation.bytes;
    return true;
  });
}

std::size_t CpuBackend::planned_bytes() const {
  std::size_t bytes = allocated_;
  for (const Scratch& scratch : scratch_) {
    if (scratch.held >= scratch.needed) continue;
    bytes += rounded_up(scratch.needed);
    if (scratch.memory != nullptr) bytes -= rounded_up(scratch.held);
  }
  return bytes;
}

void CpuBackend::upload(const void* host, void* memory, std::size_t bytes, Memory) {
  std::memcpy(memory, host, bytes);
}

const float* CpuBackend::host_view(const float* memory, std::size_t count, int view, float factor) {
  if (factor == 1) return memory;
  std::vector<float>& out = views_.at(view);
  out.resize(count);
  std::transform(memory, memory + count, out.begin(), [=](float value) { return value * factor; });
  return out.data();
}

LayoutPtr CpuBackend::plain(TensorShape s) {
  return layout_of(memory::desc({s.n, s.c, s.h, s.w}, memory::data_type::f32, memory::format_tag::nchw));
}

void CpuBackend::reserve(int slot, std::size_t bytes) {
  scratch_[slot].needed = std::max(scratch_[slot].needed, bytes);
}

void* CpuBackend::scratch(int slot) {
  Scratch& scratch = scratch_[slot];
  if (scratch.held < scratch.needed) {
    if (scratch.memory != nullptr) release(scratch.memory);
    scratch.memory = allocate(scratch.needed);
    scratch.held = scratch.needed;
  }
  return scratch.memory;
}

Kernel::Kernel(CpuBackend& backend, dnnl::primitive primitive, const memory::desc& scratchpad,
               std::initializer_list<Argument> arguments)
    : backend_(&backend), primitive_(std::move(primitive)), scratchpad_(scratchpad.get_size() > 0) {
  const auto add = [&](int id, const memory::desc& desc) {
    bound_.push_back(nullptr);
    if (desc.get_size() == 0) {
      memories_.emplace_back();
      return;
    }
    memories_.emplace_back(desc, onednn_engine(), static_cast<void*>(DNNL_MEMORY_NONE));
    arguments_.push_back({id, memories_.back().get()});
  };
  for (const auto& [id, desc] : arguments) add(id, desc);
  if (scratchpad_) {
    add(DNNL_ARG_SCRATCHPAD, scratchpad);
    backend.reserve(CpuBackend::kKernelSlot, scratchpad.get_size());
  }
}

void Kernel::bind(std::size_t argument, const void* memory) {
  // Setting a handle also writes zeros into a padded layout's padding, so it is done only when it moves.
  if (bound_[argument] == memory || !memories_[argument]) return;
  memories_[argument].set_data_handle(const_cast<void*>(memory));
  bound_[argument] = memory;
}

void Kernel::run(std::initializer_list<const void*> memory) {
  SENG_CHECK(planned() && memory.size() + scratchpad_ == memories_.size(), "a kernel's argument list");
  std::size_t argument = 0;
  for (const void* pointer : memory) bind(argument++, pointer);
  if (scratchpad_) bind(argument, backend_->scratch(CpuBackend::kKernelSlot));
  const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), backend_->stream(),
                                                      static_cast<int>(arguments_.size()), arguments_.data());
  if (status == dnnl_success) return;
  const char* name = "";
  const_dnnl_primitive_desc_t desc = nullptr;
  dnnl_primitive_get_primitive_desc(primitive_.get(), &desc);
  dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
  throw VendorError(std::string("oneDNN execute ") + name + ": " + dnnl_status2str(status));
}

std::unique_ptr<Backend> make_backend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace seng::cpu
