// cuBLASLt on the CPU: every product with sums in f32, rounded once.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "driver.h"
#include "include/cuda_bf16.h"

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 7 };
enum { F32 = 0, BF16 = 14 };
enum { TRANSPOSE_LEFT = 3, TRANSPOSE_RIGHT = 4 };

// A matrix by columns.
struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
};

struct Description {
    int is_transposed[2] = {0, 0};
};

float read(const void *matrix, int type, size_t at) {
    if (type == BF16) return ((const __nv_bfloat16 *)matrix)[at];
    return ((const float *)matrix)[at];
}

// An operand with its outer index first, [outer, inner], or last.
std::vector<float> unpack(const void *matrix, const Layout &layout, bool by_columns) {
    std::vector<float> found(layout.rows * layout.columns);
    for (size_t column = 0; column < layout.columns; column++)
        for (size_t row = 0; row < layout.rows; row++) {
            size_t to = by_columns ? column * layout.rows + row : row * layout.columns + column;
            found[to] = read(matrix, layout.type, column * layout.stride + row);
        }
    return found;
}

typedef float Lanes __attribute__((vector_size(32), aligned(4)));
constexpr size_t WIDTH = 8, ROWS = 4, VECTORS = 4;

// output [n, m] = right [n, k] * left [k, m], of which `left` has rows of `stride`.
void multiply(float *output, const float *right, const float *left, size_t n, size_t m, size_t k,
              size_t stride) {
#pragma omp parallel for
    for (size_t row = 0; row < n; row += ROWS) {
        size_t rows = std::min(ROWS, n - row);
        const float *of_row[ROWS];
        for (size_t i = 0; i < ROWS; i++) of_row[i] = right + (row + std::min(i, rows - 1)) * k;
        for (size_t column = 0; column < m; column += WIDTH * VECTORS) {
            Lanes sums[ROWS][VECTORS] = {};
            for (size_t inner = 0; inner < k; inner++) {
                const Lanes *from = (const Lanes *)(left + inner * stride + column);
                for (size_t i = 0; i < ROWS; i++)
                    for (size_t v = 0; v < VECTORS; v++) sums[i][v] += from[v] * of_row[i][inner];
            }
            size_t columns = std::min(WIDTH * VECTORS, m - column);
            for (size_t i = 0; i < rows; i++)
                memcpy(output + (row + i) * m + column, sums[i], columns * sizeof(float));
        }
    }
}

} // namespace

extern "C" {

int cublasLtCreate(void **handle) {
    *handle = calloc(1, 1);
    return SUCCESS;
}
int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns,
                               int64_t stride) {
    if (type != F32 && type != BF16) refuse("a matrix of type %d", type);
    *layout = new Layout{type, rows, columns, stride};
    return SUCCESS;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) {
    delete layout;
    return SUCCESS;
}
int cublasLtMatmulDescCreate(Description **description, int compute, int scale) {
    *description = new Description;
    return SUCCESS;
}
int cublasLtMatmulDescDestroy(Description *description) {
    delete description;
    return SUCCESS;
}
int cublasLtMatmulDescSetAttribute(Description *description, int attribute, const void *value,
                                   size_t bytes) {
    if (attribute != TRANSPOSE_LEFT && attribute != TRANSPOSE_RIGHT)
        refuse("attribute %d of a product", attribute);
    description->is_transposed[attribute - TRANSPOSE_LEFT] = *(const int *)value;
    return SUCCESS;
}
int cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = calloc(1, 1);
    return SUCCESS;
}
int cublasLtMatmulPreferenceDestroy(void *preference) {
    free(preference);
    return SUCCESS;
}
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value,
                                         size_t bytes) {
    return SUCCESS;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, Description *description, Layout *left,
                                   Layout *right, Layout *addend, Layout *output,
                                   void *preference, int asked, void *found, int *returned) {
    memset(found, 0, 96); // cublasLtMatmulHeuristicResult_t, of the state success
    *returned = 1;
    return SUCCESS;
}

int cublasLtMatmul(void *handle, Description *description, const float *alpha, const void *left,
                   Layout *left_layout, const void *right, Layout *right_layout, const float *beta,
                   const void *addend, Layout *addend_layout, void *output, Layout *output_layout,
                   const void *algorithm, void *workspace, size_t bytes, Stream *stream) {
    Layout a = *left_layout, b = *right_layout, c = *addend_layout, d = *output_layout;
    bool left_is_transposed = description->is_transposed[0];
    bool right_is_transposed = description->is_transposed[1];
    uint64_t m = left_is_transposed ? a.columns : a.rows;
    uint64_t k = left_is_transposed ? a.rows : a.columns;
    uint64_t n = right_is_transposed ? b.rows : b.columns;
    uint64_t inner = right_is_transposed ? b.columns : b.rows;
    auto fits = [](const Layout &layout) { return layout.stride >= (int64_t)layout.rows; };
    if (k != inner || d.rows != m || d.columns != n || c.rows != m || c.columns != n ||
        !fits(a) || !fits(b) || !fits(c) || !fits(d))
        return INVALID_VALUE;
    float scale = *alpha, kept = *beta;
    queue(stream, [=] {
        size_t stride = (m + WIDTH * VECTORS - 1) / (WIDTH * VECTORS) * (WIDTH * VECTORS);
        std::vector<float> products(n * m), wide(k * stride);
        std::vector<float> narrow = unpack(left, a, !left_is_transposed);
        for (size_t row = 0; row < k; row++)
            std::copy_n(narrow.data() + row * m, m, wide.data() + row * stride);
        std::vector<float> rows = unpack(right, b, !right_is_transposed);
        multiply(products.data(), rows.data(), wide.data(), n, m, k, stride);
        for (size_t column = 0; column < n; column++)
            for (size_t row = 0; row < m; row++) {
                float value = products[column * m + row] * scale;
                // What is not added is not read: it may be no number.
                if (kept != 0) value += kept * read(addend, c.type, column * c.stride + row);
                size_t at = column * d.stride + row;
                if (d.type == BF16) ((__nv_bfloat16 *)output)[at] = __nv_bfloat16(value);
                else ((float *)output)[at] = value;
            }
    });
    return SUCCESS;
}

} // extern "C"
