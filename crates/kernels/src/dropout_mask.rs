//! Dropout masks that are computed where they are used, and kept nowhere.

use std::sync::Arc;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::sync::OnceLock;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::Int;
use burn::tensor::{Device, Tensor, TensorData};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::integers;

/// Added to a key for each next pair of a row's elements: 2^64 divided by the golden ratio.
pub(crate) const PAIR_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The factors of [`split_mix`].
pub(crate) const FACTORS: [u64; 2] = [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB];

#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) const fn low_half(x: u64) -> u32 {
    x as u32
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub(crate) const fn high_half(x: u64) -> u32 {
    (x >> 32) as u32
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection in which every output bit
/// depends on every input bit.
#[inline(always)]
pub fn split_mix(x: u64) -> u64 {
    let x = x.wrapping_add(PAIR_STEP);
    let x = (x ^ (x >> 30)).wrapping_mul(FACTORS[0]);
    let x = (x ^ (x >> 27)).wrapping_mul(FACTORS[1]);
    x ^ (x >> 31)
}

/// What identifies each token of a batch, for all dropout masks of a forward pass.
#[derive(Debug, Clone)]
pub struct TokenKeys {
    /// `[tokens]`.
    pub(crate) keys: Arc<[u64]>,
    device: Device,
    /// The keys' low and high halves on a GPU, moved there when they are first used.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    on_device: Arc<OnceLock<Tensor<1, Int>>>,
}

impl TokenKeys {
    /// `[tokens]` keys, of a batch on this device.
    pub fn new(keys: Vec<u64>, device: &Device) -> Self {
        Self {
            keys: keys.into(),
            device: device.clone().inner(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            on_device: Arc::default(),
        }
    }

    /// Those of some tokens, in their order.
    ///
    /// # Panics
    ///
    /// Where there is no such token, which is a bug of the caller.
    pub fn select(&self, tokens: &[u32]) -> Self {
        let keys = tokens.iter().map(|&token| self.keys[token as usize]);
        Self::new(keys.collect(), &self.device)
    }

    /// `[2 * tokens]`: the low and the high half of each key.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn on_device(&self) -> Tensor<1, Int> {
        let upload = || {
            let keys = self.keys.iter();
            let halves = keys.flat_map(|&key| [low_half(key), high_half(key)]);
            integers::to_device(halves.collect(), &self.device)
        };
        self.on_device.get_or_init(upload).clone()
    }
}

/// The dropout mask of a layer's input, `[tokens, columns]`: 0 where an element is dropped, else
/// `1 / (1 - probability)`.
///
/// An element is a hash of the token's key, the mask's own key and the column. It therefore depends
/// neither on where a token stands in a batch nor on what else is there, and whoever needs it
/// computes it.
#[derive(Debug, Clone)]
pub struct DropoutMask {
    /// Of the tokens.
    pub(crate) tokens: TokenKeys,
    /// Tells this mask from others of the same tokens.
    pub(crate) key: u64,
    /// An element is dropped when its 32 bits lie below this.
    pub(crate) threshold: u32,
    /// What the others are.
    pub(crate) scale: f32,
}

impl DropoutMask {
    /// A mask whose elements are dropped with this probability, at least 0 and less than 1.
    pub fn new(tokens: TokenKeys, key: u64, probability: f64) -> Self {
        Self {
            tokens,
            key,
            threshold: (probability * f64::from(u32::MAX)) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
        }
    }

    /// The number of its rows.
    pub fn tokens(&self) -> usize {
        self.tokens.keys.len()
    }

    /// Writes the row of a token.
    #[inline(always)]
    pub(crate) fn write_row(&self, token: usize, row: &mut [f32]) {
        let key = split_mix(self.key ^ self.tokens.keys[token]);
        let element = |bits: u32| {
            if bits < self.threshold {
                0.0
            } else {
                self.scale
            }
        };
        let (pairs, rest) = row.as_chunks_mut::<2>();
        let bits = |pair: usize| split_mix(key.wrapping_add((pair as u64).wrapping_mul(PAIR_STEP)));
        for (pair, elements) in pairs.iter_mut().enumerate() {
            let bits = bits(pair);
            *elements = [element(bits as u32), element((bits >> 32) as u32)];
        }
        for last in rest {
            *last = element(bits(pairs.len()) as u32);
        }
    }

    /// The mask as a tensor `[tokens, columns]`.
    pub fn to_tensor(&self, columns: usize, device: &Device) -> Tensor<2> {
        let mut mask = vec![0.0; self.tokens() * columns];
        if columns > 0 {
            for (token, row) in mask.chunks_mut(columns).enumerate() {
                self.write_row(token, row);
            }
        }
        Tensor::from_data(TensorData::new(mask, [self.tokens(), columns]), device)
    }
}
