// Tiles of 64 queries or keys of a head. Of each tile that is multiplied from the left a warp has
// 16 rows, which no other warp needs.
//
// In shared memory a row is made of chunks of 8 elements. Row r has chunk c in the place
// c ^ (r % 8), so that the same chunk of 8 rows lies in different banks.

// HEAD_DIM is 64 or 128.
constexpr int TILE = 64;
constexpr int THREADS = 128;
constexpr int CHUNKS = HEAD_DIM / 8;
constexpr unsigned ROW_BYTES = HEAD_DIM * 2;
constexpr unsigned TILE_BYTES = TILE * ROW_BYTES;
// Depth of a product over a head, in steps of 16.
constexpr int STEPS = HEAD_DIM / 16;
// Columns of a tile whose products a warp holds at one time, as many as lanes.
constexpr int PART = 32;
constexpr int PARTS = TILE / PART;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

// What a warp holds of 16 rows: their fragments as a left operand, their products with the rows of
// a part, and sums as wide as a head.
typedef unsigned Rows16[STEPS][4];
typedef float Products[PART / 8][4];
typedef float Sums[CHUNKS][4];

// Heads and lengths of the batch. `qkv` is [tokens, width]: query heads, key heads, value heads.
struct Sizes {
    int seq;
    int heads;
    int key_value_heads;

    DEVICE int tiles() const { return (seq + TILE - 1) / TILE; }
    DEVICE int group() const { return heads / key_value_heads; }
    DEVICE int width() const { return (heads + 2 * key_value_heads) * HEAD_DIM; }
    DEVICE int output_width() const { return heads * HEAD_DIM; }
    DEVICE int query_column(int head) const { return head * HEAD_DIM; }
    DEVICE int key_column(int key_head) const { return (heads + key_head) * HEAD_DIM; }
    DEVICE int value_column(int key_head) const {
        return (heads + key_value_heads + key_head) * HEAD_DIM;
    }
};

// Rows of a tile in a matrix in global memory. Rows from `rows` on do not exist.
struct Rows {
    const Bf16 *first;
    int stride;
    int rows;
};

// The tile that begins with token `position` of a row of the batch, itself from `row_start` on.
DEVICE Rows rows_of(const Bf16 *matrix, int stride, int column, long long row_start, int position,
                    int seq) {
    return {matrix + (row_start + position) * stride + column, stride, seq - position};
}

// Where a chunk lies in a tile, in bytes. The place of chunk c + n, with n even and c below 2, is
// that of c with the bits of 16 * n changed.
DEVICE unsigned place(int row, int chunk) { return row * ROW_BYTES + (chunk ^ (row % 8)) * 16; }

// Begins to copy a tile. Rows that do not exist are cleared.
DEVICE void copy_tile(unsigned tile, const Rows &from) {
    // Rows between two of a thread, a multiple of 8, so that its chunks have one place in a row.
    constexpr int DISTANCE = THREADS / CHUNKS;
    int row = thread_number() / CHUNKS, chunk = thread_number() % CHUNKS;
    const Bf16 *source = from.first + row * from.stride + chunk * 8;
    unsigned to = tile + place(row, chunk);
#pragma unroll
    for (int i = 0; i < TILE / DISTANCE; i++) {
        bool clear = row + i * DISTANCE >= from.rows;
        copy_16(to + i * DISTANCE * ROW_BYTES, clear ? from.first : source, clear);
        source += DISTANCE * from.stride;
    }
}

// The fragments of 16 rows of a tile from `row` on, to be multiplied from the left.
DEVICE void load_rows(Rows16 &found, unsigned tile, int row) {
    unsigned mine = place(lane_number() % 16, lane_number() / 16);
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        load_matrices(found[step], tile + row * ROW_BYTES + (mine ^ (step * 32)));
    }
}

DEVICE void fill(Products &products, float value) {
#pragma unroll
    for (int n = 0; n < PART / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) products[n][i] = value;
    }
}

// The products of 16 rows with the rows of `tile` from `row` on.
DEVICE void multiply(Products &products, const Rows16 &rows, unsigned tile, int row) {
    int lane = lane_number();
    unsigned mine = place(lane / 16 * 8 + lane % 8, lane / 8 % 2);
    fill(products, 0.0f);
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
        for (int n = 0; n < PART / 8; n += 2) {
            unsigned b[4];
            load_matrices(b, tile + (row + n * 8) * ROW_BYTES + (mine ^ (step * 32)));
            multiply_add(products[n], rows[step], b[0], b[1]);
            multiply_add(products[n + 1], rows[step], b[2], b[3]);
        }
    }
}

// Adds the weighted sums of the rows of `tile` from `row` on, the weights rounded to bf16.
DEVICE void accumulate(Sums &sums, const Products &weights, unsigned tile, int row) {
    unsigned mine = place(lane_number() % 16, lane_number() / 16);
#pragma unroll
    for (int n = 0; n < PART / 8; n += 2) {
        // Two results of 16 x 8 side by side are the left operand of 16 x 16.
        unsigned a[4] = {round_pair(weights[n][0], weights[n][1]),
                         round_pair(weights[n][2], weights[n][3]),
                         round_pair(weights[n + 1][0], weights[n + 1][1]),
                         round_pair(weights[n + 1][2], weights[n + 1][3])};
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk += 2) {
            unsigned b[4];
            unsigned address = tile + (row + n * 8) * ROW_BYTES + (mine ^ (chunk * 16));
            load_transposed_matrices(b, address);
            multiply_add(sums[chunk], a, b[0], b[1]);
            multiply_add(sums[chunk + 1], a, b[2], b[3]);
        }
    }
}

// Rounds this warp's 16 rows, row `lane / 4` times the first factor and `lane / 4 + 8` times the
// second, and writes those that exist. They pass through its rows of a tile in shared memory, from
// which nobody else may read.
DEVICE void store_rows(const Sums &sums, const float (&factors)[2], unsigned tile,
                       Bf16 *to, int stride, int rows) {
    int lane = lane_number();
    int row = warp_number() * 16;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned pair = round_pair(sums[chunk][2 * half] * factors[half],
                                       sums[chunk][2 * half + 1] * factors[half]);
            unsigned to_chunk = place(row + half * 8 + lane / 4, chunk);
            store_shared(tile + to_chunk + lane % 4 * 4, pair);
        }
    }
    synchronize_warp();
#pragma unroll
    for (int i = 0; i < 16 * CHUNKS / 32; i++) {
        int number = i * 32 + lane;
        int at = row + number / CHUNKS, chunk = number % CHUNKS;
        if (at < rows) {
            store_global(to + (long long)at * stride + chunk * 8,
                         load_shared(tile + place(at, chunk)));
        }
    }
}

// The angles that queries and keys were rotated by, [tokens, HEAD_DIM / 2].
struct Angles {
    const float *cosines;
    const float *sines;
};

// Turns two columns of a token, and those half a head further, to where they were before their
// rotation.
DEVICE void rotate_back(float *first, float *second, const Angles &angles, long long token,
                        int column) {
    float cosine[2], sine[2];
    load_global_pair(cosine, angles.cosines + token * (HEAD_DIM / 2) + column);
    load_global_pair(sine, angles.sines + token * (HEAD_DIM / 2) + column);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float a = first[i], b = second[i];
        first[i] = a * cosine[i] + b * sine[i];
        second[i] = b * cosine[i] - a * sine[i];
    }
}

// The same for a warp's 16 rows, the first of which is that token's. Rows from `rows` on do not
// exist.
DEVICE void rotate_rows_back(Sums &sums, const Angles &angles, long long token, int rows) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = half * 8 + lane_number() / 4;
        if (row >= rows) continue;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS / 2; chunk++) {
            rotate_back(sums[chunk] + half * 2, sums[chunk + CHUNKS / 2] + half * 2, angles,
                        token + row, chunk * 8 + lane_number() % 4 * 2);
        }
    }
}

// What the host knows of a tile. No query from `until` on sees its keys, and no key of a tile
// before `from` is seen by its queries.
struct TileSpan {
    unsigned until;
    unsigned from;
};

// The first tile of keys from `tile` on that a query from position `first` on sees, or `end`.
DEVICE int next_tile(const TileSpan *spans, int tile, int end, int first) {
    for (; tile < end; tile += 32) {
        int mine = tile + lane_number();
        unsigned seen = lanes_where(mine < end && (int)spans[mine].until > first);
        if (seen != 0) return tile + lowest_bit(seen);
    }
    return end;
}

// The `visible_until` of a tile of keys: a lane has that of one key of each part.
DEVICE void load_until(int (&until)[PARTS], const unsigned *visible_until, long long row_start,
                       int first_key, int seq) {
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        int key = first_key + part * PART + lane_number();
        until[part] = key < seq ? (int)visible_until[row_start + key] : 0;
    }
}

// How many of the scores of a warp are visible.
enum Visible { NONE, SOME, ALL };

// For queries from `first` on and keys from `first_key` on, of which a lane has its `until`.
DEVICE Visible visible(int until, int first, int first_key) {
    int last = first + 15, key = first_key + lane_number();
    if (lanes_where(key <= last && until > first) == 0) return NONE;
    return lanes_where(key <= first && until > last) == 0xffffffffu ? ALL : SOME;
}

// Hides the scores of keys that a query does not see. Rows are queries, columns are keys.
DEVICE void hide(Products &scores, int until, int first, int first_key) {
    int lane = lane_number();
#pragma unroll
    for (int n = 0; n < PART / 8; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int column = n * 8 + lane % 4 * 2 + i;
            int key_until = (int)from_lane((unsigned)until, column);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int query = first + half * 8 + lane / 4;
                if (first_key + column > query || query >= key_until) {
                    scores[n][half * 2 + i] = minus_infinity();
                }
            }
        }
    }
}
