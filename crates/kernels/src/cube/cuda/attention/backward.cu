// The backward pass. The scores are computed again, once with a block for each tile of queries
// (for their gradients), once with a block for each piece of a tile of keys (for those of keys and
// values), so that every sum has one owner and a fixed order.

// sum(output * grad_output) of each query and head, [tokens, heads]. CHUNKS lanes for each.
KERNEL void __launch_bounds__(THREADS)
    attention_output_products(const Bf16 *output, const Bf16 *grad_output, float *found,
                              long long count) {
    long long number = (long long)blockIdx.x * THREADS + thread_number();
    float sum = 0.0f;
    if (number < count * CHUNKS) {
        Chunk a = load_global(output + number * 8), b = load_global(grad_output + number * 8);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            sum += first_of_pair(a.words[i]) * first_of_pair(b.words[i]);
            sum += second_of_pair(a.words[i]) * second_of_pair(b.words[i]);
        }
    }
#pragma unroll
    for (int bits = 1; bits < CHUNKS; bits *= 2) sum += from_partner(sum, bits);
    if (number < count * CHUNKS && number % CHUNKS == 0) found[number / CHUNKS] = sum;
}

// The gradient of the queries, in their columns of `grad_qkv`. The grid is
// (rows of the batch * tiles, heads).
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 4 : 2)
    attention_grad_query(const Bf16 *qkv, const unsigned *visible_until,
                         const TileSpan *spans, const float *log_sum_exp,
                         const float *output_products, const Bf16 *grad_output, Bf16 *grad_qkv,
                         int seq, int heads, int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int lane = lane_number();
    int tiles = sizes.tiles(), width = sizes.width();
    int tile = tiles - 1 - (int)blockIdx.x % tiles;
    int row = blockIdx.x / tiles, head = blockIdx.y, key_head = head / sizes.group();
    int first = tile * TILE, row_of_warp = warp_number() * 16;
    long long row_start = (long long)row * seq;
    spans += (long long)row * tiles;

    // Two stages of keys and values. Queries and gradients pass through the second.
    unsigned stages = shared_memory(), queries = stages + 2 * TILE_BYTES;
    unsigned gradients = queries + TILE_BYTES;
    auto copy_stage = [&](int number, int key_tile) {
        unsigned stage = stages + number % 2 * 2 * TILE_BYTES;
        int key = key_tile * TILE;
        copy_tile(stage,
                  rows_of(qkv, width, sizes.key_column(key_head), row_start, key, seq));
        copy_tile(stage + TILE_BYTES,
                  rows_of(qkv, width, sizes.value_column(key_head), row_start, key, seq));
    };
    int column = sizes.query_column(head);
    int key_tile = next_tile(spans, spans[tile].from, tile + 1, first);
    copy_tile(queries, rows_of(qkv, width, column, row_start, first, seq));
    copy_tile(gradients,
              rows_of(grad_output, sizes.output_width(), column, row_start, first, seq));
    copy_stage(0, key_tile);
    wait_for_copies();
    synchronize_block();
    Rows16 query_rows, gradient_rows;
    load_rows(query_rows, queries, row_of_warp);
    load_rows(gradient_rows, gradients, row_of_warp);
    int until[PARTS];
    load_until(until, visible_until, row_start, key_tile * TILE, seq);

    // Of this lane's two queries.
    float log_sum_to_2[2], products[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int query = first + row_of_warp + half * 8 + lane / 4;
        long long at = (row_start + query) * heads + head;
        log_sum_to_2[half] = query < seq ? log_sum_exp[at] * LOG2_E : 0.0f;
        products[half] = query < seq ? output_products[at] : 0.0f;
    }
    Sums sums = {};
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; key_tile <= tile; number++) {
        wait_for_copies();
        synchronize_block();
        int next = next_tile(spans, key_tile + 1, tile + 1, first);
        int next_until[PARTS];
        if (next <= tile) copy_stage(number + 1, next);
        load_until(next_until, visible_until, row_start, next * TILE, seq);

        unsigned keys = stages + number % 2 * 2 * TILE_BYTES, values = keys + TILE_BYTES;
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            int first_key = key_tile * TILE + part * PART;
            Visible seen = visible(until[part], first + row_of_warp, first_key);
            if (seen == NONE) continue;
            Products scores, grad_weights;
            multiply(scores, query_rows, keys, part * PART);
            if (seen == SOME) hide(scores, until[part], first + row_of_warp, first_key);
            multiply(grad_weights, gradient_rows, values, part * PART);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float exponent = scores[n][i] * scale_to_2 - log_sum_to_2[i / 2];
                    float gradient = grad_weights[n][i] - products[i / 2];
                    scores[n][i] = exponential_of_2(exponent) * gradient;
                }
            }
            accumulate(sums, scores, keys, part * PART);
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) until[part] = next_until[part];
        key_tile = next;
    }
    synchronize_block();
    float factors[2] = {scale, scale};
    Bf16 *to = grad_qkv + (row_start + first) * width + column;
    store_rows(sums, factors, stages, to, width, seq - first);
}

// Whether a warp keeps the fragments of its keys and values, or loads them for each part.
constexpr bool KEEPS_ROWS = HEAD_DIM == 64;

// Hides the scores of keys that a query does not see. Rows are keys, of which a lane has two and
// their `until`, and columns are queries.
DEVICE void hide_keys(Products &scores, const int (&until)[2], int first_key, int first_query) {
#pragma unroll
    for (int n = 0; n < PART / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int query = first_query + n * 8 + lane_number() % 4 * 2 + i % 2;
            int key = first_key + i / 2 * 8 + lane_number() / 4;
            if (key > query || query >= until[i / 2]) scores[n][i] = minus_infinity();
        }
    }
}

// Work for a tile of keys, which is numbered in the batch: the tiles of queries from `from` to
// `until`, numbered in their row. Keys that many queries see, as those of a prefix that all
// sequences share, are divided into pieces: their block alone would run while all others wait.
struct Piece {
    unsigned tile;
    unsigned from;
    unsigned until;
    // Where its sums are kept, or WHOLE where the tile is not divided.
    unsigned slot;
};
constexpr unsigned WHOLE = 0xffffffffu;

// A tile of keys whose pieces have the slots from `from` to `until`.
struct Divided {
    unsigned tile;
    unsigned from;
    unsigned until;
};

// Where this thread's sums of a slot are, for keys (`matrix` 0) or values (1). A number has those
// of all threads side by side.
DEVICE long long place_of_sums(unsigned slot, const Sizes &sizes, int key_head, int matrix) {
    long long number = ((long long)slot * sizes.key_value_heads + key_head) * 2 + matrix;
    return number * TILE * HEAD_DIM + thread_number();
}

DEVICE void keep_sums(const Sums &sums, float *to) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
#pragma unroll
        for (int i = 0; i < 4; i++) to[(chunk * 4 + i) * THREADS] = sums[chunk][i];
    }
}

DEVICE void add_sums(Sums &sums, const float *from) {
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
#pragma unroll
        for (int i = 0; i < 4; i++) sums[chunk][i] += from[(chunk * 4 + i) * THREADS];
    }
}

// Writes the gradients of a tile of keys and values. They pass through two tiles of shared memory.
DEVICE void store_gradients(const Sums &grad_keys, const Sums &grad_values, unsigned shared,
                            Bf16 *grad_qkv, const Sizes &sizes, unsigned tile, int key_head,
                            float scale) {
    int width = sizes.width(), first = tile % sizes.tiles() * TILE;
    long long row_start = (long long)(tile / sizes.tiles()) * sizes.seq;
    float scales[2] = {scale, scale}, ones[2] = {1.0f, 1.0f};
    Bf16 *to = grad_qkv + (row_start + first) * width;
    int rows = sizes.seq - first;
    store_rows(grad_keys, scales, shared, to + sizes.key_column(key_head), width, rows);
    store_rows(grad_values, ones, shared + TILE_BYTES, to + sizes.value_column(key_head), width,
               rows);
}

// The gradients of keys and values, in their columns of `grad_qkv`, or a piece's part of them. The
// grid is (pieces, key_value_heads).
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 3 : 2)
    attention_grad_key_value(const Bf16 *qkv, const unsigned *visible_until, const Piece *pieces,
                             const float *log_sum_exp, const float *output_products,
                             const Bf16 *grad_output, Bf16 *grad_qkv, float *piece_sums, int seq,
                             int heads, int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int lane = lane_number();
    int tiles = sizes.tiles(), width = sizes.width();
    pieces += blockIdx.x;
    int row = pieces->tile / tiles, key_head = blockIdx.y;
    int first = (int)(pieces->tile % tiles) * TILE, row_of_warp = warp_number() * 16;
    long long row_start = (long long)row * seq;
    // The tiles of queries, for each query head of the group.
    int from = pieces->from, of_head = pieces->until - from, count = of_head * sizes.group();

    // A stage has a tile of queries and of gradients of the output, and of each query the
    // log-sum-exp and the output's product.
    unsigned keys = shared_memory(), values = keys + TILE_BYTES, stages = values + TILE_BYTES;
    constexpr unsigned STAGE_BYTES = 2 * TILE_BYTES + 2 * TILE * 4;
    auto copy_stage = [&](int number) {
        unsigned stage = stages + number % 2 * STAGE_BYTES;
        int head = key_head * sizes.group() + number / of_head;
        int query = (from + number % of_head) * TILE;
        int column = sizes.query_column(head);
        copy_tile(stage, rows_of(qkv, width, column, row_start, query, seq));
        copy_tile(stage + TILE_BYTES,
                  rows_of(grad_output, sizes.output_width(), column, row_start, query, seq));
        const float *matrix = thread_number() < TILE ? log_sum_exp : output_products;
        query += thread_number() % TILE;
        bool clear = query >= seq;
        const float *from = matrix + (row_start + (clear ? 0 : query)) * heads + head;
        copy_4(stage + 2 * TILE_BYTES + thread_number() * 4, from, clear);
    };
    copy_tile(keys, rows_of(qkv, width, sizes.key_column(key_head), row_start, first, seq));
    copy_tile(values, rows_of(qkv, width, sizes.value_column(key_head), row_start, first, seq));
    copy_stage(0);

    // Of this lane's two keys.
    int until[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int key = first + row_of_warp + half * 8 + lane / 4;
        until[half] = key < seq ? (int)visible_until[row_start + key] : 0;
    }
    Sums grad_keys = {}, grad_values = {};
    Rows16 key_rows, value_rows;
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; number < count; number++) {
        wait_for_copies();
        synchronize_block();
        if (number + 1 < count) copy_stage(number + 1);
        if (KEEPS_ROWS && number == 0) {
            load_rows(key_rows, keys, row_of_warp);
            load_rows(value_rows, values, row_of_warp);
        }
        unsigned queries = stages + number % 2 * STAGE_BYTES;
        unsigned gradients = queries + TILE_BYTES, of_queries = gradients + TILE_BYTES;

#pragma unroll 1
        for (int part = 0; part < TILE; part += PART) {
            // Rows are keys, columns queries.
            int first_query = (from + number % of_head) * TILE + part;
            int last_query = first_query + PART - 1, first_key = first + row_of_warp;
            bool any = max(until[0], until[1]) > first_query && first_key <= last_query;
            if (lanes_where(any) == 0) continue;
            bool all = min(until[0], until[1]) > last_query && first_key + 15 <= first_query;
            Products weights, grad_weights;
            if (!KEEPS_ROWS) load_rows(key_rows, keys, row_of_warp);
            multiply(weights, key_rows, queries, part);
            if (lanes_where(all) != 0xffffffffu) hide_keys(weights, until, first_key, first_query);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                int column = n * 8 + lane % 4 * 2;
                float log_sums[2];
                load_shared_pair(log_sums, of_queries + (part + column) * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float exponent = weights[n][i] * scale_to_2 - log_sums[i % 2] * LOG2_E;
                    weights[n][i] = exponential_of_2(exponent);
                }
            }
            accumulate(grad_values, weights, gradients, part);
            if (!KEEPS_ROWS) load_rows(value_rows, values, row_of_warp);
            multiply(grad_weights, value_rows, gradients, part);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                int column = n * 8 + lane % 4 * 2;
                float products[2];
                load_shared_pair(products, of_queries + (TILE + part + column) * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) weights[n][i] *= grad_weights[n][i] - products[i % 2];
            }
            accumulate(grad_keys, weights, queries, part);
        }
    }
    if (pieces->slot == WHOLE) {
        store_gradients(grad_keys, grad_values, keys, grad_qkv, sizes, pieces->tile, key_head,
                        scale);
    } else {
        unsigned slot = pieces->slot;
        keep_sums(grad_keys, piece_sums + place_of_sums(slot, sizes, key_head, 0));
        keep_sums(grad_values, piece_sums + place_of_sums(slot, sizes, key_head, 1));
    }
}

// The gradients of the divided tiles, the sums of their pieces. The grid is
// (divided tiles, key_value_heads).
KERNEL void __launch_bounds__(THREADS)
    attention_add_pieces(const Divided *divided, const float *piece_sums, Bf16 *grad_qkv, int seq,
                         int heads, int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int key_head = blockIdx.y;
    divided += blockIdx.x;
    Sums grad_keys = {}, grad_values = {};
    for (unsigned slot = divided->from; slot < divided->until; slot++) {
        add_sums(grad_keys, piece_sums + place_of_sums(slot, sizes, key_head, 0));
        add_sums(grad_values, piece_sums + place_of_sums(slot, sizes, key_head, 1));
    }
    store_gradients(grad_keys, grad_values, shared_memory(), grad_qkv, sizes, divided->tile,
                    key_head, scale);
}
