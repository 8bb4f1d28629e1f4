//! The angles that rotary position embeddings rotate by.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};

/// The rotary position embeddings of one batch: cosines and sines of position times frequency.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    /// `[batch, seq]`.
    shape: [usize; 2],
    /// head_dim / 2.
    half: usize,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) cosines: Arc<[f32]>,
    /// `[batch * seq, head_dim / 2]`.
    pub(crate) sines: Arc<[f32]>,
    device: Device,
    /// What [`apply_rotary_reference`](crate::apply_rotary_reference) needs, computed when it is
    /// first used.
    tables: Arc<OnceLock<Tables>>,
    /// Cosines and sines on a GPU, moved there when they are first used.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    on_device: Arc<OnceLock<[Tensor<1>; 2]>>,
}

#[derive(Debug)]
pub(crate) struct Tables {
    /// `[batch, seq, 1, head_dim]`, each half the same.
    pub(crate) cosine: Tensor<4>,
    /// `[batch, seq, 1, head_dim]`, each half the same.
    pub(crate) sine: Tensor<4>,
    /// `[1, 1, head_dim, head_dim]`: `x.matmul(quarter_turn)` is `[-x2, x1]` of `x = [x1, x2]`.
    pub(crate) quarter_turn: Tensor<4>,
}

impl RotaryEmbedding {
    /// Embeddings of the positions `position_ids`, `[batch * seq]` for a `shape` of `[batch, seq]`.
    /// `frequencies`, `[head_dim / 2]`, are in radians per position. Angles are products in f32, as
    /// in transformers.
    ///
    /// # Panics
    ///
    /// Where the number of positions is not that of the tokens, which is a bug of the caller.
    pub fn new(
        shape: [usize; 2],
        position_ids: &[u32],
        frequencies: &[f32],
        device: &Device,
    ) -> Self {
        let [batch, seq] = shape;
        assert_eq!(
            position_ids.len(),
            batch * seq,
            "{batch} rows of {seq} tokens have one position each token"
        );
        let table = |function| rows_of(position_ids, frequencies, function).into();
        Self {
            shape,
            half: frequencies.len(),
            cosines: table(f32::cos),
            sines: table(f32::sin),
            device: device.clone(),
            tables: Arc::default(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            on_device: Arc::default(),
        }
    }

    /// Panics unless these are the embeddings of `[batch, seq]` tokens for heads of `head_dim`.
    pub(crate) fn check_shape(&self, shape: [usize; 2], head_dim: usize) {
        assert_eq!(
            (self.shape, 2 * self.half),
            (shape, head_dim),
            "([batch, seq], head_dim) of the rotary embedding, and of the tensor it is applied to"
        );
    }

    /// Cosines and sines, `[batch * seq * head_dim / 2]` each, on the batch's device.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn on_device(&self) -> [Tensor<1>; 2] {
        let tables = self.on_device.get_or_init(|| {
            [&self.cosines, &self.sines].map(|table| {
                let data = TensorData::new(table.to_vec(), [table.len()]);
                Tensor::from_data(data, &self.device.clone().inner())
            })
        });
        tables.clone()
    }

    pub(crate) fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            let [batch, seq] = self.shape;
            let half = self.half;
            let head_dim = 2 * half;
            let mut quarter_turn = vec![0f32; head_dim * head_dim];
            for i in 0..half {
                quarter_turn[i * head_dim + half + i] = 1.0;
                quarter_turn[(half + i) * head_dim + i] = -1.0;
            }
            let tensor = |values: Vec<f32>, shape: [usize; 4]| {
                Tensor::from_data(TensorData::new(values, shape), &self.device)
            };
            let twice = |table: &[f32]| {
                let rows = table.chunks(half.max(1));
                let values = rows.flat_map(|row| [row, row].concat()).collect();
                tensor(values, [batch, seq, 1, head_dim])
            };
            Tables {
                cosine: twice(&self.cosines),
                sine: twice(&self.sines),
                quarter_turn: tensor(quarter_turn, [1, 1, head_dim, head_dim]),
            }
        })
    }
}

/// `function(position * frequency)`, a row for each position. A position that many tokens have is
/// computed once: sines and cosines of a large batch would keep a GPU waiting.
fn rows_of(position_ids: &[u32], frequencies: &[f32], function: fn(f32) -> f32) -> Vec<f32> {
    let half = frequencies.len();
    let row = |position: u32| {
        let angles = frequencies
            .iter()
            .map(move |frequency| position as f32 * frequency);
        angles.map(function)
    };
    let end = position_ids
        .iter()
        .max()
        .map_or(0, |&highest| u64::from(highest) + 1);
    if end > position_ids.len() as u64 {
        return position_ids
            .iter()
            .flat_map(|&position| row(position))
            .collect();
    }
    let table: Vec<f32> = (0..end as u32).flat_map(row).collect();
    let mut rows = Vec::with_capacity(position_ids.len() * half);
    for &position in position_ids {
        let first = position as usize * half;
        rows.extend_from_slice(&table[first..first + half]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_that_of_its_position_whatever_the_others_are() {
        let frequencies = [1.0, 0.3, 0.01];
        let expected = |position: u32| frequencies.map(|f: f32| (position as f32 * f).cos());
        for position_ids in [
            vec![],
            vec![0],
            vec![7],
            vec![2, 0, 2, 1, 0],
            vec![3, u32::MAX - 1],
        ] {
            let found = rows_of(&position_ids, &frequencies, f32::cos);
            let expected: Vec<f32> = position_ids.iter().flat_map(|&p| expected(p)).collect();
            assert_eq!(found, expected, "{position_ids:?}");
        }
    }
}
