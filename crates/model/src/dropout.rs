//! Dropout masks that depend on the token, and not on where a layout puts it.

use burn::tensor::Device;
use plw_batch::Batch;
use plw_kernels::{DropoutMask, TokenKeys, split_mix};

/// The key of a step's dropout masks.
///
/// An element of a mask is a hash of (seed, step, layer, module, the token and all that stand
/// before it, column). So neither the layout of a batch nor the other sequences in it change the
/// mask, and processes that share a step drop what one would. Where sequences begin alike, their
/// tokens are dropped alike, whether they are shared or stand in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// The optimizer step.
    pub step: u64,
}

/// The dropout of a forward pass: the key, and what identifies each token.
#[derive(Debug)]
pub(crate) struct Dropout {
    key: u64,
    /// `[batch * seq]`: a hash of the token and all that stand before it.
    tokens: TokenKeys,
}

impl Dropout {
    pub(crate) fn new(key: &DropoutKey, batch: &Batch, device: &Device) -> Self {
        Self {
            key: split_mix(split_mix(key.seed).wrapping_add(key.step)),
            tokens: TokenKeys::new(prefixes(batch), device),
        }
    }

    /// The dropout of these tokens only.
    pub(crate) fn select(&self, tokens: &[u32]) -> Self {
        Self {
            key: self.key,
            tokens: self.tokens.select(tokens),
        }
    }

    /// The mask of one module of one layer.
    pub(crate) fn mask(&self, layer: usize, module: usize, probability: f64) -> DropoutMask {
        let module = (layer as u64) << 8 | module as u64;
        let key = split_mix(self.key.wrapping_add(module));
        DropoutMask::new(self.tokens.clone(), key, probability)
    }
}

/// `[batch * seq]`: a hash of each token and those before it. A row holds its trees depth first, so
/// that a token follows the last one of the depth before its own.
fn prefixes(batch: &Batch) -> Vec<u64> {
    let mut path: Vec<u64> = Vec::new();
    let tokens = batch.token_ids.iter().zip(&batch.position_ids);
    tokens
        .map(|(&token, &depth)| {
            path.truncate(depth as usize);
            let before = path.last().copied().unwrap_or_default();
            let hash = split_mix(before ^ split_mix(u64::from(token)));
            path.push(hash);
            hash
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::{Segment, Sequence, concatenate, share_prefixes};

    fn mask(key: DropoutKey, layer: usize, module: usize) -> Vec<f32> {
        let sequence = |example| Sequence {
            example,
            group: 0,
            token_ids: vec![example; 40],
            segments: Segment::prompt_and_completion(1, 40),
            answer: None,
        };
        let device = Device::flex();
        let dropout = Dropout::new(&key, &concatenate(&[sequence(3), sequence(8)]), &device);
        let mask = dropout.mask(layer, module, 0.25).to_tensor(101, &device);
        assert_eq!(mask.dims(), [80, 101]);
        mask.into_data_as::<f32>()
            .as_slice()
            .expect("just read as f32")
            .to_vec()
    }

    #[test]
    fn the_given_share_is_dropped_and_the_rest_scaled() {
        let mask = mask(DropoutKey { seed: 1, step: 1 }, 0, 0);
        let dropped = mask.iter().filter(|&&value| value == 0.0).count() as f64;
        // Four standard deviations of 8080 draws.
        assert!((dropped / 8080.0 - 0.25).abs() < 4.0 * (0.25f64 * 0.75 / 8080.0).sqrt());
        assert!(mask.iter().all(|&value| value == 0.0 || value == 4.0 / 3.0));
    }

    #[test]
    fn a_token_has_the_key_of_its_prefix_in_every_layout() {
        let sequence = |example, token_ids: &[u32]| Sequence {
            example,
            group: 0,
            token_ids: token_ids.to_vec(),
            segments: Segment::prompt_and_completion(1, token_ids.len()),
            answer: None,
        };
        let all = [
            sequence(0, &[1, 2, 3]),
            sequence(1, &[1, 2, 4, 3]),
            sequence(2, &[2, 1]),
        ];
        let [a, b, c] = [&all[0], &all[1], &all[2]].map(|s| prefixes(&concatenate(&[s])));
        let shared = prefixes(&share_prefixes(&all));
        assert_eq!(shared, [&a[..], &b[2..], &c].concat());
        let mut distinct = shared.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), shared.len());
        // In another company.
        assert_eq!(prefixes(&share_prefixes(&all[1..])), [b, c].concat());
    }

    #[test]
    fn every_part_of_the_key_changes_the_mask() {
        let key = DropoutKey { seed: 1, step: 1 };
        let base = mask(key, 0, 0);
        assert_eq!(base, mask(key, 0, 0));
        let others = [
            mask(DropoutKey { seed: 2, ..key }, 0, 0),
            mask(DropoutKey { step: 2, ..key }, 0, 0),
            mask(key, 1, 0),
            mask(key, 0, 1),
        ];
        let (half, rest) = base.split_at(base.len() / 2);
        let mut pairs: Vec<(&[f32], &[f32])> =
            others.iter().map(|other| (&*base, &**other)).collect();
        // Another sequence, and the next depth.
        pairs.push((half, rest));
        pairs.push((&base[..101], &base[101..202]));
        for (a, b) in pairs {
            let equal = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64;
            // Independent masks agree in 0.75^2 + 0.25^2 = 0.625 of their elements.
            assert!((equal - 0.625).abs() < 0.2, "{equal}");
        }
    }
}
