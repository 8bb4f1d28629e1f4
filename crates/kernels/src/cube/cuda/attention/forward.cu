// The forward pass, a block for each tile of queries of a head, with an online softmax over the
// tiles of keys. While one tile is multiplied, the next one is copied.

DEVICE float sum_of_four(float x) {
    x += from_partner(x, 1);
    return x + from_partner(x, 2);
}

DEVICE float greatest_of_four(float x) {
    x = fmaxf(x, from_partner(x, 1));
    return fmaxf(x, from_partner(x, 2));
}

// Makes weights of scores, and rescales the sums to their new maximum. The four lanes that hold a
// row have the same maximum, and each the total of its own columns.
DEVICE void weigh(Products (&scores)[PARTS], Sums &sums, float (&highest)[2], float (&total)[2],
                  float scale) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float greatest = highest[half];
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
            const float *score = &scores[n / (PART / 8)][n % (PART / 8)][half * 2];
            greatest = fmaxf(greatest, fmaxf(score[0], score[1]));
        }
        greatest = greatest_of_four(greatest);
        // A row may have seen no key yet.
        float offset = greatest == minus_infinity() ? 0.0f : greatest * scale;
        float factor = exponential_of_2(highest[half] * scale - offset);
        highest[half] = greatest;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
            float *score = &scores[n / (PART / 8)][n % (PART / 8)][half * 2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                score[i] = exponential_of_2(score[i] * scale - offset);
                sum += score[i];
            }
        }
        total[half] = total[half] * factor + sum;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            sums[chunk][half * 2] *= factor;
            sums[chunk][half * 2 + 1] *= factor;
        }
    }
}

// `output` is [tokens, heads * head_dim], `log_sum_exp` [tokens, heads]. The grid is
// (rows of the batch * tiles, heads), and each tile has a span.
KERNEL void __launch_bounds__(THREADS, HEAD_DIM == 64 ? 4 : 3)
    attention_forward(const Bf16 *qkv, const unsigned *visible_until, const TileSpan *spans,
                      Bf16 *output, float *log_sum_exp, int seq, int heads, int key_value_heads,
                      float scale) {
    Sizes sizes = {seq, heads, key_value_heads};
    int lane = lane_number();
    int tiles = sizes.tiles(), width = sizes.width();
    // Late queries see more keys, so that their blocks begin first.
    int tile = tiles - 1 - (int)blockIdx.x % tiles;
    int row = blockIdx.x / tiles, head = blockIdx.y, key_head = head / sizes.group();
    int first = tile * TILE, first_of_warp = first + warp_number() * 16;
    long long row_start = (long long)row * seq;
    spans += (long long)row * tiles;

    // Two stages of keys and values. The queries pass through the second.
    unsigned stages = shared_memory(), queries = stages + 2 * TILE_BYTES;
    auto copy_stage = [&](int number, int key_tile) {
        unsigned stage = stages + number % 2 * 2 * TILE_BYTES;
        int key = key_tile * TILE;
        copy_tile(stage,
                  rows_of(qkv, width, sizes.key_column(key_head), row_start, key, seq));
        copy_tile(stage + TILE_BYTES,
                  rows_of(qkv, width, sizes.value_column(key_head), row_start, key, seq));
    };
    int key_tile = next_tile(spans, spans[tile].from, tile + 1, first);
    copy_tile(queries, rows_of(qkv, width, sizes.query_column(head), row_start, first, seq));
    copy_stage(0, key_tile);
    wait_for_copies();
    synchronize_block();
    Rows16 query_rows;
    load_rows(query_rows, queries, warp_number() * 16);
    int until[PARTS];
    load_until(until, visible_until, row_start, key_tile * TILE, seq);

    Sums sums = {};
    float highest[2] = {minus_infinity(), minus_infinity()};
    float total[2] = {0.0f, 0.0f};
    float scale_to_2 = scale * LOG2_E;
    for (int number = 0; key_tile <= tile; number++) {
        wait_for_copies();
        synchronize_block();
        int next = next_tile(spans, key_tile + 1, tile + 1, first);
        int next_until[PARTS];
        if (next <= tile) copy_stage(number + 1, next);
        load_until(next_until, visible_until, row_start, next * TILE, seq);

        unsigned keys = stages + number % 2 * 2 * TILE_BYTES, values = keys + TILE_BYTES;
        Products scores[PARTS];
        Visible seen[PARTS];
        bool any = false;
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            int first_key = key_tile * TILE + part * PART;
            seen[part] = visible(until[part], first_of_warp, first_key);
            any = any || seen[part] != NONE;
            if (seen[part] == NONE) {
                fill(scores[part], minus_infinity());
                continue;
            }
            multiply(scores[part], query_rows, keys, part * PART);
            if (seen[part] == SOME) hide(scores[part], until[part], first_of_warp, first_key);
        }
        if (any) {
            weigh(scores, sums, highest, total, scale_to_2);
#pragma unroll
            for (int part = 0; part < PARTS; part++) {
                if (seen[part] != NONE) accumulate(sums, scores[part], values, part * PART);
            }
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) until[part] = next_until[part];
        key_tile = next;
    }
    synchronize_block();

    float factors[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = sum_of_four(total[half]);
        int query = first_of_warp + half * 8 + lane / 4;
        factors[half] = 1.0f / sum;
        if (query < seq && lane % 4 == 0) {
            log_sum_exp[(row_start + query) * heads + head] =
                highest[half] * scale + logarithm_to_2(sum) * LN_2;
        }
    }
    Bf16 *to = output + (row_start + first) * sizes.output_width() + sizes.query_column(head);
    store_rows(sums, factors, stages, to, sizes.output_width(), seq - first);
}
