// The backward pass. The scores are computed again, once with a block for each tile of queries
// (for their gradients), once with a block for each piece of a tile of keys (for those of keys and
// values), so that every sum has one owner and a fixed order.

// sum(output * grad_output) of this lane's two queries of a group, whose rows from `rows` on do not
// exist. `output` is that of the group's first query.
DEVICE void multiply_outputs(float (&products)[2], const Fragments &gradients, int group,
                             const Bf16 *output, int stride, int rows) {
    int row = lane_number() / 4, column = lane_number() % 4 * 2;
    products[0] = products[1] = 0.0f;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // The places of a fragment: its rows and the ones 8 below, then the same 8 columns on.
            int at = row + i % 2 * 8;
            const Bf16 *from = output + at * stride + step * 16 + i / 2 * 8 + column;
            unsigned a = at < rows ? load_global_word(from) : 0, b = gradients[step][group][i];
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
    int first = tile * TILE, row_of_warp = warp_number() * GROUPS * 16;
    int first_of_warp = first + row_of_warp;
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
    int output_width = sizes.output_width();
    copy_tile(queries, rows_of(qkv, width, column, row_start, first, seq));
    copy_tile(gradients, rows_of(grad_output, output_width, column, row_start, first, seq));
    copy_stage(0, key_tile);
    wait_for_copies();
    synchronize_block();
    Fragments query_rows, gradient_rows;
    load_rows(query_rows, queries, row_of_warp);
    load_rows(gradient_rows, gradients, row_of_warp);
    int until[PARTS];
    load_until(until, visible_until, row_start, key_tile * TILE, seq);

    // Of this lane's two queries of each group.
    float log_sum_to_2[GROUPS][2], products[GROUPS][2];
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
        int first_of_group = first_of_warp + group * 16;
        const Bf16 *outputs = output + (row_start + first_of_group) * output_width + column;
        multiply_outputs(products[group], gradient_rows, group, outputs, output_width,
                         seq - first_of_group);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int query = first_of_group + half * 8 + lane / 4;
            long long at = (row_start + query) * heads + head;
            log_sum_to_2[group][half] = query < seq ? log_sum_exp[at] * LOG2_E : 0.0f;
            if (query < seq && lane % 4 == 0) output_products[at] = products[group][half];
        }
    }
    Sums sums[GROUPS] = {};
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
            Visible seen = visible(until[part], first_of_warp, first_key);
            if (seen == NONE) continue;
            Products scores[GROUPS], grad_weights[GROUPS];
            multiply(scores, query_rows, keys, part * PART);
            multiply(grad_weights, gradient_rows, values, part * PART);
#pragma unroll
            for (int group = 0; group < GROUPS; group++) {
                if (seen == SOME) {
                    hide(scores[group], until[part], first_of_warp + group * 16, first_key);
                }
#pragma unroll
                for (int n = 0; n < PART / 8; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        float &score = scores[group][n][i];
                        float exponent = score * scale_to_2 - log_sum_to_2[group][i / 2];
                        float gradient = grad_weights[group][n][i] - products[group][i / 2];
                        score = exponential_of_2(exponent) * gradient;
                    }
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
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
        int row_of_group = row_of_warp + group * 16, first_of_group = first + row_of_group;
        rotate_rows_back(sums[group], {cosines, sines}, row_start + first_of_group,
                         seq - first_of_group);
        store_rows(sums[group], factors, stages, row_of_group, to, width, seq - first);
    }
}

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

// Where this thread's sums of a slot are, for a group of keys (`matrix` 0) or values (1). A number
// has those of all threads side by side.
DEVICE long long place_of_sums(unsigned slot, const Sizes &sizes, int key_head, int matrix,
                               int group) {
    long long number = ((long long)slot * sizes.key_value_heads + key_head) * 2 + matrix;
    return (number * GROUPS + group) * CHUNKS * 4 * THREADS + thread_number();
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
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 4 : 2)
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
    int first = (int)(pieces->tile % tiles) * TILE, row_of_warp = warp_number() * GROUPS * 16;
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
#pragma unroll
        for (int i = 0; i < 2 * TILE / THREADS; i++) {
            int at = i * THREADS + thread_number();
            const float *matrix = at < TILE ? log_sum_exp : output_products;
            int token = query + at % TILE;
            bool clear = token >= seq;
            const float *from = matrix + (row_start + (clear ? 0 : token)) * heads + head;
            copy_4(stage + 2 * TILE_BYTES + at * 4, from, clear);
        }
    };
    copy_tile(keys, rows_of(qkv, width, sizes.key_column(key_head), row_start, first, seq));
    copy_tile(values, rows_of(qkv, width, sizes.value_column(key_head), row_start, first, seq));
    copy_stage(0);

    // Of this lane's two keys of each group.
    int until[GROUPS][2];
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int key = first + row_of_warp + group * 16 + half * 8 + lane / 4;
            until[group][half] = key < seq ? (int)visible_until[row_start + key] : 0;
        }
    }
    Sums grad_keys[GROUPS] = {}, grad_values[GROUPS] = {};
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; number < count; number++) {
        wait_for_copies();
        synchronize_block();
        if (number + 1 < count) copy_stage(number + 1);
        unsigned queries = stages + number % 2 * STAGE_BYTES;
        unsigned gradients = queries + TILE_BYTES, of_queries = gradients + TILE_BYTES;

#pragma unroll 1
        for (int part = 0; part < TILE; part += PART) {
            // Rows are keys, columns queries.
            int first_query = (from + number % of_head) * TILE + part;
            int last_query = first_query + PART - 1, first_key = first + row_of_warp;
            bool any = false, all = first_key + 16 * GROUPS - 1 <= first_query;
#pragma unroll
            for (int group = 0; group < GROUPS; group++) {
                any = any || max(until[group][0], until[group][1]) > first_query;
                all = all && min(until[group][0], until[group][1]) > last_query;
            }
            if (lanes_where(any && first_key <= last_query) == 0) continue;
            bool hides = lanes_where(all) != 0xffffffffu;
            Products weights[GROUPS], grad_weights[GROUPS];
            multiply(weights, keys, row_of_warp, queries, part);
#pragma unroll
            for (int group = 0; group < GROUPS; group++) {
                if (hides) {
                    hide_keys(weights[group], until[group], first_key + group * 16, first_query);
                }
            }
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                float log_sums[2];
                load_shared_pair(log_sums, of_queries + (part + n * 8 + lane % 4 * 2) * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    float log_sum_to_2 = log_sums[i % 2] * LOG2_E;
#pragma unroll
                    for (int group = 0; group < GROUPS; group++) {
                        float &weight = weights[group][n][i];
                        weight = exponential_of_2(weight * scale_to_2 - log_sum_to_2);
                    }
                }
            }
            accumulate(grad_values, weights, gradients, part);
            multiply(grad_weights, values, row_of_warp, gradients, part);
#pragma unroll
            for (int n = 0; n < PART / 8; n++) {
                float products[2];
                load_shared_pair(products, of_queries + (TILE + part + n * 8 + lane % 4 * 2) * 4);
#pragma unroll
                for (int i = 0; i < 4; i++) {
#pragma unroll
                    for (int group = 0; group < GROUPS; group++) {
                        weights[group][n][i] *= grad_weights[group][n][i] - products[i % 2];
                    }
                }
            }
            accumulate(grad_keys, weights, queries, part);
        }
    }
    unsigned slot = pieces->slot;
    if (slot != WHOLE) {
#pragma unroll
        for (int group = 0; group < GROUPS; group++) {
            float *to = piece_sums + place_of_sums(slot, sizes, key_head, 0, group);
            keep_sums(grad_keys[group], to);
            to = piece_sums + place_of_sums(slot, sizes, key_head, 1, group);
            keep_sums(grad_values[group], to);
        }
        return;
    }
    // They pass through the tiles of keys and values, of which each warp reads its own rows alone.
    float scales[2] = {scale, scale}, ones[2] = {1.0f, 1.0f};
    Bf16 *to = grad_qkv + (row_start + first) * width;
    Bf16 *to_keys = to + sizes.key_column(key_head), *to_values = to + sizes.value_column(key_head);
    int rows = seq - first;
#pragma unroll
    for (int group = 0; group < GROUPS; group++) {
        int row_of_group = row_of_warp + group * 16, first_of_group = first + row_of_group;
        rotate_rows_back(grad_keys[group], {cosines, sines}, row_start + first_of_group,
                         seq - first_of_group);
        store_rows(grad_keys[group], scales, keys, row_of_group, to_keys, width, rows);
        store_rows(grad_values[group], ones, values, row_of_group, to_values, width, rows);
    }
}

// The gradients of the divided tiles, the sums of their pieces. The grid is
// (divided tiles, key_value_heads * CHUNKS * GROUPS): for each group of a head of keys and of
// values the pairs of chunks that are rotated together.
KERNEL void __launch_bounds__(THREADS)
    attention_add_pieces(const Divided *divided, const float *cosines, const float *sines,
                         const float *piece_sums, Bf16 *grad_qkv, int seq, int heads,
                         int key_value_heads, float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    divided += blockIdx.x;
    int group = blockIdx.y % GROUPS, chunk = blockIdx.y / GROUPS % (CHUNKS / 2);
    int matrix = blockIdx.y / GROUPS / (CHUNKS / 2) % 2, key_head = blockIdx.y / GROUPS / CHUNKS;
    // A slot's numbers of the first chunk, and those of the second.
    constexpr int SECOND = CHUNKS / 2 * 4 * THREADS;
    const float *from = piece_sums + place_of_sums(divided->from, sizes, key_head, matrix, group);
    long long slot_size = place_of_sums(1, sizes, 0, 0, 0) - place_of_sums(0, sizes, 0, 0, 0);
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
    int row = tile * TILE + (warp_number() * GROUPS + group) * 16 + lane_number() / 4;
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
