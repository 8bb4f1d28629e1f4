// The backward pass. The scores are computed again, once with a block for each tile of queries
// (for their gradients), once with a block for each piece of a tile of keys (for those of keys and
// values), so that every sum has one owner and a fixed order.

// sum(output * grad_output) of this lane's two queries, of a tile whose rows from `rows` on do not
// exist. `output` is that of the warp's first query.
DEVICE void multiply_outputs(float (&products)[2], const Rows16 &gradients, const Bf16 *output,
                             int stride, int rows) {
    int row = lane_number() / 4, column = lane_number() % 4 * 2;
    products[0] = products[1] = 0.0f;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // The places of a fragment: its rows and the ones 8 below, then the same 8 columns on.
            int at = row + i % 2 * 8;
            const Bf16 *from = output + at * stride + step * 16 + i / 2 * 8 + column;
            unsigned a = at < rows ? load_global_word(from) : 0, b = gradients[step][i];
            products[i % 2] += first_of_pair(a) * first_of_pair(b);
            products[i % 2] += second_of_pair(a) * second_of_pair(b);
        }
    }
    products[0] = sum_of_four(products[0]);
    products[1] = sum_of_four(products[1]);
}

// The gradient of the queries before their rotation, in their columns of `grad_qkv`, and
// sum(output * grad_output) of each query and head, [tokens, heads]. The grid is
// (rows of the batch * tiles, heads).
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 4 : 2)
    attention_grad_query(const Bf16 *qkv, const unsigned *visible_until,
                         const TileSpan *spans, const float *cosines, const float *sines,
                         const float *log_sum_exp, const Bf16 *output, float *output_products,
                         const Bf16 *grad_output, Bf16 *grad_qkv, int seq, int heads,
                         int key_value_heads, float scale) {
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
    int first_of_warp = first + row_of_warp, output_width = sizes.output_width();
    const Bf16 *outputs = output + (row_start + first_of_warp) * output_width + column;
    multiply_outputs(products, gradient_rows, outputs, output_width, seq - first_of_warp);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int query = first_of_warp + half * 8 + lane / 4;
        long long at = (row_start + query) * heads + head;
        log_sum_to_2[half] = query < seq ? log_sum_exp[at] * LOG2_E : 0.0f;
        if (query < seq && lane % 4 == 0) output_products[at] = products[half];
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
    rotate_rows_back(sums, {cosines, sines}, row_start + first_of_warp, seq - first_of_warp);
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

// The gradients of keys, before their rotation, and values, in their columns of `grad_qkv`, or a
// piece's part of them. The grid is (pieces, key_value_heads).
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 3 : 2)
    attention_grad_key_value(const Bf16 *qkv, const unsigned *visible_until, const Piece *pieces,
                             const float *cosines, const float *sines, const float *log_sum_exp,
                             const float *output_products, const Bf16 *grad_output, Bf16 *grad_qkv,
                             float *piece_sums, int seq, int heads, int key_value_heads,
                             float scale) {
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
    unsigned slot = pieces->slot;
    if (slot != WHOLE) {
        keep_sums(grad_keys, piece_sums + place_of_sums(slot, sizes, key_head, 0));
        keep_sums(grad_values, piece_sums + place_of_sums(slot, sizes, key_head, 1));
        return;
    }
    // They pass through the tiles of keys and values, of which each warp reads its own rows alone.
    int first_of_warp = first + row_of_warp;
    rotate_rows_back(grad_keys, {cosines, sines}, row_start + first_of_warp, seq - first_of_warp);
    float scales[2] = {scale, scale}, ones[2] = {1.0f, 1.0f};
    Bf16 *to = grad_qkv + (row_start + first) * width;
    store_rows(grad_keys, scales, keys, to + sizes.key_column(key_head), width, seq - first);
    store_rows(grad_values, ones, values, to + sizes.value_column(key_head), width, seq - first);
}

// The gradients of the divided tiles, the sums of their pieces. The grid is
// (divided tiles, key_value_heads * CHUNKS): for each head of keys and of values the pairs of
// chunks that are rotated together.
KERNEL void __launch_bounds__(THREADS)
    attention_add_pieces(const Divided *divided, const float *cosines, const float *sines,
                         const float *piece_sums, Bf16 *grad_qkv, int seq, int heads,
                         int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    divided += blockIdx.x;
    int key_head = blockIdx.y / CHUNKS, matrix = blockIdx.y % CHUNKS / (CHUNKS / 2);
    int chunk = blockIdx.y % (CHUNKS / 2);
    // A slot's numbers of the first chunk, and those of the second.
    constexpr int SECOND = CHUNKS / 2 * 4 * THREADS;
    const float *from = piece_sums + place_of_sums(divided->from, sizes, key_head, matrix);
    long long slot_size = place_of_sums(1, sizes, 0, 0) - place_of_sums(0, sizes, 0, 0);
    from += chunk * 4 * THREADS;
    float first_sums[4] = {}, second_sums[4] = {};
#pragma unroll 4
    for (unsigned slot = divided->from; slot < divided->until; slot++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            first_sums[i] += from[i * THREADS];
            second_sums[i] += from[SECOND + i * THREADS];
        }
        from += slot_size;
    }
    int tile = divided->tile % sizes.tiles();
    long long row_start = (long long)(divided->tile / sizes.tiles()) * seq;
    int row = tile * TILE + warp_number() * 16 + lane_number() / 4;
    int columns = matrix == 0 ? sizes.key_column(key_head) : sizes.value_column(key_head);
    int column = chunk * 8 + lane_number() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++, row += 8) {
        if (row >= seq) continue;
        float *first = first_sums + half * 2, *second = second_sums + half * 2;
        if (matrix == 0) {
            rotate_back(first, second, {cosines, sines}, row_start + row, column);
            for (int i = 0; i < 2; i++) first[i] *= scale, second[i] *= scale;
        }
        Bf16 *to = grad_qkv + (row_start + row) * sizes.width() + columns + column;
        store_global_word(to, round_pair(first[0], first[1]));
        store_global_word(to + HEAD_DIM / 2, round_pair(second[0], second[1]));
    }
}
