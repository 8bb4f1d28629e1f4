//! Dropout masks that depend on the token, never on where a layout has put it.

use burn::tensor::{Device, Tensor, TensorData};
use plw_batch::Batch;

/// What a step's dropout masks are drawn from.
///
/// A mask's element is a hash of (seed, step, layer, module, example of the token's first sequence, the token's depth,
/// column), so padding, packing or sharing a prefix changes no mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step.
    pub step: u64,
}

/// A forward pass's dropout: the key, and a hash of each token's identity.
#[derive(Debug)]
pub(crate) struct Dropout {
    key: u64,
    /// `[batch * seq]`.
    tokens: Vec<u64>,
}

impl Dropout {
    pub(crate) fn new(key: &DropoutKey, batch: &Batch) -> Self {
        let tokens = batch
            .first_sequence
            .iter()
            .zip(&batch.position_ids)
            .map(|(&sequence, &depth)| {
                let example = batch
                    .sequences
                    .get(sequence as usize)
                    .map_or(0, |s| s.example);
                u64::from(example) << 32 | u64::from(depth)
            })
            .collect();
        Self {
            key: mix(mix(key.seed).wrapping_add(key.step)),
            tokens,
        }
    }

    /// The mask `[tokens, columns]` of one module of one layer: `1 / (1 - probability)` where an element is kept, else 0.
    pub(crate) fn mask(
        &self,
        layer: usize,
        module: usize,
        probability: f64,
        columns: usize,
        device: &Device,
    ) -> Tensor<2> {
        let module_key = mix(self.key.wrapping_add((layer as u64) << 8 | module as u64));
        // An element is dropped when its 32 bits lie below the threshold.
        let threshold = (probability * f64::from(u32::MAX)) as u32;
        let kept = (1.0 / (1.0 - probability)) as f32;
        let scale = |bits: u32| if bits < threshold { 0.0 } else { kept };
        let mut mask = Vec::with_capacity(self.tokens.len() * columns);
        for token in &self.tokens {
            let row_key = mix(module_key ^ token);
            for pair in 0..columns.div_ceil(2) as u64 {
                let bits = mix(row_key.wrapping_add(pair.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
                mask.push(scale(bits as u32));
                if mask.len() % columns != 0 {
                    mask.push(scale((bits >> 32) as u32));
                }
            }
        }
        Tensor::from_data(TensorData::new(mask, [self.tokens.len(), columns]), device)
    }
}

/// SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection whose output bits all depend on all input bits.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
