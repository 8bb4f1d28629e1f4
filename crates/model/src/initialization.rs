//! Random initialization with the same bits on every machine.

use std::convert::Infallible;

use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::LlamaConfig;
use crate::llama::Llama;
use crate::weight::HeldWeights;

impl Llama {
    /// A random model. Matrices `[out, in]` have standard deviation `1 / sqrt(in)`, so that each
    /// layer keeps the scale of its input. So have embeddings `[vocab, hidden]`, since a tied
    /// table is also the head, with `hidden` inputs. Norms are one.
    pub fn init(config: &LlamaConfig, seed: u64, device: &Device) -> Self {
        Self::init_as(config, seed, device, HeldWeights::default())
    }

    /// The same model with weights held in these types.
    pub(crate) fn init_as(
        config: &LlamaConfig,
        seed: u64,
        device: &Device,
        held_as: HeldWeights,
    ) -> Self {
        let built = Self::assemble(config, device, held_as, |name, shape| {
            Ok::<_, Infallible>(match shape {
                [rows, columns] => {
                    let deviation = 1.0 / (*columns as f64).sqrt();
                    nearly_normal(&mut generator(seed, name), rows * columns, deviation)
                }
                _ => vec![1.0; shape.iter().product()],
            })
        });
        match built {
            Ok(model) => model,
            Err(never) => match never {},
        }
    }
}

/// The generator of one parameter: the stream of ChaCha8 with the number of the parameter name's
/// FNV-1a hash, so that a parameter's values do not depend on other parameters.
pub(crate) fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let stream = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// Values of mean zero and the given standard deviation: sums of four uniform 16-bit integers. They
/// are close to normal and need no logarithm or cosine, whose last bits differ between machines.
fn nearly_normal(generator: &mut ChaCha8Rng, count: usize, deviation: f64) -> Vec<f32> {
    let variance = 4.0 * (65536.0 * 65536.0 - 1.0) / 12.0;
    let scale = deviation / f64::sqrt(variance);
    (0..count)
        .map(|_| {
            let bits = generator.next_u64();
            let sum: u32 = (0..4)
                .map(|part| (bits >> (16 * part)) as u32 & 0xFFFF)
                .sum();
            ((f64::from(sum) - 2.0 * 65535.0) * scale) as f32
        })
        .collect()
}

/// Values uniform in `[-bound, bound)`.
pub(crate) fn uniform(generator: &mut ChaCha8Rng, count: usize, bound: f64) -> Vec<f32> {
    (0..count)
        .map(|_| ((f64::from(generator.next_u32()) / 2f64.powi(31) - 1.0) * bound) as f32)
        .collect()
}
