//! The backward pass of attention. It computes the scores again, once with a cube for each tile of
//! queries (for their gradients), once with a cube for each tile of keys (for those of keys and
//! values), so that every sum has one owner and a fixed order.

use burn_cubecl::cubecl;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::heads::Heads;
use super::tile::{SQUARE, Tile, accumulate, load, no_sums, products, store};

/// `sum(output * grad_output)` of each query and head, `[tokens, heads]`. A unit for each.
#[cube(launch)]
pub(super) fn output_products_kernel<F: Float>(
    output: &[F],
    grad_output: &[F],
    found: &mut [f32],
    #[comptime] head_dim: usize,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS < found.len() {
        let first = ABSOLUTE_POS * head_dim;
        let mut sum = f32::new(0.0);
        for d in 0..head_dim {
            sum += f32::cast_from(output[first + d]) * f32::cast_from(grad_output[first + d]);
        }
        found[ABSOLUTE_POS] = sum;
    }
}

/// The gradient of the queries, in their columns of `grad_qkv`.
#[cube(launch)]
pub(super) fn grad_query_kernel<F: Float>(
    qkv: &[F],
    visible_until: &[u32],
    tile_until: &[u32],
    log_sum_exp: &[f32],
    output_products: &[f32],
    grad_output: &[F],
    grad_qkv: &mut [F],
    batch: usize,
    seq: usize,
    scale: f32,
    #[comptime] heads: Heads,
    #[comptime] tile: Tile,
    #[define(F)] _element: ElemType,
) {
    let side = comptime!(tile.side);
    let groups = comptime!(tile.groups());
    let head_dim = comptime!(tile.head_dim);
    let query_heads = comptime!(heads.query);
    let width = comptime!(heads.width(tile.head_dim));
    let output_width = comptime!(heads.query * tile.head_dim);
    let tiles = seq.div_ceil(side);
    let head = CUBE_POS % query_heads;
    let first = CUBE_POS / query_heads % tiles * side;
    let row = CUBE_POS / query_heads / tiles;
    if row >= batch {
        terminate!();
    }
    let key_column = (query_heads + head / comptime!(heads.group())) * head_dim;
    let value_column = key_column + comptime!(heads.key_value * tile.head_dim);
    let column = head * head_dim;
    let row_start = row * seq;
    let row_end = row_start + seq;
    let unit = UNIT_POS as usize;
    let key_group = unit % groups;
    let query = unit / groups * SQUARE;

    let mut queries = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(tile.side * (tile.side + 1)));

    let start = row_start + first;
    load(&mut queries, qkv, start, row_end, width, column, tile);
    load(
        &mut gradients,
        grad_output,
        start,
        row_end,
        output_width,
        column,
        tile,
    );
    let mut sums = no_sums(tile);

    let end = min(first + side, seq);
    let mut first_key = 0usize;
    while first_key < end {
        if tile_until[row * tiles + first_key / side] as usize > first {
            let start = row_start + first_key;
            sync_cube();
            load(&mut keys, qkv, start, row_end, width, value_column, tile);
            sync_cube();
            let grad_weights = products(&gradients, query, &keys, key_group * SQUARE, tile);
            sync_cube();
            load(&mut keys, qkv, start, row_end, width, key_column, tile);
            sync_cube();
            let found = products(&queries, query, &keys, key_group * SQUARE, tile);
            #[unroll]
            for j in 0..SQUARE {
                let key = first_key + key_group * SQUARE + j;
                let mut until = 0usize;
                if key < seq {
                    until = visible_until[row_start + key] as usize;
                }
                #[unroll]
                for i in 0..SQUARE {
                    let position = first + query + i;
                    let mut gradient = f32::new(0.0);
                    if key <= position && position < until {
                        let at = (row_start + position) * query_heads + head;
                        let n = i * SQUARE + j;
                        let weight = (found[n] * scale - log_sum_exp[at]).exp();
                        gradient = weight * (grad_weights[n] - output_products[at]);
                    }
                    scores[(query + i) * (side + 1) + key_group * SQUARE + j] = gradient;
                }
            }
            sync_cube();
            accumulate(&mut sums, &scores, query, &keys, key_group, tile);
        }
        first_key += side;
    }
    let start = row_start + first + query;
    store(
        &sums, grad_qkv, start, row_end, width, column, key_group, scale, tile,
    );
}

/// The gradients of keys and values, in their columns of `grad_qkv`.
#[cube(launch)]
pub(super) fn grad_key_value_kernel<F: Float>(
    qkv: &[F],
    visible_until: &[u32],
    tile_until: &[u32],
    log_sum_exp: &[f32],
    output_products: &[f32],
    grad_output: &[F],
    grad_qkv: &mut [F],
    batch: usize,
    seq: usize,
    scale: f32,
    #[comptime] heads: Heads,
    #[comptime] tile: Tile,
    #[define(F)] _element: ElemType,
) {
    let side = comptime!(tile.side);
    let groups = comptime!(tile.groups());
    let head_dim = comptime!(tile.head_dim);
    let query_heads = comptime!(heads.query);
    let key_value_heads = comptime!(heads.key_value);
    let width = comptime!(heads.width(tile.head_dim));
    let output_width = comptime!(heads.query * tile.head_dim);
    let tiles = seq.div_ceil(side);
    let key_head = CUBE_POS % key_value_heads;
    let first = CUBE_POS / key_value_heads % tiles * side;
    let row = CUBE_POS / key_value_heads / tiles;
    if row >= batch {
        terminate!();
    }
    let key_column = (query_heads + key_head) * head_dim;
    let value_column = key_column + comptime!(heads.key_value * tile.head_dim);
    let row_start = row * seq;
    let row_end = row_start + seq;
    let unit = UNIT_POS as usize;
    let group = unit % groups;
    // Of the square of scores: this unit's keys are rows, and its queries columns.
    let key = unit / groups * SQUARE;

    let mut keys = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut values = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut queries = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(tile.side * (tile.side + 1)));

    let start = row_start + first;
    load(&mut keys, qkv, start, row_end, width, key_column, tile);
    load(&mut values, qkv, start, row_end, width, value_column, tile);
    let mut grad_keys = no_sums(tile);
    let mut grad_values = no_sums(tile);

    let end = tile_until[row * tiles + first / side] as usize;
    for member in 0..comptime!(heads.group()) {
        let head = key_head * comptime!(heads.group()) + member;
        let column = head * head_dim;
        let mut first_query = first;
        while first_query < end {
            let start = row_start + first_query;
            sync_cube();
            load(&mut queries, qkv, start, row_end, width, column, tile);
            sync_cube();
            let mut weights = products(&keys, key, &queries, group * SQUARE, tile);
            #[unroll]
            for i in 0..SQUARE {
                let position = first + key + i;
                let mut until = 0usize;
                if position < seq {
                    until = visible_until[row_start + position] as usize;
                }
                #[unroll]
                for j in 0..SQUARE {
                    let query = first_query + group * SQUARE + j;
                    let n = i * SQUARE + j;
                    let mut weight = f32::new(0.0);
                    if position <= query && query < until {
                        let at = (row_start + query) * query_heads + head;
                        weight = (weights[n] * scale - log_sum_exp[at]).exp();
                    }
                    weights[n] = weight;
                    scores[(key + i) * (side + 1) + group * SQUARE + j] = weight;
                }
            }
            sync_cube();
            load(
                &mut queries,
                grad_output,
                start,
                row_end,
                output_width,
                column,
                tile,
            );
            sync_cube();
            accumulate(&mut grad_values, &scores, key, &queries, group, tile);
            let grad_weights = products(&values, key, &queries, group * SQUARE, tile);
            sync_cube();
            #[unroll]
            for i in 0..SQUARE {
                #[unroll]
                for j in 0..SQUARE {
                    let query = first_query + group * SQUARE + j;
                    let n = i * SQUARE + j;
                    let mut gradient = f32::new(0.0);
                    if query < seq {
                        let at = (row_start + query) * query_heads + head;
                        gradient = weights[n] * (grad_weights[n] - output_products[at]);
                    }
                    scores[(key + i) * (side + 1) + group * SQUARE + j] = gradient;
                }
            }
            load(&mut queries, qkv, start, row_end, width, column, tile);
            sync_cube();
            accumulate(&mut grad_keys, &scores, key, &queries, group, tile);
            first_query += side;
        }
    }
    let start = row_start + first + key;
    let one = f32::new(1.0);
    store(
        &grad_keys, grad_qkv, start, row_end, width, key_column, group, scale, tile,
    );
    store(
        &grad_values,
        grad_qkv,
        start,
        row_end,
        width,
        value_column,
        group,
        one,
        tile,
    );
}
