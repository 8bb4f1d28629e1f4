//! Which tokens of a batch attend to which.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Int, Tensor, TensorData};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::integers;
#[cfg(feature = "cuda")]
use crate::key_pieces::KeyPieces;
use crate::span::{Span, spans};

/// Which tokens of a batch attend to which: within a row, token j is seen by the queries
/// `j..visible_until[j]`.
///
/// One integer per token describes causal attention, packed documents, shared prefixes and padding
/// (compare FlashMask, arXiv 2410.01359). Built once per forward pass.
#[derive(Debug, Clone)]
pub struct AttentionMask {
    /// `[batch, seq]`.
    pub(crate) shape: [usize; 2],
    /// `[batch * seq]`.
    pub(crate) visible_until: Arc<[u32]>,
    device: Device,
    /// `[batch, 1, 1, seq, seq]` (query, key): 0 where the query sees the key, minus infinity
    /// elsewhere. Computed when it is first used.
    bias: Arc<OnceLock<Tensor<5>>>,
    /// [`Self::visible_until`] on a GPU, moved there when it is first used.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    on_device: Arc<OnceLock<Tensor<1, Int>>>,
    /// [`Self::tile_until`] of each side that was asked for.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    tile_until: Arc<Mutex<BTreeMap<usize, Tensor<1, Int>>>>,
    /// [`Self::tile_spans`] of the side that was asked for.
    #[cfg(feature = "cuda")]
    tile_spans: Arc<OnceLock<(usize, Tensor<1, Int>)>>,
    /// [`Self::key_pieces`] of the side that was asked for.
    #[cfg(feature = "cuda")]
    key_pieces: Arc<OnceLock<(usize, KeyPieces<Tensor<1, Int>>)>>,
    /// The batch with a row for each span, where that leaves fewer pairs of tokens. Computed when
    /// it is first used.
    span_rows: Arc<OnceLock<Option<SpanRows>>>,
}

/// A batch with a row for each of its spans, padded to the longest.
#[derive(Debug)]
pub(crate) struct SpanRows {
    /// `[spans, longest]`.
    pub(crate) mask: Box<AttentionMask>,
    /// `[spans * longest]`: the batch's token at each position, and any token at padding.
    pub(crate) from: Tensor<1, Int>,
    /// `[batch * seq]`: the position of each of the batch's tokens.
    pub(crate) to: Tensor<1, Int>,
}

impl AttentionMask {
    /// A mask from `visible_until`, `[batch * seq]` for a `shape` of `[batch, seq]`. Every token
    /// must see itself, so that no softmax is empty; a padding token is seen only by itself.
    /// Ranges need not be nested.
    ///
    /// # Panics
    ///
    /// Where the number of entries is not that of the tokens, or where token j of a row does not
    /// have `j < visible_until[j] <= seq`. Both are bugs of the caller.
    pub fn new(shape: [usize; 2], visible_until: &[u32], device: &Device) -> Self {
        let [batch, seq] = shape;
        assert_eq!(
            visible_until.len(),
            batch * seq,
            "a mask of {batch} rows of {seq} tokens has one entry per token"
        );
        for (flat, &until) in visible_until.iter().enumerate() {
            let (row, token) = (flat / seq, flat % seq);
            assert!(
                (token + 1..=seq).contains(&(until as usize)),
                "row {row}, token {token}: visible until {until}, not until {} to {seq}",
                token + 1
            );
        }
        Self {
            shape,
            visible_until: visible_until.into(),
            device: device.clone(),
            bias: Arc::default(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            on_device: Arc::default(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            tile_until: Arc::default(),
            #[cfg(feature = "cuda")]
            tile_spans: Arc::default(),
            #[cfg(feature = "cuda")]
            key_pieces: Arc::default(),
            span_rows: Arc::default(),
        }
    }

    /// [`Self::visible_until`] as u32 on the batch's device.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn on_device(&self) -> Tensor<1, Int> {
        let make = || integers::to_device(self.visible_until.to_vec(), &self.device);
        self.on_device.get_or_init(make).clone()
    }

    /// The greatest `visible_until` of each tile of `side` tokens, as u32 on the batch's device. A
    /// row's tiles begin at its first token. Computed once for all layers.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn tile_until(&self, side: usize) -> Tensor<1, Int> {
        let make = || {
            let found = self.rows().flat_map(|row| tile_until(row, side));
            integers::to_device(found.collect(), &self.device)
        };
        let mut sides = self
            .tile_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sides.entry(side).or_insert_with(make).clone()
    }

    /// Of each tile of `side` tokens two numbers, as u32 on the batch's device: the greatest
    /// `visible_until` of its tokens, and the first tile of its row with a token that one of its
    /// tokens may see. Computed once for all layers, which all ask for one side.
    #[cfg(feature = "cuda")]
    pub(crate) fn tile_spans(&self, side: usize) -> Tensor<1, Int> {
        let make = || {
            let found = self.rows().flat_map(|row| tile_spans(row, side));
            (side, integers::to_device(found.collect(), &self.device))
        };
        let (made_for, spans) = self.tile_spans.get_or_init(make);
        assert_eq!(*made_for, side, "all layers have tiles of one side");
        spans.clone()
    }

    /// The work for the gradients of so many heads of keys and values in pieces of tiles of `side`
    /// tokens, on the batch's device. Computed once for all layers, which all ask for the same.
    #[cfg(feature = "cuda")]
    pub(crate) fn key_pieces(&self, side: usize, key_heads: usize) -> KeyPieces<Tensor<1, Int>> {
        let make = || {
            let spans: Vec<u32> = self.rows().flat_map(|row| tile_spans(row, side)).collect();
            let pieces = KeyPieces::new(&spans, self.shape[1].div_ceil(side), side, key_heads);
            let on_device = |table| integers::to_device(table, &self.device);
            (side, pieces.map(on_device))
        };
        let (made_for, pieces) = self.key_pieces.get_or_init(make);
        assert_eq!(*made_for, side, "all layers have tiles of one side");
        pieces.clone()
    }

    /// `visible_until` of each row.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    fn rows(&self) -> impl Iterator<Item = &[u32]> {
        self.visible_until.chunks(self.shape[1].max(1))
    }

    pub(crate) fn span_rows(&self) -> Option<&SpanRows> {
        let make = || {
            let [batch, seq] = self.shape;
            let spans = spans(seq, &self.visible_until);
            let longest = spans.iter().map(Span::len).max()?;
            if spans.len() * longest * longest >= batch * seq * seq {
                return None;
            }
            // Padding sees itself, so that no softmax is empty. Its output is not selected.
            let mut until: Vec<u32> = (0..spans.len()).flat_map(|_| 1..=longest as u32).collect();
            let mut from = vec![0i64; spans.len() * longest];
            let mut to = vec![0i64; batch * seq];
            for (number, span) in spans.iter().enumerate() {
                for index in 0..span.len() {
                    let token = span.row * seq + span.start + index;
                    let position = number * longest + index;
                    until[position] = self.visible_until[token] - span.start as u32;
                    from[position] = token as i64;
                    to[token] = position as i64;
                }
            }
            let index = |values: Vec<i64>| {
                let count = values.len();
                Tensor::from_data(TensorData::new(values, [count]), &self.device)
            };
            Some(SpanRows {
                mask: Box::new(Self::new([spans.len(), longest], &until, &self.device)),
                from: index(from),
                to: index(to),
            })
        };
        self.span_rows.get_or_init(make).as_ref()
    }

    pub(crate) fn bias(&self) -> Tensor<5> {
        let make = || {
            let [batch, seq] = self.shape;
            let mut bias = vec![f32::NEG_INFINITY; batch * seq * seq];
            for (flat, &until) in self.visible_until.iter().enumerate() {
                let (row, key) = (flat / seq, flat % seq);
                for query in key..until as usize {
                    bias[(row * seq + query) * seq + key] = 0.0;
                }
            }
            let data = TensorData::new(bias, [batch, 1, 1, seq, seq]);
            Tensor::from_data(data, &self.device)
        };
        self.bias.get_or_init(make).clone()
    }
}

/// The greatest `visible_until` of each tile of a row.
#[cfg(any(feature = "cuda", feature = "wgpu", test))]
fn tile_until(row: &[u32], side: usize) -> Vec<u32> {
    let tiles = row.chunks(side);
    tiles
        .filter_map(|tile| tile.iter().copied().max())
        .collect()
}

/// The two numbers of each tile of a row. The later a tile, the fewer tiles before are seen.
#[cfg(any(feature = "cuda", test))]
fn tile_spans(row: &[u32], side: usize) -> Vec<u32> {
    let until = tile_until(row, side);
    let mut from = 0;
    let spans = until.iter().enumerate().map(|(tile, &last)| {
        while until[from] as usize <= tile * side {
            from += 1;
        }
        [last, from as u32]
    });
    spans.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_tiles_tell_who_is_seen() {
        // Two documents of 5 and 6 tokens, in tiles of 3.
        let row = [[5; 5].as_slice(), &[11; 6]].concat();
        assert_eq!(tile_until(&row, 3), [5, 11, 11, 11]);
        assert_eq!(tile_spans(&row, 3), [5, 0, 11, 0, 11, 1, 11, 1]);
    }
}
