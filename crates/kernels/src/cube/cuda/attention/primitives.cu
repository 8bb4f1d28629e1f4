// The instructions of a warp that CUDA C++ has no operators for. NVRTC needs no header for them. A
// C++ program that defines these functions itself, and HAS_PRIMITIVES, runs the kernels without a
// GPU.
//
// Shared memory is addressed in bytes of its own window. Fragments are those of the PTX manual:
// with `lane / 4` and `lane % 4`, a lane holds of a 16 x 8 result the rows `lane / 4` and
// `lane / 4 + 8` and in each the columns `2 * (lane % 4)` and the next.

#ifndef HAS_PRIMITIVES

// A bf16 as its bits.
typedef unsigned short Bf16;

struct Chunk {
    unsigned words[4];
};

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__

DEVICE unsigned shared_memory() {
    extern __shared__ __align__(128) unsigned char window[];
    return (unsigned)__cvta_generic_to_shared(window);
}

DEVICE float minus_infinity() { return __int_as_float(0xff800000); }

DEVICE float exponential_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float logarithm_to_2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two numbers rounded to bf16, the first in the lower half.
DEVICE unsigned round_pair(float first, float second) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

DEVICE float first_of_pair(unsigned pair) { return __int_as_float(pair << 16); }

DEVICE float second_of_pair(unsigned pair) { return __int_as_float(pair & 0xffff0000u); }

// sums (16 x 8) += a (16 x 16) * b (16 x 8).
DEVICE void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8. Lanes 0 to 7 name the rows of the first, 8 to 15 those of the second, ...
DEVICE void load_matrices(unsigned (&found)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                 : "r"(address));
}

DEVICE void load_transposed_matrices(unsigned (&found)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                 : "r"(address));
}

// Begins to copy 16 bytes to shared memory, or to clear them.
DEVICE void copy_16(unsigned to, const void *from, bool clear) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(to), "l"(__cvta_generic_to_global(from)), "r"(clear ? 0 : 16)
                 : "memory");
}

// Begins to copy 4 bytes to shared memory, or to clear them.
DEVICE void copy_4(unsigned to, const void *from, bool clear) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :
                 : "r"(to), "l"(__cvta_generic_to_global(from)), "r"(clear ? 0 : 4)
                 : "memory");
}

// Waits for this thread's copies.
DEVICE void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

DEVICE void store_shared(unsigned address, unsigned word) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(word) : "memory");
}

DEVICE Chunk load_shared(unsigned address) {
    Chunk chunk;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(chunk.words[0]), "=r"(chunk.words[1]), "=r"(chunk.words[2]),
                   "=r"(chunk.words[3])
                 : "r"(address)
                 : "memory");
    return chunk;
}

DEVICE void load_shared_pair(float (&pair)[2], unsigned address) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(pair[0]), "=f"(pair[1])
                 : "r"(address)
                 : "memory");
}

DEVICE unsigned load_global_word(const void *from) {
    unsigned word;
    asm("ld.global.nc.b32 %0, [%1];" : "=r"(word) : "l"(__cvta_generic_to_global(from)));
    return word;
}

DEVICE void load_global_pair(float (&pair)[2], const float *from) {
    asm("ld.global.nc.v2.f32 {%0, %1}, [%2];"
        : "=f"(pair[0]), "=f"(pair[1])
        : "l"(__cvta_generic_to_global(from)));
}

DEVICE void store_global(void *to, const Chunk &chunk) {
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(__cvta_generic_to_global(to)), "r"(chunk.words[0]), "r"(chunk.words[1]),
                   "r"(chunk.words[2]), "r"(chunk.words[3])
                 : "memory");
}

DEVICE void store_global_word(void *to, unsigned word) {
    asm volatile("st.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "r"(word)
                 : "memory");
}

DEVICE void synchronize_block() { __syncthreads(); }

DEVICE void synchronize_warp() { __syncwarp(); }

DEVICE int thread_number() { return threadIdx.x; }

DEVICE int lane_number() { return threadIdx.x % 32; }

DEVICE int warp_number() { return threadIdx.x / 32; }

DEVICE unsigned from_lane(unsigned value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}

// The value of the lane whose number differs in the bits of `bits`.
DEVICE float from_partner(float value, int bits) {
    return __shfl_xor_sync(0xffffffffu, value, bits);
}

// The lanes for which `is` holds, as bits.
DEVICE unsigned lanes_where(bool is) { return __ballot_sync(0xffffffffu, is); }

// The lowest bit that is set.
DEVICE int lowest_bit(unsigned bits) { return __ffs(bits) - 1; }

#endif
