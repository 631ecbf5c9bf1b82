#include "tests/support/emulated_cuda/kernel_emulator.h"

#include <map>
#include <stdexcept>
#include <vector>

#include <boost/context/detail/fcontext.hpp>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulated_cuda {
namespace {

constexpr std::size_t kStack = 64 << 10;

// A thread of a block. It lives as long as the host's thread, and takes one of each block that this runs.
struct Fiber {
  boost::context::detail::fcontext_t context = nullptr;  // where it goes on
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
  boost::context::detail::fcontext_t scheduler = nullptr;  // where it goes on when a fiber gives way
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

// From the fiber back to who runs the block, until the next round.
void give_way() {
  Fiber& fiber = *block.running;
  begin_switch(&fiber.shadow, block.scheduler_stack, block.scheduler_stack_size);
  block.scheduler = boost::context::detail::jump_fcontext(block.scheduler, nullptr).fctx;
  // The fibers may have moved: a kernel of more threads has begun since.
  end_switch(block.running->shadow, &block.scheduler_stack, &block.scheduler_stack_size);
}

void resume(Fiber& fiber) {
  block.running = &fiber;
  thread_index = fiber.index;
  begin_switch(&block.shadow, fiber.stack, kStack);
  fiber.context = boost::context::detail::jump_fcontext(fiber.context, nullptr).fctx;
  end_switch(block.shadow, nullptr, nullptr);
}

void fiber_main(boost::context::detail::transfer_t from) {
  block.scheduler = from.fctx;
  end_switch(nullptr, &block.scheduler_stack, &block.scheduler_stack_size);
  while (true) {
    (*block.body)();
    block.running->done = true;
    give_way();
  }
}

Fiber make_fiber() {
  Fiber fiber;
  fiber.stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fiber.stack == MAP_FAILED) throw std::runtime_error("no memory for a fiber's stack");
  fiber.context =
      boost::context::detail::make_fcontext(static_cast<char*>(fiber.stack) + kStack, kStack, fiber_main);
  return fiber;
}

void prepare(std::size_t threads, dim3 size) {
  while (block.fibers.size() < threads) block.fibers.push_back(make_fiber());
  for (std::size_t i = 0; i < threads; ++i) {
    block.fibers[i].done = false;
    block.fibers[i].index = index_of(i, size);
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
      resume(fiber);
      left = left || !fiber.done;
    }
  }
}

}  // namespace

void barrier() {
  if (!fibers_run) throw std::logic_error("a barrier that only some blocks of a kernel meet");
  met_barrier = true;
  give_way();
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
