// The part of CUDA's header of this name that Burn's own product of f32 uses: TF32 on tensor
// cores. The first lane of a warp holds whole matrices and computes whole products.

#pragma once
#include <cstring>

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

template <class USE> constexpr int rows_of(int m, int n, int k);
template <> constexpr int rows_of<matrix_a>(int m, int, int) { return m; }
template <> constexpr int rows_of<matrix_b>(int, int, int k) { return k; }
template <> constexpr int rows_of<accumulator>(int m, int, int) { return m; }
template <class USE> constexpr int columns_of(int m, int n, int k);
template <> constexpr int columns_of<matrix_a>(int, int, int k) { return k; }
template <> constexpr int columns_of<matrix_b>(int, int n, int) { return n; }
template <> constexpr int columns_of<accumulator>(int, int n, int) { return n; }
template <class LAYOUT> constexpr bool IS_BY_COLUMNS = false;
template <> constexpr bool IS_BY_COLUMNS<col_major> = true;

template <class USE, int M, int N, int K, class T, class LAYOUT = row_major> struct fragment {
    static constexpr int ROWS = rows_of<USE>(M, N, K), COLUMNS = columns_of<USE>(M, N, K);
    static constexpr int num_elements = ROWS * COLUMNS;
    float x[num_elements];
};

// Ten bits of the mantissa, to nearest.
inline float __float_to_tf32(float x) {
    unsigned word;
    memcpy(&word, &x, 4);
    word = (word + 0x1000) & 0xffffe000u;
    memcpy(&x, &word, 4);
    return x;
}

template <class F> void fill_fragment(F &fragment, float value) {
    if (emulated::lane() != 0) return;
    for (float &element : fragment.x) element = value;
}

template <class USE, int M, int N, int K, class T, class LAYOUT>
void load_matrix_sync(fragment<USE, M, N, K, T, LAYOUT> &to, const float *from, unsigned stride) {
    constexpr int COLUMNS = columns_of<USE>(M, N, K);
    if (emulated::lane() != 0) return;
    for (int n = 0; n < to.num_elements; n++) {
        int row = n / COLUMNS, column = n % COLUMNS;
        to.x[n] = IS_BY_COLUMNS<LAYOUT> ? from[column * stride + row] : from[row * stride + column];
    }
}

template <class F>
void store_matrix_sync(float *to, const F &from, unsigned stride, layout_t layout) {
    if (emulated::lane() != 0) return;
    for (int n = 0; n < F::num_elements; n++) {
        int row = n / F::COLUMNS, column = n % F::COLUMNS;
        to[layout == mem_col_major ? column * stride + row : row * stride + column] = from.x[n];
    }
}

template <class D, class A, class B, class C>
void mma_sync(D &sums, const A &a, const B &b, const C &addend) {
    if (emulated::lane() != 0) return;
    for (int n = 0; n < D::num_elements; n++) {
        int row = n / D::COLUMNS, column = n % D::COLUMNS;
        float sum = addend.x[n];
        for (int k = 0; k < A::COLUMNS; k++) {
            sum += a.x[row * A::COLUMNS + k] * b.x[k * B::COLUMNS + column];
        }
        sums.x[n] = sum;
    }
}

} // namespace wmma
} // namespace nvcuda
