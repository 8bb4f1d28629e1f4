// A block of CUDA threads on the CPU. It defines the functions of primitives.cu, so that kernels
// which reach the hardware only through them run, and are checked, without a GPU.
//
// Each thread is a coroutine. An instruction of a warp waits until its 32 lanes have come to the
// same instruction, and then exchanges their registers as the PTX manual says. Asynchronous copies
// write when they are waited for. Reads and writes of shared memory that no barrier orders, that
// are misaligned or out of bounds, and reads of what was never written end the program.

#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

#define CHECK(holds, ...)                                                                          \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            exit(2);                                                                               \
        }                                                                                          \
    } while (0)

#define DEVICE inline
#define KERNEL extern "C"
#define __launch_bounds__(...)

typedef unsigned short Bf16;

struct Chunk {
    unsigned words[4];
};

using std::max;
using std::min;

constexpr int BLOCK = 128, WARPS = BLOCK / 32, SHARED = 112 * 1024;

struct {
    unsigned x, y;
} blockIdx;

struct Copy {
    unsigned to;
    const void *from;
    int bytes;
    bool clear;
};

struct Thread {
    int number;
    bool is_done;
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    std::vector<Copy> copies;

    int warp() const { return number / 32; }
    int lane() const { return number % 32; }
};

// The registers that the lanes of a warp bring to an instruction, and what they take from it.
struct Warp {
    const char *instruction;
    int arrived;
    long count;
    unsigned from[32][10], to[32][4];
};

// What is known of 4 bytes of shared memory: who wrote it and when, and which warp read it when.
// Times are numbers of barriers of the block, and of instructions of the warp.
struct Word {
    int writer = -1;
    long written = -1, written_in_warp = -1;
    long read[WARPS] = {-1, -1, -1, -1};
    bool is_copied_to = false;
};

inline Thread threads[BLOCK];
inline Thread *thread;
inline ucontext_t scheduler;
inline Warp warps[WARPS];
inline int arrived_at_barrier;
inline long barriers;
inline unsigned char shared[SHARED];
inline unsigned shared_bytes;
inline std::vector<Word> words(SHARED / 4);

inline void let_others_run() { swapcontext(&thread->context, &scheduler); }

inline void check_place(const char *what, unsigned address, int bytes) {
    CHECK(address % bytes == 0 && address + bytes <= shared_bytes,
          "%s: %d bytes at %u of %u bytes of shared memory", what, bytes, address, shared_bytes);
}

inline void check_read(const char *what, unsigned address, int bytes) {
    check_place(what, address, bytes);
    for (unsigned at = address / 4; at < (address + bytes) / 4; at++) {
        Word &word = words[at];
        CHECK(!word.is_copied_to, "%s: reads word %u before its copy is waited for", what, at);
        CHECK(word.writer >= 0, "%s: reads word %u, which nobody wrote", what, at);
        bool in_warp = word.writer / 32 == thread->warp() &&
                       word.written_in_warp < warps[thread->warp()].count;
        CHECK(word.written < barriers || in_warp || word.writer == thread->number,
              "%s: reads word %u without a barrier after its write", what, at);
        word.read[thread->warp()] = barriers;
    }
}

inline void check_write(const char *what, unsigned address, int bytes, bool is_copied_to) {
    check_place(what, address, bytes);
    for (unsigned at = address / 4; at < (address + bytes) / 4; at++) {
        Word &word = words[at];
        CHECK(!word.is_copied_to, "%s: writes word %u under a copy", what, at);
        for (int warp = 0; warp < WARPS; warp++) {
            CHECK(warp == thread->warp() || word.read[warp] < barriers,
                  "%s: writes word %u without a barrier after its read", what, at);
        }
        CHECK(word.written < barriers || word.writer / 32 == thread->warp(),
              "%s: writes word %u without a barrier after its write", what, at);
        word.is_copied_to = is_copied_to;
        word.writer = thread->number;
        word.written = barriers;
        word.written_in_warp = warps[thread->warp()].count;
    }
}

// Waits for the warp's other lanes. The last one exchanges the registers.
inline Warp &exchange(const char *instruction, void (*run)(Warp &)) {
    Warp &warp = warps[thread->warp()];
    if (warp.arrived == 0) warp.instruction = instruction;
    CHECK(warp.instruction == instruction, "the lanes of a warp are at %s and at %s",
          warp.instruction, instruction);
    long mine = warp.count;
    if (++warp.arrived == 32) {
        run(warp);
        warp.arrived = 0;
        warp.count++;
    }
    while (warp.count == mine) let_others_run();
    return warp;
}

inline float as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

inline unsigned as_bits(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

inline unsigned to_bf16(float x) {
    unsigned bits = as_bits(x);
    return x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fff;
}

inline unsigned shared_memory() { return 0; }
inline float minus_infinity() { return -INFINITY; }
inline float exponential_of_2(float x) { return exp2f(x); }
inline float logarithm_to_2(float x) { return log2f(x); }
inline float first_of_pair(unsigned pair) { return as_float(pair << 16); }
inline float second_of_pair(unsigned pair) { return as_float(pair & 0xffff0000u); }

inline unsigned round_pair(float first, float second) {
    return to_bf16(first) | to_bf16(second) << 16;
}

// "Matrix fragments for mma.m16n8k16 with floating point type".
inline void run_multiply_add(Warp &warp) {
    float a[16][16], b[16][8], sums[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int group = lane / 4, column = lane % 4 * 2;
        const unsigned *from = warp.from[lane];
        for (int n = 0; n < 4; n++) {
            int row = n % 2 == 0 ? group : group + 8, first = n < 2 ? column : column + 8;
            a[row][first] = first_of_pair(from[n]);
            a[row][first + 1] = second_of_pair(from[n]);
        }
        for (int n = 0; n < 2; n++) {
            b[column + n * 8][group] = first_of_pair(from[4 + n]);
            b[column + n * 8 + 1][group] = second_of_pair(from[4 + n]);
        }
        for (int n = 0; n < 4; n++) {
            sums[n < 2 ? group : group + 8][column + n % 2] = as_float(from[6 + n]);
        }
    }
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < 16; k++) {
            for (int column = 0; column < 8; column++) {
                sums[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        for (int n = 0; n < 4; n++) {
            int row = n < 2 ? lane / 4 : lane / 4 + 8;
            warp.to[lane][n] = as_bits(sums[row][lane % 4 * 2 + n % 2]);
        }
    }
}

inline void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    unsigned *from = warps[thread->warp()].from[thread->lane()];
    memcpy(from, a, sizeof a);
    from[4] = b0;
    from[5] = b1;
    memcpy(from + 6, sums, sizeof sums);
    memcpy(sums, exchange("mma", run_multiply_add).to[thread->lane()], sizeof sums);
}

template <bool IS_TRANSPOSED> void run_load_matrices(Warp &warp) {
    for (int n = 0; n < 4; n++) {
        Bf16 matrix[8][8];
        for (int row = 0; row < 8; row++) {
            memcpy(matrix[row], shared + warp.from[n * 8 + row][0], sizeof matrix[row]);
        }
        for (int lane = 0; lane < 32; lane++) {
            int row = lane / 4, column = lane % 4 * 2;
            unsigned first = IS_TRANSPOSED ? matrix[column][row] : matrix[row][column];
            unsigned second = IS_TRANSPOSED ? matrix[column + 1][row] : matrix[row][column + 1];
            warp.to[lane][n] = first | second << 16;
        }
    }
}

template <bool IS_TRANSPOSED> void load_four(unsigned (&found)[4], unsigned address) {
    check_read("ldmatrix", address, 16);
    warps[thread->warp()].from[thread->lane()][0] = address;
    const char *name = IS_TRANSPOSED ? "ldmatrix.trans" : "ldmatrix";
    Warp &warp = exchange(name, run_load_matrices<IS_TRANSPOSED>);
    memcpy(found, warp.to[thread->lane()], sizeof found);
}

inline void load_matrices(unsigned (&found)[4], unsigned address) {
    load_four<false>(found, address);
}

inline void load_transposed_matrices(unsigned (&found)[4], unsigned address) {
    load_four<true>(found, address);
}

inline void copy(unsigned to, const void *from, bool clear, int bytes) {
    CHECK((uintptr_t)from % bytes == 0, "cp.async: a misaligned source");
    check_write("cp.async", to, bytes, true);
    thread->copies.push_back({to, from, bytes, clear});
}

inline void copy_16(unsigned to, const void *from, bool clear) { copy(to, from, clear, 16); }
inline void copy_4(unsigned to, const void *from, bool clear) { copy(to, from, clear, 4); }

inline void wait_for_copies() {
    for (const Copy &copy : thread->copies) {
        if (copy.clear) {
            memset(shared + copy.to, 0, copy.bytes);
        } else {
            memcpy(shared + copy.to, copy.from, copy.bytes);
        }
        for (unsigned at = copy.to / 4; at < (copy.to + copy.bytes) / 4; at++) {
            words[at].is_copied_to = false;
            words[at].written = barriers;
            words[at].written_in_warp = warps[thread->warp()].count;
        }
    }
    thread->copies.clear();
}

inline void store_shared(unsigned address, unsigned word) {
    check_write("st.shared", address, 4, false);
    memcpy(shared + address, &word, 4);
}

inline Chunk load_shared(unsigned address) {
    check_read("ld.shared", address, 16);
    Chunk chunk;
    memcpy(&chunk, shared + address, 16);
    return chunk;
}

inline void load_shared_pair(float (&pair)[2], unsigned address) {
    check_read("ld.shared", address, 8);
    memcpy(pair, shared + address, 8);
}

inline unsigned load_global_word(const void *from) {
    CHECK((uintptr_t)from % 4 == 0, "ld.global: a misaligned address");
    unsigned word;
    memcpy(&word, from, 4);
    return word;
}

inline void load_global_pair(float (&pair)[2], const float *from) {
    CHECK((uintptr_t)from % 8 == 0, "ld.global: a misaligned address");
    memcpy(pair, from, 8);
}

inline void store_global(void *to, const Chunk &chunk) {
    CHECK((uintptr_t)to % 16 == 0, "st.global: a misaligned address");
    memcpy(to, &chunk, 16);
}

inline void store_global_word(void *to, unsigned word) {
    CHECK((uintptr_t)to % 4 == 0, "st.global: a misaligned address");
    memcpy(to, &word, 4);
}

inline void synchronize_block() {
    long mine = barriers;
    if (++arrived_at_barrier == BLOCK) {
        arrived_at_barrier = 0;
        barriers++;
    }
    while (barriers == mine) let_others_run();
}

inline void synchronize_warp() {
    exchange("syncwarp", [](Warp &) {});
}

inline int thread_number() { return thread->number; }
inline int lane_number() { return thread->lane(); }
inline int warp_number() { return thread->warp(); }
inline int lowest_bit(unsigned bits) { return __builtin_ffs(bits) - 1; }

inline unsigned from_lane(unsigned value, int lane) {
    unsigned *from = warps[thread->warp()].from[thread->lane()];
    from[0] = value;
    from[1] = lane;
    auto run = [](Warp &warp) {
        for (int lane = 0; lane < 32; lane++) {
            warp.to[lane][0] = warp.from[warp.from[lane][1] % 32][0];
        }
    };
    return exchange("shfl", run).to[thread->lane()][0];
}

inline float from_partner(float value, int bits) {
    return as_float(from_lane(as_bits(value), thread->lane() ^ bits));
}

inline unsigned lanes_where(bool is) {
    warps[thread->warp()].from[thread->lane()][0] = is;
    auto run = [](Warp &warp) {
        unsigned bits = 0;
        for (int lane = 0; lane < 32; lane++) bits |= warp.from[lane][0] << lane;
        for (int lane = 0; lane < 32; lane++) warp.to[lane][0] = bits;
    };
    return exchange("vote", run).to[thread->lane()][0];
}

inline std::function<void()> kernel;

inline void run_thread() {
    kernel();
    CHECK(thread->copies.empty(), "a thread ends before its copies");
    thread->is_done = true;
    let_others_run();
}

inline void run_block(unsigned x, unsigned y, unsigned bytes, const std::function<void()> &work) {
    constexpr size_t STACK = 1 << 16;
    blockIdx = {x, y};
    kernel = work;
    shared_bytes = bytes;
    CHECK(bytes <= SHARED, "%u bytes of shared memory", bytes);
    memset(shared, 0xff, SHARED);
    std::fill(words.begin(), words.end(), Word());
    barriers = arrived_at_barrier = 0;
    for (Warp &warp : warps) warp.arrived = warp.count = 0;
    for (int number = 0; number < BLOCK; number++) {
        Thread &thread = threads[number];
        if (!thread.stack) thread.stack.reset(new char[STACK]);
        thread.number = number;
        thread.is_done = false;
        thread.copies.clear();
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.get();
        thread.context.uc_stack.ss_size = STACK;
        makecontext(&thread.context, run_thread, 0);
    }
    for (int left = BLOCK; left > 0;) {
        // The warps take turns in an order that changes.
        int first = rand() % WARPS * 32;
        for (int n = 0; n < BLOCK; n++) {
            thread = &threads[(first + n) % BLOCK];
            if (thread->is_done) continue;
            swapcontext(&scheduler, &thread->context);
            if (thread->is_done) left--;
        }
    }
}
