//! The forward pass of attention, a cube for each tile of queries of a head.

use burn_cubecl::cubecl;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::heads::Heads;
use super::tile::{SQUARE, Tile, accumulate, load, no_sums, products, rescale, store};

/// The output `[tokens, heads * head_dim]` and the log-sum-exp of each query's scores `[tokens,
/// heads]`, with an online softmax over the tiles of keys.
///
/// `qkv` is rotated. `tile_until` is the greatest `visible_until` of each tile of keys.
#[cube(launch)]
pub(super) fn forward_kernel<F: Float>(
    qkv: &[F],
    visible_until: &[u32],
    tile_until: &[u32],
    output: &mut [F],
    log_sum_exp: &mut [f32],
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
    let tiles = seq.div_ceil(side);
    let head = CUBE_POS % query_heads;
    let first = CUBE_POS / query_heads % tiles * side;
    let row = CUBE_POS / query_heads / tiles;
    if row >= batch {
        terminate!();
    }
    let key_head = query_heads + head / comptime!(heads.group());
    let value_head = key_head + comptime!(heads.key_value);
    let row_start = row * seq;
    let row_end = row_start + seq;
    let unit = UNIT_POS as usize;
    let key_group = unit % groups;
    let query = unit / groups * SQUARE;

    let mut queries = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(tile.elements()));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(tile.side * (tile.side + 1)));
    let mut factors = Shared::<[f32]>::new_slice(side);

    let start = row_start + first;
    load(
        &mut queries,
        qkv,
        start,
        row_end,
        width,
        head * head_dim,
        tile,
    );
    let mut sums = no_sums(tile);
    // Of the query that this unit takes in the softmax.
    let mut highest = f32::new(-1.0e30);
    let mut total = f32::new(0.0);

    let end = min(first + side, seq);
    let mut first_key = 0usize;
    while first_key < end {
        // Tiles that no query of this one sees are skipped.
        if tile_until[row * tiles + first_key / side] as usize > first {
            sync_cube();
            let start = row_start + first_key;
            load(
                &mut keys,
                qkv,
                start,
                row_end,
                width,
                key_head * head_dim,
                tile,
            );
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
                    let mut score = f32::new(-2.0e30);
                    if key <= position && position < until {
                        score = found[i * SQUARE + j] * scale;
                    }
                    scores[(query + i) * (side + 1) + key_group * SQUARE + j] = score;
                }
            }
            sync_cube();
            let start = row_start + first_key;
            load(
                &mut keys,
                qkv,
                start,
                row_end,
                width,
                value_head * head_dim,
                tile,
            );
            if unit < side {
                let first_score = unit * (side + 1);
                let mut greatest = highest;
                for j in 0..side {
                    greatest = max(greatest, scores[first_score + j]);
                }
                let factor = (highest - greatest).exp();
                total *= factor;
                for j in 0..side {
                    let score = scores[first_score + j];
                    let mut weight = f32::new(0.0);
                    if score > f32::new(-1.0e30) {
                        weight = (score - greatest).exp();
                    }
                    scores[first_score + j] = weight;
                    total += weight;
                }
                highest = greatest;
                factors[unit] = factor;
            }
            sync_cube();
            rescale(&mut sums, &factors, query, tile);
            accumulate(&mut sums, &scores, query, &keys, key_group, tile);
        }
        first_key += side;
    }
    sync_cube();
    if unit < side {
        factors[unit] = 1.0 / total;
        if first + unit < seq {
            log_sum_exp[(row_start + first + unit) * query_heads + head] = highest + total.ln();
        }
    }
    sync_cube();
    rescale(&mut sums, &factors, query, tile);
    let output_width = query_heads * head_dim;
    let start = row_start + first + query;
    let column = head * head_dim;
    let one = f32::new(1.0);
    store(
        &sums,
        output,
        start,
        row_end,
        output_width,
        column,
        key_group,
        one,
        tile,
    );
}
