//! Operations in bf16 with products of matrices, against their references in f32 on the CPU, of
//! elements that bf16 can hold.

use burn::tensor::{FloatDType, Tensor, TensorData};
use plw_kernels::{
    AttentionHeads, AttentionMask, LinearInput, LinearOperands, LinearWeight, LowRankAdapter,
    RotaryEmbedding, WeightMatrix, attention, attention_reference, dequantize_reference, linear,
    linear_reference,
};
use proptest::prelude::*;

use crate::bf16::{Place, compare, elements, tensor, with_gradients};
use crate::{Random, config, dropout, leaf, nf4, visible_until};

/// Elements around zero whose products with others are of the order of 1.
fn weights(random: &mut Random, [outputs, inputs]: [usize; 2]) -> TensorData {
    let data = elements(random, [outputs, inputs]);
    // A power of two, so that bf16 holds the quotients.
    let scale = (inputs as f32).sqrt().log2().ceil().exp2();
    let scaled = data.iter::<f32>().map(|x| x / scale).collect();
    TensorData::new(scaled, [outputs, inputs])
}

/// A weight in NF4, whose elements products in bf16 round.
fn rounded_nf4(data: &TensorData, shape: [usize; 2], (device, dtype): Place<'_>) -> WeightMatrix {
    let weight = nf4(data, shape, device);
    if dtype == FloatDType::BF16 {
        return WeightMatrix::Nf4(weight);
    }
    let rounded = dequantize_reference(&weight).cast(FloatDType::BF16);
    Tensor::<2>::from_data(rounded.cast(FloatDType::F32).into_data(), device).into()
}

/// What a linear layer is made of.
#[derive(Debug, Clone)]
struct Case {
    tokens: usize,
    inputs: usize,
    outputs: Vec<usize>,
    /// Plain, normalized or gated.
    form: usize,
    rank: Option<usize>,
    is_masked: bool,
    has_residual: bool,
    is_nf4: bool,
}

impl Case {
    fn run(
        &self,
        linear: fn(LinearOperands) -> Tensor<2>,
        seed: u64,
        place: Place<'_>,
    ) -> Vec<TensorData> {
        let mut random = Random::new(seed);
        let (tokens, inputs) = (self.tokens, self.inputs);
        let width = if self.form == 2 { 2 * inputs } else { inputs };
        let x = tensor::<2>(&elements(&mut random, [tokens, width]), place).require_grad();
        let norm = leaf::<1>(&random.elements([inputs]), place.0);
        let input = match self.form {
            0 => LinearInput::Plain(x.clone()),
            1 => LinearInput::Normalized {
                x: x.clone(),
                weight: norm,
                epsilon: 1e-5,
            },
            _ => LinearInput::Gated(x.clone()),
        };
        let mut leaves = Vec::new();
        let mut weight = |data: TensorData| {
            let weight = leaf::<2>(&data, place.0);
            leaves.push(weight.clone());
            weight
        };
        let mut layers = Vec::new();
        for &outputs in &self.outputs {
            let weight_data = weights(&mut random, [outputs, inputs]);
            let adapter = self.rank.map(|rank| LowRankAdapter {
                a: weight(weights(&mut random, [rank, inputs])),
                b: weight(weights(&mut random, [outputs, rank])),
                scaling: 0.5,
                mask: self.is_masked.then(|| dropout(tokens, place.0)),
            });
            let weight = match self.is_nf4 {
                true => rounded_nf4(&weight_data, [outputs, inputs], place),
                false => weight(weight_data).into(),
            };
            layers.push(LinearWeight { weight, adapter });
        }
        let total = self.outputs.iter().sum();
        let residual = elements(&mut random, [tokens, total]);
        let residual = tensor::<2>(&residual, place).require_grad();
        let grad_output = elements(&mut random, [tokens, total]);
        let output = linear(LinearOperands {
            input,
            weights: layers,
            residual: self.has_residual.then(|| residual.clone()),
        });
        let dtype = burn::tensor::FloatDType::from(output.dtype());
        let grad_output = Tensor::<2>::from_data(grad_output, place.0).cast(dtype);
        let gradients = (output.clone() * grad_output).sum().backward();
        let mut found = vec![
            output.into_data(),
            x.grad(&gradients).expect("tracked").into_data(),
        ];
        let gradient = |leaf: &Tensor<2>| leaf.grad(&gradients).expect("tracked").into_data();
        found.extend(leaves.iter().map(gradient));
        found
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn linear_rounds_its_reference(
        seed: u64,
        tokens in 1usize..90,
        inputs in 1usize..200,
        outputs in proptest::collection::vec(1usize..130, 1..4),
        form in 0usize..3,
        rank in proptest::option::of(1usize..9),
        is_masked: bool,
        has_residual: bool,
        is_aligned: bool,
        is_nf4: bool,
    ) {
        // Widths of 8 elements are what tensor cores want; others take other kernels.
        let width = |width: usize| if is_aligned { width.next_multiple_of(8) } else { width };
        let outputs = outputs.into_iter().map(width).collect();
        let inputs = width(inputs);
        let case = Case { tokens, inputs, outputs, form, rank, is_masked, has_residual, is_nf4 };
        compare(
            2,
            |place| case.run(linear, seed, place),
            |place| case.run(linear_reference, seed, place),
        );
    }

    /// Heads of the widths that tensor cores compute.
    #[test]
    fn attention_of_wide_heads_rounds_its_reference(
        seed: u64,
        batch in 1usize..3,
        seq in 1usize..300,
        group in 1usize..4,
        key_value in 1usize..3,
        is_wide: bool,
    ) {
        let head_dim = if is_wide { 128 } else { 64 };
        let heads = AttentionHeads { query: group * key_value, key_value, head_dim };
        let mut random = Random::new(seed);
        let visible_until = visible_until(&mut random, batch, seq);
        compare_attention(&mut random, heads, [batch, seq], &visible_until);
    }
}

/// Many queries see the first keys, whose gradients several blocks of a GPU add.
#[test]
fn attention_to_a_prefix_of_all_sequences_rounds_its_reference() {
    const SEQ: usize = 1150;
    let until = |token: usize| match token {
        0..40 => SEQ,
        _ => SEQ.min((token / 100 + 1) * 100),
    };
    let visible_until: Vec<u32> = (0..SEQ).map(|token| until(token) as u32).collect();
    for head_dim in [64, 128] {
        let heads = AttentionHeads {
            query: 2,
            key_value: 1,
            head_dim,
        };
        compare_attention(&mut Random::new(3), heads, [1, SEQ], &visible_until);
    }
}

fn compare_attention(
    random: &mut Random,
    heads: AttentionHeads,
    [batch, seq]: [usize; 2],
    visible_until: &[u32],
) {
    let AttentionHeads {
        query,
        key_value,
        head_dim,
    } = heads;
    let qkv = elements(random, [batch * seq, (query + 2 * key_value) * head_dim]);
    let grad_output = elements(random, [batch * seq, query * head_dim]);
    let positions: Vec<u32> = (0..batch * seq).map(|_| random.below(50) as u32).collect();
    let half = head_dim / 2;
    let frequency = |i: usize| 0.01f32.powf(i as f32 / half as f32);
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    type Attend = fn(Tensor<2>, AttentionHeads, &RotaryEmbedding, &AttentionMask) -> Tensor<2>;
    let run = |attend: Attend, place: Place<'_>| {
        let rotary = RotaryEmbedding::new([batch, seq], &positions, &frequencies, place.0);
        let mask = AttentionMask::new([batch, seq], visible_until, place.0);
        let qkv = tensor::<2>(&qkv, place).require_grad();
        let output = attend(qkv.clone(), heads, &rotary, &mask);
        with_gradients(output, &grad_output, &[&qkv])
    };
    compare(
        2,
        |place| run(attention, place),
        |place| run(attention_reference, place),
    );
}
