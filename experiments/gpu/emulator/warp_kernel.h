// CUDA C++ that reaches the hardware only through the functions of primitives.cu, on the CPU: those
// functions are block.h's, which ends the program where no barrier orders two accesses.

#pragma once
#include <mutex>

#include "block.h"
#include "entry.h"

namespace emulated {

inline std::mutex lock;

inline void run_grid(void (*kernel)(void **), void **with, const unsigned *grid,
                     const unsigned *block, unsigned bytes) {
    std::lock_guard<std::mutex> guard(lock);
    CHECK(block[0] == BLOCK && block[1] == 1 && block[2] == 1, "blocks of %u threads", block[0]);
    for (unsigned y = 0; y < grid[1]; y++) {
        for (unsigned x = 0; x < grid[0]; x++) run_block(x, y, bytes, [=] { kernel(with); });
    }
}

} // namespace emulated

#define ENTRY(kernel)                                                                             \
    DECLARE_ENTRY(kernel) {                                                                       \
        emulated::run_grid(emulated::Entry<kernel>::call, with, grid, block, bytes);              \
    }
