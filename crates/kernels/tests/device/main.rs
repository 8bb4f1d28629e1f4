//! Every operation on one device against its reference on the CPU, in value and gradient.
//!
//! `PLW_TEST_DEVICE` names the device (`cpu`, `cuda` or `wgpu`, built in by the feature of that
//! name; the default is `wgpu` where it is built in, else `cpu`), `PLW_TEST_CASES` the number of
//! random cases of each property (the default is 8).

mod adapters;
mod answers;
mod bf16;
mod bf16_products;
mod cross_entropy;
mod frozen;
#[cfg(feature = "nccl")]
mod nccl;
mod optimizer;
mod queue_point;
mod residual;

use burn::tensor::{Device, Gradients, Tensor, TensorData, Tolerance};
use plw_kernels::{
    AttentionHeads, AttentionMask, DropoutMask, LinearInput, LinearOperands, LinearWeight,
    LowRankAdapter, Nf4Weight, RotaryEmbedding, TokenKeys, WeightMatrix, apply_rotary,
    apply_rotary_reference, attention, attention_reference, dequantize, dequantize_reference,
    embedding, embedding_reference, linear, linear_gradients, linear_reference, rms_norm,
    rms_norm_reference, split_mix, swiglu, swiglu_reference,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn device() -> Device {
    let default = if cfg!(feature = "wgpu") {
        "wgpu"
    } else {
        "cpu"
    };
    let name = std::env::var("PLW_TEST_DEVICE").unwrap_or_else(|_| default.to_string());
    match name.as_str() {
        "cpu" => Device::flex(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(burn::tensor::DeviceKind::default()),
        other => panic!("PLW_TEST_DEVICE: the device `{other}` is not built in"),
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PLW_TEST_CASES").map_or(8, |cases| {
        cases.parse().expect("PLW_TEST_CASES is a number")
    });
    ProptestConfig::with_cases(cases)
}

/// Widths of rows. Half of them are multiples of four, which kernels read four elements at a time.
fn widths(most: usize) -> impl Strategy<Value = usize> {
    let round = |(width, is_whole): (usize, bool)| match is_whole {
        true => width.next_multiple_of(4),
        false => width,
    };
    (1..=most, any::<bool>()).prop_map(round)
}

/// Random elements that are the same on every device.
struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn elements<const D: usize>(&mut self, shape: [usize; D]) -> TensorData {
        let count = shape.iter().product();
        let draw = || self.0.random_range(-1.0..1.0f32);
        TensorData::new(std::iter::repeat_with(draw).take(count).collect(), shape)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }
}

fn leaf<const D: usize>(data: &TensorData, device: &Device) -> Tensor<D> {
    Tensor::from_data(data.clone(), device).require_grad()
}

/// Output and gradients of `inputs` for the loss `sum(output * grad_output)`.
fn with_gradients<const D: usize, const E: usize>(
    output: Tensor<D>,
    grad_output: &TensorData,
    inputs: &[&Tensor<E>],
) -> Vec<TensorData> {
    let grad_output = Tensor::from_data(grad_output.clone(), &output.device());
    let gradients = (output.clone() * grad_output).sum().backward();
    let gradient = |input: &&Tensor<E>| input.grad(&gradients).expect("tracked").into_data();
    let mut found = vec![output.into_data()];
    found.extend(inputs.iter().map(gradient));
    found
}

/// Runs `on_device` on the tested device and `reference` on the CPU, and compares what they return.
fn compare(
    on_device: impl Fn(&Device) -> Vec<TensorData>,
    reference: impl Fn(&Device) -> Vec<TensorData>,
) {
    let found = on_device(&device().autodiff());
    let expected = reference(&Device::flex().autodiff());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.into_iter().zip(expected) {
        let tolerance = Tolerance::<f32>::rel_abs(2e-4, 2e-5);
        found.assert_approx_eq(&expected, tolerance);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rms_norm_equals_its_reference(seed: u64, rows in 1usize..150, width in widths(1500)) {
        let mut random = Random::new(seed);
        let data = [random.elements([rows, width]), random.elements([rows, width])];
        let weight = random.elements([width]);
        let run = |norm: fn(Tensor<2>, Tensor<1>, f64) -> Tensor<2>, device: &Device| {
            let (x, weight) = (leaf::<2>(&data[0], device), leaf::<1>(&weight, device));
            let output = norm(x.clone(), weight.clone(), 1e-5);
            let grad_output = Tensor::from_data(data[1].clone(), device);
            let gradients = (output.clone() * grad_output).sum().backward();
            vec![
                output.into_data(),
                x.grad(&gradients).expect("tracked").into_data(),
                weight.grad(&gradients).expect("tracked").into_data(),
            ]
        };
        compare(|device| run(rms_norm, device), |device| run(rms_norm_reference, device));
    }

    #[test]
    fn swiglu_equals_its_reference(seed: u64, tokens in 1usize..150, width in widths(300)) {
        let mut random = Random::new(seed);
        let (gate_up, grad_output) =
            (random.elements([tokens, 2 * width]), random.elements([tokens, width]));
        let run = |gate: fn(Tensor<2>) -> Tensor<2>, device: &Device| {
            let gate_up = leaf::<2>(&gate_up, device);
            with_gradients(gate(gate_up.clone()), &grad_output, &[&gate_up])
        };
        compare(|device| run(swiglu, device), |device| run(swiglu_reference, device));
    }

    #[test]
    fn apply_rotary_equals_its_reference(
        seed: u64,
        batch in 1usize..3,
        seq in 1usize..70,
        heads in 1usize..4,
        half in widths(32),
    ) {
        let mut random = Random::new(seed);
        let shape = [batch, seq, heads, 2 * half];
        let (x, grad_output) = (random.elements(shape), random.elements(shape));
        let positions: Vec<u32> = (0..batch * seq).map(|_| random.below(99) as u32).collect();
        let frequencies: Vec<f32> = (0..half).map(|i| 0.8f32.powi(i as i32)).collect();
        type Rotate = fn(Tensor<4>, &RotaryEmbedding) -> Tensor<4>;
        let run = |rotate: Rotate, device: &Device| {
            let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, device);
            let x = leaf::<4>(&x, device);
            with_gradients(rotate(x.clone(), &rotary), &grad_output, &[&x])
        };
        compare(|device| run(apply_rotary, device), |device| run(apply_rotary_reference, device));
    }

    #[test]
    fn embedding_equals_its_reference(
        seed: u64,
        tokens in proptest::collection::vec(0u32..11, 1..200),
        hidden in widths(300),
        padding in proptest::option::of(0u32..11),
    ) {
        let mut random = Random::new(seed);
        let table = random.elements([11, hidden]);
        let grad_output = random.elements([tokens.len(), hidden]);
        let run = |embed: fn(Tensor<2>, &[u32], Option<u32>) -> Tensor<2>, device: &Device| {
            let table = leaf::<2>(&table, device);
            with_gradients(embed(table.clone(), &tokens, padding), &grad_output, &[&table])
        };
        compare(|device| run(embedding, device), |device| run(embedding_reference, device));
    }

    #[test]
    fn attention_equals_its_reference(
        seed: u64,
        batch in 1usize..3,
        seq in 1usize..100,
        group in 1usize..4,
        key_value in 1usize..3,
        half in widths(32),
    ) {
        let heads = AttentionHeads { query: group * key_value, key_value, head_dim: 2 * half };
        let mut random = Random::new(seed);
        let width = (heads.query + 2 * key_value) * 2 * half;
        let qkv = random.elements([batch * seq, width]);
        let grad_output = random.elements([batch * seq, heads.query * 2 * half]);
        let positions: Vec<u32> = (0..batch * seq).map(|_| random.below(50) as u32).collect();
        let frequencies: Vec<f32> = (0..half).map(|i| 0.8f32.powi(i as i32)).collect();
        let visible_until = visible_until(&mut random, batch, seq);
        type Attend = fn(Tensor<2>, AttentionHeads, &RotaryEmbedding, &AttentionMask) -> Tensor<2>;
        let run = |attend: Attend, device: &Device| {
            let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, device);
            let mask = AttentionMask::new([batch, seq], &visible_until, device);
            let qkv = leaf::<2>(&qkv, device);
            let output = attend(qkv.clone(), heads, &rotary, &mask);
            with_gradients(output, &grad_output, &[&qkv])
        };
        compare(|device| run(attention, device), |device| run(attention_reference, device));
    }

    #[test]
    fn linear_equals_its_reference(
        seed: u64,
        tokens in 1usize..90,
        inputs in 1usize..70,
        outputs in proptest::collection::vec(1usize..60, 1..4),
        form in 0usize..3,
        rank in proptest::option::of(1usize..9),
        is_masked: bool,
        has_residual: bool,
        is_nf4: bool,
    ) {
        let case = LinearCase {
            tokens, inputs, outputs, form, rank, is_masked, has_residual, is_nf4,
        };
        for gradients in [None, Some(linear_gradients as GradientsOf)] {
            compare(
                |device| case.run(linear, gradients, seed, device),
                |device| case.run(linear_reference, None, seed, device),
            );
        }
    }

    #[test]
    fn dequantize_equals_its_reference(seed: u64, rows in 1usize..300, width in widths(300)) {
        let values = Random::new(seed).elements([rows, width]);
        let values = values.as_slice::<f32>().expect("elements of f32");
        let run = |dequantize: fn(&Nf4Weight) -> Tensor<2>, device: &Device| {
            vec![dequantize(&Nf4Weight::quantize(values, [rows, width], device)).into_data()]
        };
        compare(|device| run(dequantize, device), |device| run(dequantize_reference, device));
    }
}

/// Documents of random lengths, in which some tokens are seen by a part of the rest alone.
fn visible_until(random: &mut Random, batch: usize, seq: usize) -> Vec<u32> {
    let mut until = Vec::new();
    for _ in 0..batch {
        let mut start = 0;
        while start < seq {
            let end = start + 1 + random.below(seq - start);
            for token in start..end {
                let last = match random.below(4) {
                    0 => token + 1 + random.below(end - token),
                    _ => end,
                };
                until.push(last as u32);
            }
            start = end;
        }
    }
    until
}

/// The gradients of a linear layer for that of its output.
type GradientsOf = fn(LinearOperands, Tensor<2>) -> Gradients;

/// A linear layer: what stands before and after it, and its weights' outputs.
#[derive(Debug)]
struct LinearCase {
    tokens: usize,
    inputs: usize,
    outputs: Vec<usize>,
    /// Plain, normalized or gated.
    form: usize,
    rank: Option<usize>,
    is_masked: bool,
    has_residual: bool,
    /// Whether the weights are frozen, in NF4.
    is_nf4: bool,
}

fn dropout(tokens: usize, device: &Device) -> DropoutMask {
    let keys = (0..tokens as u64).map(split_mix).collect();
    DropoutMask::new(TokenKeys::new(keys, device), split_mix(3), 0.25)
}

/// A weight in NF4.
fn nf4(data: &TensorData, shape: [usize; 2], device: &Device) -> Nf4Weight {
    let values = data.as_slice::<f32>().expect("elements of f32");
    Nf4Weight::quantize(values, shape, device)
}

impl LinearCase {
    /// Its output and gradients, those that `gradients` finds where it is given.
    fn run(
        &self,
        linear: fn(LinearOperands) -> Tensor<2>,
        gradients: Option<GradientsOf>,
        seed: u64,
        device: &Device,
    ) -> Vec<TensorData> {
        let mut random = Random::new(seed);
        let mut leaves: Vec<Tensor<2>> = Vec::new();
        let mut matrix = |data: TensorData| {
            let tensor = leaf::<2>(&data, device);
            leaves.push(tensor.clone());
            tensor
        };
        let (tokens, inputs) = (self.tokens, self.inputs);
        let norm = leaf::<1>(&random.elements([inputs]), device);
        let input = match self.form {
            0 => LinearInput::Plain(matrix(random.elements([tokens, inputs]))),
            1 => LinearInput::Normalized {
                x: matrix(random.elements([tokens, inputs])),
                weight: norm.clone(),
                epsilon: 1e-5,
            },
            _ => LinearInput::Gated(matrix(random.elements([tokens, 2 * inputs]))),
        };
        let mut weights = Vec::new();
        for &outputs in &self.outputs {
            let data = random.elements([outputs, inputs]);
            let adapter = self.rank.map(|rank| LowRankAdapter {
                a: matrix(random.elements([rank, inputs])),
                b: matrix(random.elements([outputs, rank])),
                scaling: 1.5,
                mask: self.is_masked.then(|| dropout(tokens, device)),
            });
            let weight = match self.is_nf4 {
                true => WeightMatrix::Nf4(nf4(&data, [outputs, inputs], device)),
                false => matrix(data).into(),
            };
            weights.push(LinearWeight { weight, adapter });
        }
        let total = self.outputs.iter().sum();
        let residual = self
            .has_residual
            .then(|| matrix(random.elements([tokens, total])));
        let grad_output = random.elements([tokens, total]);
        let operands = LinearOperands {
            input,
            weights,
            residual,
        };
        let output = linear(operands.clone());
        let probe = Tensor::from_data(grad_output, device);
        let gradients = match gradients {
            Some(gradients) => gradients(operands, probe.inner()),
            None => (output.clone() * probe).sum().backward(),
        };
        let mut found = vec![output.into_data()];
        for leaf in &leaves {
            found.push(leaf.grad(&gradients).expect("tracked").into_data());
        }
        if self.form == 1 {
            found.push(norm.grad(&gradients).expect("tracked").into_data());
        }
        found
    }
}
