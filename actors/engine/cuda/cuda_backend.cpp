#include "actors/engine/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace seng::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kSlab = std::size_t{4} << 20;
constexpr std::size_t kStaging = std::size_t{4} << 20;
constexpr std::size_t kCublasWorkspace = std::size_t{32}
                                         << 20;  // what cuBLAS asks for on compute capability 9

std::size_t rounded(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

CudaBackend::CudaBackend(Arithmetic precision, ConvolutionChooser* chooser)
    : precision_(precision), chooser_(chooser) {
  int devices = 0;
  SENG_CUDA(cudaGetDeviceCount(&devices));
  if (devices == 0) throw VendorError("CUDA: no GPU is to be seen; CUDA_VISIBLE_DEVICES may hide it");
  SENG_CUDA(cudaSetDevice(0));
  cudaDeviceProp properties;
  SENG_CUDA(cudaGetDeviceProperties(&properties, 0));
  name_ = properties.name;
  if ((precision == Arithmetic::kTf32 || precision == Arithmetic::kBf16) && properties.major < 8)
    throw VendorError("CUDA: " + name_ + " does not compute in " + arithmetic_name(precision) +
                      " (compute capability 8.0 and later do)");
  stream_ = make_stream();
  copies_ = make_stream();
  for (Staging& staging : staging_) {
    staging.memory = make_pinned_memory(kStaging);
    staging.copied = make_event();
  }
}

CudaBackend::~CudaBackend() {
  for (const StreamHandle* stream : {&copies_, &stream_})
    if (*stream) (void)cudaStreamSynchronize(stream->get());  // memory goes next
}

void CudaBackend::enter() {
  SENG_CUDA(cudaSetDevice(0));
}

void CudaBackend::wait() {
  enter();
  SENG_CUDA(cudaStreamSynchronize(stream()));
}

void* CudaBackend::allocate(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  auto slab = std::find_if(slabs_.begin(), slabs_.end(),
                           [&](const Slab& each) { return each.size - each.used >= size; });
  if (slab == slabs_.end()) {
    Slab made;
    made.size = std::max(size, kSlab);
    made.memory = make_device_memory(made.size);
    SENG_CUDA(cudaMemsetAsync(made.memory.get(), 0, made.size, stream()));
    allocated_ += made.size;
    slab = slabs_.insert(slabs_.end(), std::move(made));
  }
  void* memory = static_cast<std::byte*>(slab->memory.get()) + slab->used;
  slab->used += size;
  return memory;
}

DeviceMemory CudaBackend::take(std::size_t bytes) {
  if (const auto found = spare_.find(bytes); found != spare_.end()) {
    DeviceMemory memory = std::move(found->second);
    spare_.erase(found);
    return memory;
  }
  DeviceMemory memory = make_device_memory(bytes);
  allocated_ += bytes;
  return memory;
}

void CudaBackend::give_back(DeviceMemory memory, std::size_t bytes) {
  if (memory) spare_.emplace(bytes, std::move(memory));
}

std::byte* CudaBackend::upload_area(std::size_t bytes) {
  if (!area_.copied) area_.copied = make_event();
  SENG_CUDA(cudaEventSynchronize(area_.copied.get()));
  if (area_bytes_ < bytes) {
    area_.memory = make_pinned_memory(bytes);
    area_bytes_ = bytes;
  }
  return static_cast<std::byte*>(area_.memory.get());
}

// In pieces through pinned areas in turn: the host fills one while the device takes the others. A direction's
// few uploads wait for none of each other.
void CudaBackend::upload(const void* source, void* memory, std::size_t bytes, Memory of_source) {
  if (of_source == Memory::kDevice) {
    SENG_CUDA(cudaMemcpyAsync(memory, source, bytes, cudaMemcpyDeviceToDevice, stream()));
    return;
  }
  const auto* const from = static_cast<const std::byte*>(source);
  const auto* const area = static_cast<const std::byte*>(area_.memory.get());
  if (const std::less_equal<> before;
      area_bytes_ > 0 && before(area, from) && before(from + bytes, area + area_bytes_)) {
    SENG_CUDA(cudaMemcpyAsync(memory, source, bytes, cudaMemcpyHostToDevice, stream()));
    SENG_CUDA(cudaEventRecord(area_.copied.get(), stream()));
    return;
  }
  for (std::size_t done = 0; done < bytes;) {
    Staging& staging = staging_[next_staging_];
    next_staging_ = (next_staging_ + 1) % staging_.size();
    const std::size_t piece = std::min(bytes - done, kStaging);
    SENG_CUDA(cudaEventSynchronize(staging.copied.get()));  // at once for one that was never recorded
    std::memcpy(staging.memory.get(), from + done, piece);
    SENG_CUDA(cudaMemcpyAsync(static_cast<std::byte*>(memory) + done, staging.memory.get(), piece,
                              cudaMemcpyHostToDevice, stream()));
    SENG_CUDA(cudaEventRecord(staging.copied.get(), stream()));
    done += piece;
  }
}

const float* CudaBackend::host_view(const float* memory, std::size_t count, int number, float factor) {
  View& view = views_.at(number);
  const std::size_t bytes = count * sizeof(float);
  if (view.size < bytes) {
    view.memory = make_pinned_memory(bytes);
    view.size = bytes;
  }
  SENG_CUDA(cudaMemcpyAsync(view.memory.get(), memory, bytes, cudaMemcpyDeviceToHost, stream()));
  SENG_CUDA(cudaStreamSynchronize(stream()));
  auto* values = static_cast<float*>(view.memory.get());
  if (factor != 1)
    std::transform(values, values + count, values, [=](float value) { return value * factor; });
  return values;
}

cudnnHandle_t CudaBackend::cudnn() {
  if (!cudnn_) {
    cudnnHandle_t handle = nullptr;
    SENG_CUDA(cudnnCreate(&handle));
    cudnn_.reset(handle);
    SENG_CUDA(cudnnSetStream(handle, stream()));
  }
  return cudnn_.get();
}

cublasHandle_t CudaBackend::cublas() {
  if (!cublas_) {
    cublasHandle_t handle = nullptr;
    SENG_CUDA(cublasCreate(&handle));
    cublas_.reset(handle);
    SENG_CUDA(cublasSetStream(handle, stream()));  // this puts the library's own workspace back
    cublas_workspace_ = make_device_memory(kCublasWorkspace);
    allocated_ += kCublasWorkspace;
    SENG_CUDA(cublasSetWorkspace(handle, cublas_workspace_.get(), kCublasWorkspace));
    SENG_CUDA(cublasSetAtomicsMode(handle, CUBLAS_ATOMICS_NOT_ALLOWED));
    const auto math = precision_ == Arithmetic::kTf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH;
    SENG_CUDA(cublasSetMathMode(handle, math));
  }
  return cublas_.get();
}

Solver& CudaBackend::solver() {
  if (!solver_) solver_.emplace(stream());
  return *solver_;
}

void CudaBackend::reserve(int slot, std::size_t bytes) {
  scratch_[slot].needed = std::max(scratch_[slot].needed, bytes);
}

std::size_t CudaBackend::planned_bytes() const {
  std::size_t bytes = allocated_;
  for (const Scratch& scratch : scratch_) bytes += std::max(scratch.needed, scratch.held) - scratch.held;
  return bytes;
}

void* CudaBackend::scratch(int slot) {
  Scratch& scratch = scratch_[slot];
  if (scratch.held < scratch.needed) {
    SENG_CUDA(cudaStreamSynchronize(stream()));  // a kernel may still use the smaller one
    scratch.memory.reset();
    allocated_ -= scratch.held;
    scratch.held = 0;
    scratch.memory = make_device_memory(scratch.needed);
    scratch.held = scratch.needed;
    allocated_ += scratch.held;
    ++scratch_moves_;
  }
  return scratch.memory.get();
}

std::uint64_t CudaBackend::settle_scratch() {
  for (const int slot : {kKernelSlot, kBetweenSlot}) scratch(slot);
  return scratch_moves_;
}

}  // namespace seng::cuda
