//! Tiles of a row's tokens, and what the mask shows of a tile.

/// Queries and keys of a tile: the scores of one take 16 KiB.
pub(super) const TILE: usize = 64;

/// A range of a row's tokens.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Tile {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The tiles of a range, in order.
pub(super) fn tiles(start: usize, end: usize) -> impl Iterator<Item = Tile> {
    (start..end).step_by(TILE).map(move |start| Tile {
        start,
        end: (start + TILE).min(end),
    })
}

/// How many of a tile's keys a tile of queries sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// No query sees any key.
    None,
    /// Some pairs may be hidden.
    Partial,
    /// Every query sees every key.
    Full,
}

pub(super) fn visibility(visible_until: &[u32], queries: &Tile, keys: &Tile) -> Visibility {
    if keys.start >= queries.end {
        return Visibility::None;
    }
    let until = &visible_until[keys.start..keys.end];
    let furthest = until.iter().max().copied().unwrap_or(0) as usize;
    let nearest = until.iter().min().copied().unwrap_or(0) as usize;
    if furthest <= queries.start {
        Visibility::None
    } else if nearest >= queries.end && keys.end <= queries.start + 1 {
        Visibility::Full
    } else {
        Visibility::Partial
    }
}

/// Sets the scores `[queries, keys]` of keys that their query does not see to minus infinity.
#[inline(always)]
pub(super) fn hide(scores: &mut [f32], visible_until: &[u32], queries: &Tile, keys: &Tile) {
    let until = &visible_until[keys.start..keys.end];
    for (query, row) in (queries.start..).zip(scores.chunks_exact_mut(keys.len())) {
        for ((key, score), &until) in (keys.start..).zip(row).zip(until) {
            if key > query || query as u32 >= until {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
