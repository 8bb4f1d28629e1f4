// CUDA C++ on the CPU: what a kernel that CubeCL writes finds where NVRTC would have found the GPU.
//
// Each thread of a block is a coroutine, which gives way at barriers. Threads take turns in an
// order that changes. Blocks run one after another, from any of them on. Shared memory is a NaN
// until it is written.

#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include <ucontext.h>
#include <unistd.h>

#include "entry.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace emulated {

struct Size3 {
    unsigned x, y, z;
    unsigned count() const { return x * y * z; }
};

// A thread of a block.
struct Coroutine {
    ucontext_t first;
    jmp_buf place;
    std::unique_ptr<char[]> stack;
    Size3 number;
    bool has_begun, is_done;
};

constexpr size_t STACK = 64 << 10, MOST_SHARED = 227 << 10, WARP = 32;

inline std::mutex lock;
alignas(128) inline char shared[MOST_SHARED];
// Never destroyed: a stream may use them while the program ends.
inline std::vector<Coroutine> &threads = *new std::vector<Coroutine>(1024);
inline Coroutine *running;
inline jmp_buf scheduler;
inline unsigned live, arrived, barriers;
// Barriers that were passed, and threads that began or ended.
inline unsigned long progress;
// Of each warp, how many of its threads are at a barrier of the warp, how many have passed, and how
// many it has that have not ended.
struct WarpState {
    unsigned arrived, barriers, live;
};
inline WarpState warps[32];
inline unsigned random_state = 1;
inline void (*body)(void **);
inline void **arguments;

// Below `end`.
inline unsigned random(unsigned end) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 16) % end;
}

inline void give_way() {
    if (_setjmp(running->place) == 0) _longjmp(scheduler, 1);
}

inline unsigned lane() { return (running - threads.data()) % WARP; }

inline WarpState &own_warp() { return warps[(running - threads.data()) / WARP]; }

inline void run_thread() {
    body(arguments);
    running->is_done = true;
    progress++;
    own_warp().live--;
    _longjmp(scheduler, 1);
}

// Threads that have ended are not waited for.
inline void wait_at_barrier() {
    unsigned mine = barriers;
    arrived++;
    while (barriers == mine) give_way();
}

inline void wait_at_warp_barrier() {
    WarpState &warp = own_warp();
    unsigned mine = warp.barriers;
    warp.arrived++;
    while (warp.barriers == mine) {
        if (warp.arrived >= warp.live) {
            warp.arrived = 0;
            warp.barriers++;
            progress++;
        } else {
            give_way();
        }
    }
}

} // namespace emulated

inline emulated::Size3 gridDim, blockDim, blockIdx, threadIdx;

#define __syncthreads() emulated::wait_at_barrier()
#define __syncwarp() emulated::wait_at_warp_barrier()

namespace emulated {

// The threads of a block take turns until all have ended.
inline void run_as_coroutines() {
    live = blockDim.count();
    arrived = barriers = 0;
    for (unsigned n = 0; n < live; n++) {
        unsigned x = n % blockDim.x, y = n / blockDim.x % blockDim.y;
        threads[n].number = {x, y, n / blockDim.x / blockDim.y};
        threads[n].has_begun = threads[n].is_done = false;
        unsigned in_warp = n % WARP;
        warps[n / WARP] = {0, 0, in_warp + 1};
    }
    for (unsigned count = live; live > 0;) {
        unsigned long before = progress;
        unsigned first = random(count), step = random(2) == 0 ? 1 : count - 1;
        for (unsigned n = 0; n < count; n++) {
            running = &threads[(first + n * step) % count];
            if (running->is_done) continue;
            threadIdx = running->number;
            if (_setjmp(scheduler) == 0) {
                if (running->has_begun) _longjmp(running->place, 1);
                running->has_begun = true;
                progress++;
                if (!running->stack) running->stack.reset(new char[STACK]);
                getcontext(&running->first);
                running->first.uc_stack.ss_sp = running->stack.get();
                running->first.uc_stack.ss_size = STACK;
                makecontext(&running->first, run_thread, 0);
                setcontext(&running->first);
            }
            live -= running->is_done;
        }
        if (arrived > 0 && arrived >= live) {
            arrived = 0;
            barriers++;
            progress++;
        }
        if (progress == before) {
            fprintf(stderr, "emulator: threads of a block wait at different barriers\n");
            _exit(70);
        }
    }
}

inline void run_one_by_one() {
    Size3 &at = threadIdx;
    for (at.z = 0; at.z < blockDim.z; at.z++)
        for (at.y = 0; at.y < blockDim.y; at.y++)
            for (at.x = 0; at.x < blockDim.x; at.x++) body(arguments);
}

// Adds to what CubeCL knows as constant, and returns what was there.
inline float add_atomically(const float *to, float value) {
    float before = *to;
    *const_cast<float *>(to) += value;
    return before;
}

// Runs all blocks of a launch.
inline void run_grid(void (*kernel)(void **), bool has_barriers, void **with, const unsigned *grid,
                     const unsigned *block, unsigned shared_bytes) {
    std::lock_guard<std::mutex> guard(lock);
    body = kernel;
    arguments = with;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    unsigned count = gridDim.count(), first = random(count);
    for (unsigned n = 0; n < count; n++) {
        unsigned number = (first + (unsigned long long)n) % count;
        unsigned row = number / gridDim.x;
        blockIdx = {number % gridDim.x, row % gridDim.y, row / gridDim.y};
        memset(shared, 0xff, shared_bytes);
        if (has_barriers) run_as_coroutines();
        else run_one_by_one();
    }
}

} // namespace emulated

#define ENTRY(kernel, has_barriers)                                                               \
    DECLARE_ENTRY(kernel) {                                                                       \
        emulated::run_grid(emulated::Entry<kernel>::call, has_barriers, with, grid, block, bytes); \
    }

// CUDA's functions, which are overloads for floats.
using std::exp;
using std::fma;
using std::isinf;
using std::isnan;
using std::log;
using std::max;
using std::min;
using std::sqrt;

inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz((unsigned)bits); }

// CubeCL defines these names itself.
#define uint8_t kernel_uint8_t
#define uint16_t kernel_uint16_t
#define uint32_t kernel_uint32_t
#define uint64_t kernel_uint64_t
#define int8_t kernel_int8_t
#define int16_t kernel_int16_t
#define int32_t kernel_int32_t
#define int64_t kernel_int64_t
