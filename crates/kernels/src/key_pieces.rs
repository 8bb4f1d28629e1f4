//! The work for the gradients of keys and values, divided into pieces of about one length.

/// Says that a piece is all of its tile's work.
const WHOLE: u32 = u32::MAX;

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
    /// The pieces of at most `most` tiles of queries, for [`tile_spans`](crate::AttentionMask) of
    /// rows with so many tiles of `side` tokens.
    pub(crate) fn new(tile_spans: &[u32], tiles: usize, side: usize, most: usize) -> Self {
        let mut pieces: Vec<[u32; 4]> = Vec::new();
        let mut divided: Vec<[u32; 3]> = Vec::new();
        let mut slots = 0;
        for (tile, span) in tile_spans.chunks_exact(2).enumerate() {
            let first = tile % tiles;
            let length = (span[0] as usize).div_ceil(side) - first;
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
        // A row of four tiles of 8 tokens; all 30 tokens see the first, 20 the second.
        let found = KeyPieces::new(&[30, 0, 20, 0, 24, 0, 30, 0], 4, 8, 2);
        let pieces: Vec<&[u32]> = found.pieces.chunks(4).collect();
        assert_eq!(
            pieces,
            [
                [0, 0, 2, 0],
                [0, 2, 4, 1],
                [1, 1, 3, WHOLE],
                [2, 2, 3, WHOLE],
                [3, 3, 4, WHOLE],
            ]
        );
        assert_eq!(found.divided, [0, 0, 2]);
        assert_eq!((found.count, found.divided_count, found.slots), (5, 1, 2));
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_tile_are_its_work(
            rows in 1usize..4,
            lengths in prop::collection::vec(0usize..40, 1..30),
            most in 1usize..9,
        ) {
            let (tiles, side) = (lengths.len(), 8);
            let until = |tile: usize| (tile + 1 + lengths[tile]).min(tiles);
            let spans: Vec<u32> = (0..rows * tiles)
                .flat_map(|tile| [(until(tile % tiles) * side) as u32, 0])
                .collect();
            let found = KeyPieces::new(&spans, tiles, side, most);
            prop_assert_eq!(found.pieces.len(), 4 * found.count);
            let mut work = vec![Vec::new(); rows * tiles];
            let mut slots = vec![None; found.slots];
            for piece in found.pieces.chunks_exact(4) {
                let [tile, from, until, slot] = piece else { unreachable!() };
                prop_assert!((1..=most as u32).contains(&(until - from)));
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
