//! The operations in bf16 against their references in f32 on the CPU, of elements that bf16 can
//! hold. Skipped where the tested device has no bf16.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::bf16;
use plw_kernels::{
    AttentionHeads, AttentionMask, RotaryEmbedding, apply_rotary, apply_rotary_reference,
    attention, attention_reference, embedding, embedding_reference, rms_norm, rms_norm_reference,
    swiglu, swiglu_reference,
};
use proptest::prelude::*;

use crate::{Random, config, device, leaf, visible_until, widths};

/// Random elements that bf16 can hold.
pub(crate) fn elements<const D: usize>(random: &mut Random, shape: [usize; D]) -> TensorData {
    let data = random.elements(shape);
    let rounded: Vec<f32> = data
        .iter::<f32>()
        .map(|x| bf16::from_f32(x).to_f32())
        .collect();
    TensorData::new(rounded, shape)
}

/// A device, and the type of the activations there.
pub(crate) type Place<'a> = (&'a Device, FloatDType);

/// A tensor in the type of the activations.
pub(crate) fn tensor<const D: usize>(data: &TensorData, (device, dtype): Place<'_>) -> Tensor<D> {
    Tensor::<D>::from_data(data.clone(), device).cast(dtype)
}

/// The output and the gradient of each activation, whose type is that of the activations, for the
/// loss `sum(output * grad_output)`.
pub(crate) fn with_gradients<const D: usize, const E: usize>(
    output: Tensor<D>,
    grad_output: &TensorData,
    inputs: &[&Tensor<E>],
) -> Vec<TensorData> {
    let dtype = FloatDType::from(output.dtype());
    let grad_output = tensor(grad_output, (&output.device(), dtype));
    let gradients = (output.clone() * grad_output).sum().backward();
    let gradient = |input: &&Tensor<E>| input.grad(&gradients).expect("tracked").into_data();
    let mut found = vec![output.into_data()];
    found.extend(inputs.iter().map(gradient));
    found
}

/// Runs `on_device` in bf16 on the tested device, if it has bf16, and `reference` in f32 on the
/// CPU, and compares what they return. `activations` of the results are in bf16, those after them
/// in f32.
pub(crate) fn compare(
    activations: usize,
    on_device: impl Fn(Place<'_>) -> Vec<TensorData>,
    reference: impl Fn(Place<'_>) -> Vec<TensorData>,
) {
    let device = device();
    if !device.supports_dtype(DType::BF16) {
        println!("skipped: the device has no bf16");
        return;
    }
    let found = on_device((&device.autodiff(), FloatDType::BF16));
    let expected = reference((&Device::flex().autodiff(), FloatDType::F32));
    assert_eq!(found.len(), expected.len());
    for (number, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        let dtype = if number < activations {
            DType::BF16
        } else {
            DType::F32
        };
        assert_eq!(found.dtype(), dtype, "the type of result {number}");
        assert_rounded(number, &found, &expected);
    }
}

fn greatest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |greatest, x| x.abs().max(greatest))
}

/// A result in bf16 is off by roundings of 2^-9 of what it was computed from: about the greatest
/// element of its row, or of the tensor where rows cancel.
fn assert_rounded(number: usize, found: &TensorData, expected: &TensorData) {
    assert_eq!(found.shape(), expected.shape());
    let [found, values] = [found, expected].map(|data| data.iter::<f32>().collect::<Vec<_>>());
    let width = expected.shape()[expected.shape().len() - 1];
    let rows = found.chunks(width).zip(values.chunks(width));
    for (row, (found, expected)) in rows.enumerate() {
        let bound = greatest(expected) / 128.0 + greatest(&values) / 256.0;
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= bound,
                "result {number}, row {row}: {found}, not {expected} within {bound}"
            );
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rms_norm_rounds_its_reference(seed: u64, rows in 1usize..150, width in widths(1500)) {
        let mut random = Random::new(seed);
        let x = elements(&mut random, [rows, width]);
        let grad_output = elements(&mut random, [rows, width]);
        let weight = random.elements([width]);
        let run = |norm: fn(Tensor<2>, Tensor<1>, f64) -> Tensor<2>, place: Place<'_>| {
            let (x, weight) = (tensor::<2>(&x, place).require_grad(), leaf::<1>(&weight, place.0));
            let output = norm(x.clone(), weight.clone(), 1e-5);
            let grad_output = tensor(&grad_output, place);
            let gradients = (output.clone() * grad_output).sum().backward();
            vec![
                output.into_data(),
                x.grad(&gradients).expect("tracked").into_data(),
                weight.grad(&gradients).expect("tracked").into_data(),
            ]
        };
        compare(2, |place| run(rms_norm, place), |place| run(rms_norm_reference, place));
    }

    #[test]
    fn swiglu_rounds_its_reference(seed: u64, tokens in 1usize..150, width in widths(300)) {
        let mut random = Random::new(seed);
        let gate_up = elements(&mut random, [tokens, 2 * width]);
        let grad_output = elements(&mut random, [tokens, width]);
        let run = |gate: fn(Tensor<2>) -> Tensor<2>, place: Place<'_>| {
            let gate_up = tensor::<2>(&gate_up, place).require_grad();
            with_gradients(gate(gate_up.clone()), &grad_output, &[&gate_up])
        };
        compare(2, |place| run(swiglu, place), |place| run(swiglu_reference, place));
    }

    #[test]
    fn apply_rotary_rounds_its_reference(
        seed: u64,
        batch in 1usize..3,
        seq in 1usize..70,
        heads in 1usize..4,
        half in widths(32),
    ) {
        let mut random = Random::new(seed);
        let shape = [batch, seq, heads, 2 * half];
        let (x, grad_output) = (elements(&mut random, shape), elements(&mut random, shape));
        let positions: Vec<u32> = (0..batch * seq).map(|_| random.below(99) as u32).collect();
        let frequencies: Vec<f32> = (0..half).map(|i| 0.8f32.powi(i as i32)).collect();
        type Rotate = fn(Tensor<4>, &RotaryEmbedding) -> Tensor<4>;
        let run = |rotate: Rotate, place: Place<'_>| {
            let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, place.0);
            let x = tensor::<4>(&x, place).require_grad();
            with_gradients(rotate(x.clone(), &rotary), &grad_output, &[&x])
        };
        compare(2, |place| run(apply_rotary, place), |place| run(apply_rotary_reference, place));
    }

    #[test]
    fn embedding_rounds_its_reference(
        seed: u64,
        tokens in proptest::collection::vec(0u32..97, 1..200),
        hidden in widths(300),
        padding in proptest::option::of(0u32..97),
    ) {
        let mut random = Random::new(seed);
        let table = elements(&mut random, [97, hidden]);
        let grad_output = elements(&mut random, [tokens.len(), hidden]);
        let run = |embed: fn(Tensor<2>, &[u32], Option<u32>) -> Tensor<2>, place: Place<'_>| {
            let table = tensor::<2>(&table, place).require_grad();
            with_gradients(embed(table.clone(), &tokens, padding), &grad_output, &[&table])
        };
        compare(2, |place| run(embedding, place), |place| run(embedding_reference, place));
    }

    #[test]
    fn attention_rounds_its_reference(
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
        let qkv = elements(&mut random, [batch * seq, width]);
        let grad_output = elements(&mut random, [batch * seq, heads.query * 2 * half]);
        let positions: Vec<u32> = (0..batch * seq).map(|_| random.below(50) as u32).collect();
        let frequencies: Vec<f32> = (0..half).map(|i| 0.8f32.powi(i as i32)).collect();
        let visible_until = visible_until(&mut random, batch, seq);
        type Attend = fn(Tensor<2>, AttentionHeads, &RotaryEmbedding, &AttentionMask) -> Tensor<2>;
        let run = |attend: Attend, place: Place<'_>| {
            let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, place.0);
            let mask = AttentionMask::new([batch, seq], &visible_until, place.0);
            let qkv = tensor::<2>(&qkv, place).require_grad();
            let output = attend(qkv.clone(), heads, &rotary, &mask);
            with_gradients(output, &grad_output, &[&qkv])
        };
        compare(2, |place| run(attention, place), |place| run(attention_reference, place));
    }
}
