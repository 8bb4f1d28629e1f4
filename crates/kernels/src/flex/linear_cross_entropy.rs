//! Weighted cross-entropy through a language-model head on slices: chunks of rows, whose gradients
//! are computed with the loss.

use rayon::prelude::*;

use super::buffer::uninitialized;
use super::matmul::{Matrix, Parallelism, Product};
use super::vector::{exp, maximum, sum_of, vectorize};
use crate::target_table::TargetTable;

/// Sizes of hidden states and head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) hidden_size: usize,
    pub(crate) vocab: usize,
}

/// Which gradients the forward pass computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) hidden: bool,
    pub(crate) lm_head: bool,
}

/// What the forward pass returns.
pub(crate) struct LossAndGradients {
    /// The weighted sum.
    pub(crate) loss: f32,
    /// `[targets]`, unweighted.
    pub(crate) target_losses: Vec<f32>,
    /// `[rows, hidden]`, where wanted.
    pub(crate) grad_hidden: Option<Vec<f32>>,
    /// `[vocab, hidden]`, where wanted.
    pub(crate) grad_lm_head: Option<Vec<f32>>,
}

/// The loss and the wanted gradients of hidden states `[rows, hidden]` and head `[vocab, hidden]`.
/// At most `chunk` rows of logits are held at a time.
pub(crate) fn forward(
    shape: Shape,
    hidden: &[f32],
    lm_head: &[f32],
    targets: TargetTable<'_>,
    chunk: usize,
    wanted: Wanted,
) -> LossAndGradients {
    let Shape {
        rows,
        hidden_size,
        vocab,
    } = shape;
    assert_eq!(hidden.len(), rows * hidden_size);
    let wants_gradients = wanted.hidden || wanted.lm_head;
    let mut grad_hidden = wanted.hidden.then(|| uninitialized(hidden.len()));
    let mut grad_lm_head: Option<Vec<f32>> = None;
    let chunk = chunk.clamp(1, rows.max(1));
    let mut logits = uninitialized(chunk * vocab);
    let mut target_losses = Vec::with_capacity(targets.row.len());
    let head = Matrix::new(lm_head, vocab, hidden_size);
    for first in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first);
        let elements = first * hidden_size..(first + count) * hidden_size;
        let part = Matrix::new(&hidden[elements.clone()], count, hidden_size);
        let logits = Product::new(part, head.transposed(), Parallelism::Rayon)
            .overwrite(&mut logits[..count * vocab]);
        let losses: Vec<Vec<f32>> = logits
            .par_chunks_exact_mut(vocab)
            .zip(first..first + count)
            .map(|(logits, row)| {
                vectorize(|| row_losses(logits, targets_of(targets, row), wants_gradients))
            })
            .collect();
        target_losses.extend(losses.into_iter().flatten());
        let grad_logits = Matrix::new(logits, count, vocab);
        if wanted.lm_head {
            let part = Product::new(grad_logits.transposed(), part, Parallelism::Rayon);
            match &mut grad_lm_head {
                Some(sum) => part.accumulate(sum),
                None => grad_lm_head = Some(part.to_vec()),
            }
        }
        if let Some(grad_hidden) = &mut grad_hidden {
            Product::new(grad_logits, head, Parallelism::Rayon)
                .overwrite(&mut grad_hidden[elements]);
        }
    }
    let weighted = targets.weight.iter().zip(&target_losses);
    let loss: f64 = weighted.map(|(&w, &l)| f64::from(w) * f64::from(l)).sum();
    LossAndGradients {
        loss: loss as f32,
        target_losses,
        // SAFETY: the chunks are all rows, and each chunk's product has written its rows.
        grad_hidden: grad_hidden.map(|grad| unsafe { grad.assume_init() }.into_vec()),
        grad_lm_head: wanted
            .lm_head
            .then(|| grad_lm_head.unwrap_or_else(|| vec![0.0; lm_head.len()])),
    }
}

/// Tokens and weights of a row's targets.
fn targets_of(targets: TargetTable<'_>, row: usize) -> (&[u32], &[f32]) {
    let start = targets.row.partition_point(|&r| (r as usize) < row);
    let end = targets.row.partition_point(|&r| r as usize <= row);
    (&targets.token[start..end], &targets.weight[start..end])
}

/// The losses of a row's targets. Where gradients are wanted, that of the logits replaces them:
/// `softmax(z) * (the row's summed weight) - weight at each target's token`.
#[inline(always)]
fn row_losses(
    logits: &mut [f32],
    (tokens, weights): (&[u32], &[f32]),
    wants_gradients: bool,
) -> Vec<f32> {
    if tokens.is_empty() {
        logits.fill(0.0);
        return Vec::new();
    }
    let highest = maximum(logits);
    let mut losses: Vec<f32> = tokens
        .iter()
        .map(|&token| highest - logits[token as usize])
        .collect();
    for logit in &mut *logits {
        *logit = exp(*logit - highest);
    }
    let sum = sum_of(logits, logits, |x, _| x);
    let log_sum = sum.ln();
    losses.iter_mut().for_each(|loss| *loss += log_sum);
    if wants_gradients {
        let factor = weights.iter().sum::<f32>() / sum;
        logits.iter_mut().for_each(|x| *x *= factor);
        for (&token, weight) in tokens.iter().zip(weights) {
            logits[token as usize] -= weight;
        }
    }
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn a_row_has_the_losses_and_gradients_of_the_formula_at_every_width() {
        for vocab in [1, 15, 16, 333] {
            let logits: Vec<f32> = (0..vocab)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 6.0)
                .collect();
            let (tokens, weights) = ([0, vocab as u32 - 1], [0.25f32, 0.5]);
            let found = at_every_width(|| {
                let mut logits = logits.clone();
                let losses = vectorize(|| row_losses(&mut logits, (&tokens, &weights), true));
                [losses, logits].concat()
            });
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            for (found, &token) in found.iter().zip(&tokens) {
                let expected = sum.ln() - f64::from(logits[token as usize]);
                assert!((f64::from(*found) - expected).abs() < 1e-5 * (1.0 + expected));
            }
            for (index, found) in found[tokens.len()..].iter().enumerate() {
                let targets = tokens.iter().zip(&weights);
                let own: f32 = targets
                    .filter(|(token, _)| **token as usize == index)
                    .map(|(_, w)| w)
                    .sum();
                let expected = 0.75 * f64::from(logits[index]).exp() / sum - f64::from(own);
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-6,
                    "{vocab} {index}"
                );
            }
        }
    }
}
