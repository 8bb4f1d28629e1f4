// The backward pass. The scores are computed again, once with a block for each tile of queries
// (for their gradients), once with a block for each tile of keys (for those of keys and values),
// so that every sum has one owner and a fixed order.

// sum(output * grad_output) of each query and head, [tokens, heads]. CHUNKS lanes for each.
KERNEL void __launch_bounds__(THREADS, BLOCKS)
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
KERNEL void __launch_bounds__(THREADS, BLOCKS)
    attention_grad_query(const Bf16 *qkv, const unsigned *visible_until,
                         const unsigned *tile_until, const float *log_sum_exp,
                         const float *output_products, const Bf16 *grad_output, Bf16 *grad_qkv,
                         int seq, int heads, int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int lane = lane_number();
    int tiles = sizes.tiles(), width = sizes.width();
    int tile = tiles - 1 - (int)blockIdx.x % tiles;
    int row = blockIdx.x / tiles, head = blockIdx.y, key_head = head / sizes.group();
    int first = tile * TILE, row_of_warp = warp_number() * 16;
    long long row_start = (long long)row * seq;
    tile_until += (long long)row * tiles;

    unsigned queries = shared_memory(), gradients = queries + TILE_BYTES;
    unsigned stages = gradients + TILE_BYTES;
    auto copy_stage = [&](int number, int key_tile) {
        unsigned stage = stages + number % 2 * 2 * TILE_BYTES;
        int key = key_tile * TILE;
        copy_tile(stage,
                  rows_of(qkv, width, sizes.key_column(key_head), row_start, key, seq));
        copy_tile(stage + TILE_BYTES,
                  rows_of(qkv, width, sizes.value_column(key_head), row_start, key, seq));
    };
    int column = sizes.query_column(head);
    int key_tile = next_tile(tile_until, 0, tile + 1, first);
    copy_tile(queries, rows_of(qkv, width, column, row_start, first, seq));
    copy_tile(gradients,
              rows_of(grad_output, sizes.output_width(), column, row_start, first, seq));
    copy_stage(0, key_tile);

    // Of this lane's two queries.
    float log_sum_to_2[2], products[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int query = first + row_of_warp + half * 8 + lane / 4;
        long long at = (row_start + query) * heads + head;
        log_sum_to_2[half] = query < seq ? log_sum_exp[at] * LOG2_E : 0.0f;
        products[half] = query < seq ? output_products[at] : 0.0f;
    }
    float sums[CHUNKS][4] = {};
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; key_tile <= tile; number++) {
        wait_for_copies();
        synchronize_block();
        unsigned keys = stages + number % 2 * 2 * TILE_BYTES, values = keys + TILE_BYTES;
        unsigned until[2];
        load_until(until, visible_until, row_start, key_tile * TILE, seq);
        int next = next_tile(tile_until, key_tile + 1, tile + 1, first);
        if (next <= tile) copy_stage(number + 1, next);

        float scores[TILE / 8][4], grad_weights[TILE / 8][4];
        unsigned rows[STEPS][4];
        load_rows(rows, queries, row_of_warp);
        multiply(scores, rows, keys, 0);
        hide(scores, until, first + row_of_warp, key_tile * TILE);
        load_rows(rows, gradients, row_of_warp);
        multiply(grad_weights, rows, values, 0);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float weight =
                    exponential_of_2(scores[n][i] * scale_to_2 - log_sum_to_2[i / 2]);
                scores[n][i] = weight * (grad_weights[n][i] - products[i / 2]);
            }
        }
        accumulate(sums, scores, keys, 0);
        key_tile = next;
    }
    float factors[2] = {scale, scale};
    Bf16 *to = grad_qkv + (row_start + first) * width + column;
    store_rows(sums, factors, queries, to, width, seq - first);
}

// The queries of one product with the keys of a tile. Fewer leave registers for longer sums.
constexpr int QUERIES = HEAD_DIM == 64 ? 64 : 32;

// The gradients of keys and values, in their columns of `grad_qkv`. The grid is
// (rows of the batch * tiles, key_value_heads).
KERNEL void __launch_bounds__(THREADS, BLOCKS)
    attention_grad_key_value(const Bf16 *qkv, const unsigned *visible_until,
                             const unsigned *tile_until, const float *log_sum_exp,
                             const float *output_products, const Bf16 *grad_output,
                             Bf16 *grad_qkv, int seq, int heads, int key_value_heads,
                             float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int lane = lane_number();
    int tiles = sizes.tiles(), width = sizes.width();
    int tile = blockIdx.x % tiles, row = blockIdx.x / tiles, key_head = blockIdx.y;
    int first = tile * TILE, row_of_warp = warp_number() * 16;
    long long row_start = (long long)row * seq;
    // The tiles of queries that see a key, for each query head of the group.
    int end = (tile_until[(long long)row * tiles + tile] + TILE - 1) / TILE;
    int count = (end - tile) * sizes.group();

    // A stage has a tile of queries and of gradients of the output, and of each query the
    // log-sum-exp and the output's product.
    unsigned keys = shared_memory(), values = keys + TILE_BYTES, stages = values + TILE_BYTES;
    constexpr unsigned STAGE_BYTES = 2 * TILE_BYTES + 2 * TILE * 4;
    auto copy_stage = [&](int number) {
        unsigned stage = stages + number % 2 * STAGE_BYTES;
        int head = key_head * sizes.group() + number / (end - tile);
        int query = (tile + number % (end - tile)) * TILE;
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
    float grad_keys[CHUNKS][4] = {}, grad_values[CHUNKS][4] = {};
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; number < count; number++) {
        wait_for_copies();
        synchronize_block();
        if (number + 1 < count) copy_stage(number + 1);
        unsigned queries = stages + number % 2 * STAGE_BYTES;
        unsigned gradients = queries + TILE_BYTES, of_queries = gradients + TILE_BYTES;
        int first_query = (tile + number % (end - tile)) * TILE;
        bool sees_all = first_query + TILE <= min(until[0], until[1]);
        bool hides = first_query == first || lanes_where(sees_all) != 0xffffffffu;

#pragma unroll 1
        for (int part = 0; part < TILE; part += QUERIES) {
            // Rows are keys, columns queries.
            float weights[QUERIES / 8][4], grad_weights[QUERIES / 8][4];
            unsigned rows[STEPS][4];
            load_rows(rows, keys, row_of_warp);
            multiply(weights, rows, queries, part);
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++) {
                int column = part + n * 8 + lane % 4 * 2;
                float log_sums[2];
                load_shared_pair(log_sums, of_queries + column * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int query = first_query + column + i % 2;
                    int key = first + row_of_warp + i / 2 * 8 + lane / 4;
                    float exponent = weights[n][i] * scale_to_2 - log_sums[i % 2] * LOG2_E;
                    if (hides && (key > query || query >= until[i / 2])) {
                        exponent = minus_infinity();
                    }
                    weights[n][i] = exponential_of_2(exponent);
                }
            }
            accumulate(grad_values, weights, gradients, part);
            load_rows(rows, values, row_of_warp);
            multiply(grad_weights, rows, gradients, part);
#pragma unroll
            for (int n = 0; n < QUERIES / 8; n++) {
                int column = part + n * 8 + lane % 4 * 2;
                float products[2];
                load_shared_pair(products, of_queries + (TILE + column) * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) weights[n][i] *= grad_weights[n][i] - products[i % 2];
            }
            accumulate(grad_keys, weights, queries, part);
        }
    }
    float scales[2] = {scale, scale}, ones[2] = {1.0f, 1.0f};
    Bf16 *to = grad_qkv + (row_start + first) * width;
    store_rows(grad_keys, scales, keys, to + sizes.key_column(key_head), width, seq - first);
    store_rows(grad_values, ones, values, to + sizes.value_column(key_head), width, seq - first);
}
