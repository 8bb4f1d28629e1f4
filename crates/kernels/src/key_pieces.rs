//! The work for the gradients of keys and values, divided into pieces of about one length.

/// Says that a piece is all of its tile's work.
const WHOLE: u32 = u32::MAX;

/// Tiles of queries of the shortest piece that is worth its sums, which are written and read again.
/// RACE's passages with their questions have about as many.
const SHORTEST: usize = 16;

/// Blocks that all pieces together are to occupy. A large GPU of today runs 264 to 396 at a time.
const BLOCKS: usize = 512;

/// The pieces of a batch's tiles of keys, as tables of u32.
///
/// A tile of keys is seen by a range of the tiles of queries of its row. Where all sequences of a
/// batch begin alike, as with a system prompt, every query sees the first tile: one block of the
/// GPU would still add its gradients when all others were done.
#[derive(Debug, Clone)]
pub(crate) struct KeyPieces<T> {
    /// `[pieces * 4]`: a tile of keys, the tiles of queries from one to another, and the slot of
    /// the piece's sums. The longest piece comes first.
    pub(crate) pieces: T,
    /// Number of pieces.
    pub(crate) count: usize,
    /// `[divided * 3]`: a tile of more than one piece, and its slots from one to another. Zeros
    /// where there is none.
    pub(crate) divided: T,
    /// Number of divided tiles.
    pub(crate) divided_count: usize,
    /// Number of slots.
    pub(crate) slots: usize,
}

impl KeyPieces<Vec<u32>> {
    /// The pieces for [`tile_spans`](crate::AttentionMask) of rows with so many tiles of `side`
    /// tokens, and so many heads of keys. None is longer than a block's share of all work: where
    /// all tiles are seen by many queries, nothing is divided, and sums take little memory.
    pub(crate) fn new(tile_spans: &[u32], tiles: usize, side: usize, key_heads: usize) -> Self {
        let mut pieces: Vec<[u32; 4]> = Vec::new();
        let mut divided: Vec<[u32; 3]> = Vec::new();
        let mut slots = 0;
        let spans = || tile_spans.chunks_exact(2).enumerate();
        let length =
            |(tile, span): (usize, &[u32])| (span[0] as usize).div_ceil(side) - tile % tiles;
        let work: usize = spans().map(length).sum();
        let most = (work * key_heads / BLOCKS).max(SHORTEST);
        for (tile, span) in spans() {
            let (first, length) = (tile % tiles, length((tile, span)));
            let parts = length.div_ceil(most);
            for part in 0..parts {
                let [from, until] = [part, part + 1].map(|p| (first + p * length / parts) as u32);
                let slot = if parts > 1 {
                    slots + part as u32
                } else {
                    WHOLE
                };
                pieces.push([tile as u32, from, until, slot]);
            }
            if parts > 1 {
                divided.push([tile as u32, slots, slots + parts as u32]);
                slots += parts as u32;
            }
        }
        pieces.sort_by_key(|[_, from, until, _]| std::cmp::Reverse(until - from));
        let (count, divided_count) = (pieces.len(), divided.len());
        if divided.is_empty() {
            divided.push([0; 3]);
        }
        Self {
            pieces: pieces.concat(),
            count,
            divided: divided.concat(),
            divided_count,
            slots: slots as usize,
        }
    }
}

#[cfg(feature = "cuda")]
impl<T> KeyPieces<T> {
    /// The same tables in another form.
    pub(crate) fn map<U>(self, mut form: impl FnMut(T) -> U) -> KeyPieces<U> {
        KeyPieces {
            pieces: form(self.pieces),
            count: self.count,
            divided: form(self.divided),
            divided_count: self.divided_count,
            slots: self.slots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_prefix_of_all_is_divided_and_the_longest_piece_comes_first() {
        // A row of 40 tiles of 8 tokens. All queries see the first, those of the row's first half
        // the second, and of its own tile each other.
        let until = |tile: u32| [40 * 8, 20 * 8][..].get(tile as usize).copied();
        let spans = (0..40).flat_map(|tile| [until(tile).unwrap_or(8 * tile + 8), 0]);
        let found = KeyPieces::new(&spans.collect::<Vec<_>>(), 40, 8, 1);
        let pieces: Vec<&[u32]> = found.pieces.chunks(4).collect();
        assert_eq!(
            pieces[..6],
            [
                [0, 26, 40, 2],
                [0, 0, 13, 0],
                [0, 13, 26, 1],
                [1, 10, 20, 4],
                [1, 1, 10, 3],
                [2, 2, 3, WHOLE],
            ]
        );
        assert_eq!(found.divided, [0, 0, 3, 1, 3, 5]);
        assert_eq!((found.count, found.divided_count, found.slots), (43, 2, 5));
    }

    #[test]
    fn the_sums_of_long_rows_take_little_memory() {
        for (tiles, key_heads) in [(32, 32), (512, 32), (512, 1), (2048, 8)] {
            let causal: Vec<u32> = (0..tiles).flat_map(|_| [tiles * 64, 0]).collect();
            let found = KeyPieces::new(&causal, tiles as usize, 64, key_heads);
            assert!(found.slots * key_heads <= 2 * BLOCKS, "{}", found.slots);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_tile_are_its_work(
            rows in 1usize..4,
            lengths in prop::collection::vec(0usize..200, 1..200),
            key_heads in 1usize..40,
        ) {
            let (tiles, side) = (lengths.len(), 8);
            let until = |tile: usize| (tile + 1 + lengths[tile]).min(tiles);
            let spans: Vec<u32> = (0..rows * tiles)
                .flat_map(|tile| [(until(tile % tiles) * side) as u32, 0])
                .collect();
            let found = KeyPieces::new(&spans, tiles, side, key_heads);
            prop_assert_eq!(found.pieces.len(), 4 * found.count);
            let mut work = vec![Vec::new(); rows * tiles];
            let mut slots = vec![None; found.slots];
            for piece in found.pieces.chunks_exact(4) {
                let [tile, from, until, slot] = piece else { unreachable!() };
                prop_assert!(from < until);
                work[*tile as usize].extend(*from..*until);
                if *slot != WHOLE {
                    prop_assert!(slots[*slot as usize].replace(*tile).is_none());
                }
            }
            for (tile, mut queries) in work.into_iter().enumerate() {
                queries.sort_unstable();
                let first = tile % tiles;
                prop_assert_eq!(queries, (first as u32..until(first) as u32).collect::<Vec<_>>());
            }
            for divided in found.divided.chunks_exact(3).take(found.divided_count) {
                let [tile, from, until] = divided else { unreachable!() };
                for slot in *from..*until {
                    prop_assert_eq!(slots[slot as usize].take(), Some(*tile));
                }
            }
            prop_assert!(slots.iter().all(Option::is_none));
        }
    }
}
