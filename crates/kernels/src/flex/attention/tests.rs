use super::random_mask::{mask_kind, random_mask, sequence_length};
use super::{Attended, Shape, backward, forward};
use crate::flex::vector::at_every_width;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.5..1.5)).collect()
}

/// Query by query, in f64: output, log-sum-exp, and the gradient of `qkv`.
fn expected(shape: &Shape, qkv: &[f32], until: &[u32], grad_output: &[f32]) -> [Vec<f64>; 3] {
    let (seq, width, head_dim) = (shape.seq, shape.width(), shape.head_dim);
    let scale = (head_dim as f64).sqrt().recip();
    let at = |values: &[f32], start: usize| -> Vec<f64> {
        values[start..][..head_dim]
            .iter()
            .map(|&x| f64::from(x))
            .collect()
    };
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(a, b)| a * b).sum() };
    let (mut output, mut log_sum_exp) = (Vec::new(), Vec::new());
    let mut gradient = vec![0.0; qkv.len()];
    for token in 0..shape.batch * seq {
        let first = token / seq * seq;
        for head in 0..shape.heads {
            let columns = shape.columns(head);
            let [query, key, value] =
                columns.map(|column| move |token: usize| at(qkv, token * width + column));
            let seen: Vec<usize> = (first..=token)
                .filter(|&j| token - first < until[j] as usize)
                .collect();
            let query = query(token);
            let exponentials: Vec<f64> = seen
                .iter()
                .map(|&j| (dot(&query, &key(j)) * scale).exp())
                .collect();
            let total: f64 = exponentials.iter().sum();
            log_sum_exp.push(total.ln());
            let grad_output = at(grad_output, token * shape.output_width() + columns[0]);
            let mut weighted = vec![0.0; head_dim];
            for (&j, exponential) in seen.iter().zip(&exponentials) {
                for (sum, x) in weighted.iter_mut().zip(value(j)) {
                    *sum += exponential / total * x;
                }
            }
            for (&j, exponential) in seen.iter().zip(&exponentials) {
                let weight = exponential / total;
                let grad_score =
                    weight * (dot(&grad_output, &value(j)) - dot(&grad_output, &weighted)) * scale;
                let key = key(j);
                for i in 0..head_dim {
                    gradient[token * width + columns[0] + i] += grad_score * key[i];
                    gradient[j * width + columns[1] + i] += grad_score * query[i];
                    gradient[j * width + columns[2] + i] += weight * grad_output[i];
                }
            }
            output.extend(weighted);
        }
    }
    [output, log_sum_exp, gradient]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn values_and_gradients_are_those_of_the_formula_at_every_width(
        batch in 1usize..3,
        seq in sequence_length(),
        key_value_heads in 1usize..3,
        group in 1usize..4,
        head_dim in prop::sample::select(vec![1usize, 3, 17, 48, 64, 80, 128]),
        kind in mask_kind(),
        seed: u64,
    ) {
        let heads = group * key_value_heads;
        let shape = Shape { batch, seq, heads, key_value_heads, head_dim };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tokens = batch * seq;
        let qkv = random(&mut rng, tokens * shape.width());
        let until = random_mask(&mut rng, kind, batch, seq);
        let grad_output = random(&mut rng, tokens * shape.output_width());
        let expected = expected(&shape, &qkv, &until, &grad_output);
        let output_count = tokens * shape.output_width();
        let found = at_every_width(|| {
            let (output, log_sum_exp) = forward(&shape, &qkv, &until);
            let attended = Attended { qkv: &qkv, output: &output, log_sum_exp: &log_sum_exp };
            let gradient = backward(&shape, &attended, &until, &grad_output);
            [output, log_sum_exp, gradient].concat()
        });
        for (index, (&found, expected)) in found.iter().zip(expected.concat()).enumerate() {
            prop_assert!(
                (f64::from(found) - expected).abs() < 5e-5 * (1.0 + expected.abs()),
                "{index} of {output_count} and more: {found} {expected}"
            );
        }
    }
}
