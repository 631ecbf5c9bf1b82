#include "tests/support/emulated_cuda/kernel_emulator.h"

#include <map>
#include <stdexcept>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulated_cuda {
namespace {

constexpr std::size_t kStack = 64 << 10;

struct Fiber {
  ucontext_t context;
  void* stack = nullptr;
  void* shadow = nullptr;  // AddressSanitizer's
  bool done = false;
  uint3 index;
};

uint3 index_of(std::size_t thread, dim3 size) {
  uint3 index;
  index.x = static_cast<unsigned>(thread % size.x);
  index.y = static_cast<unsigned>(thread / size.x % size.y);
  index.z = static_cast<unsigned>(thread / size.x / size.y);
  return index;
}

// The fibers of the block that this thread runs; their stacks are kept for the next one.
struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  Fiber* running = nullptr;
  const std::function<void()>* body = nullptr;
  void* shadow = nullptr;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_size = 0;

  ~Block() {
    for (Fiber& fiber : fibers) munmap(fiber.stack, kStack);
  }
};
thread_local Block block;
thread_local bool met_barrier = false;
thread_local bool fibers_run = false;
// Kernels whose first block met no barrier: their threads then run as plain calls, which is far quicker.
thread_local std::map<const void*, bool> has_barriers;

void begin_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* stack,
                  [[maybe_unused]] std::size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(save, stack, size);
#endif
}
void end_switch([[maybe_unused]] void* saved, [[maybe_unused]] const void** stack,
                [[maybe_unused]] std::size_t* size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(saved, stack, size);
#endif
}

void fiber_main() {
  end_switch(nullptr, &block.scheduler_stack, &block.scheduler_stack_size);
  (*block.body)();
  block.running->done = true;
  begin_switch(nullptr, block.scheduler_stack, block.scheduler_stack_size);
}

void prepare(std::size_t threads, dim3 size) {
  while (block.fibers.size() < threads) {
    Fiber fiber;
    fiber.stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fiber.stack == MAP_FAILED) throw std::runtime_error("no memory for a fiber's stack");
    block.fibers.push_back(fiber);
  }
  for (std::size_t i = 0; i < threads; ++i) {
    Fiber& fiber = block.fibers[i];
    fiber.done = false;
    fiber.index = index_of(i, size);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = &block.scheduler;
    makecontext(&fiber.context, fiber_main, 0);
  }
}

void run_plain(std::size_t threads, dim3 size) {
  fibers_run = false;
  for (std::size_t i = 0; i < threads; ++i) {
    thread_index = index_of(i, size);
    (*block.body)();
  }
}

// Every round takes each thread to its next barrier, or its end.
void run_fibers(std::size_t threads, dim3 size) {
  prepare(threads, size);
  fibers_run = true;
  for (bool left = true; left;) {
    left = false;
    for (std::size_t i = 0; i < threads; ++i) {
      Fiber& fiber = block.fibers[i];
      if (fiber.done) continue;
      block.running = &fiber;
      thread_index = fiber.index;
      begin_switch(&block.shadow, fiber.stack, kStack);
      swapcontext(&block.scheduler, &fiber.context);
      end_switch(block.shadow, nullptr, nullptr);
      left = left || !fiber.done;
    }
  }
}

}  // namespace

void barrier() {
  if (!fibers_run) throw std::logic_error("a barrier that only some blocks of a kernel meet");
  met_barrier = true;
  Fiber& fiber = *block.running;
  begin_switch(&fiber.shadow, block.scheduler_stack, block.scheduler_stack_size);
  swapcontext(&fiber.context, &block.scheduler);
  end_switch(fiber.shadow, &block.scheduler_stack, &block.scheduler_stack_size);
}

void run_grid(const void* kernel, dim3 grid, dim3 size, const std::function<void()>& thread) {
  const std::size_t threads = std::size_t(size.x) * size.y * size.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535)
    throw std::runtime_error("a launch that no GPU takes");
  block.body = &thread;
  block_size = size;
  grid_size = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        block_index.x = x;
        block_index.y = y;
        block_index.z = z;
        const auto known = has_barriers.find(kernel);
        if (known != has_barriers.end() && !known->second) {
          run_plain(threads, size);
          continue;
        }
        met_barrier = false;
        run_fibers(threads, size);
        has_barriers[kernel] = met_barrier;
      }
    }
  }
}

}  // namespace emulated_cuda
