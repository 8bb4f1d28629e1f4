//! Weighted cross-entropy through a classifier on slices: a chunk of rows at a time, the gradients at once.

use rayon::prelude::*;

use super::buffer::buffer;
use super::matmul::{Into, Matrix, matmul};
use super::vector::{exp, maximum, sum_of, vectorize};
use crate::TargetTable;

/// Sizes of a classifier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) hidden_size: usize,
    pub(crate) vocab: usize,
}

/// What the forward pass finds.
pub(crate) struct Found {
    /// The weighted sum.
    pub(crate) loss: f32,
    /// `[targets]`, unweighted.
    pub(crate) target_losses: Vec<f32>,
    /// `[rows, hidden]`, where wanted.
    pub(crate) of_hidden: Option<Vec<f32>>,
    /// `[vocab, hidden]`, where wanted.
    pub(crate) of_classifier: Option<Vec<f32>>,
}

/// Loss and wanted gradients of hidden states `[rows, hidden]` and classifier `[vocab, hidden]`, at most `chunk` rows of
/// logits at a time.
pub(crate) fn forward(
    shape: Shape,
    hidden: &[f32],
    classifier: &[f32],
    targets: TargetTable<'_>,
    chunk: usize,
    [wants_hidden, wants_classifier]: [bool; 2],
) -> Found {
    let Shape {
        rows,
        hidden_size,
        vocab,
    } = shape;
    let wants_slopes = wants_hidden || wants_classifier;
    let mut of_hidden = wants_hidden.then(|| buffer(hidden.len()));
    let mut of_classifier = wants_classifier.then(|| match rows {
        0 => vec![0.0; classifier.len()],
        _ => buffer(classifier.len()),
    });
    let chunk = chunk.clamp(1, rows.max(1));
    let mut logits = buffer(chunk * vocab);
    let mut target_losses = Vec::with_capacity(targets.row.len());
    for first in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first);
        let logits = &mut logits[..count * vocab];
        let part = &hidden[first * hidden_size..][..count * hidden_size];
        let part = Matrix::new(part, count, hidden_size, hidden_size);
        let classifier = Matrix::new(classifier, vocab, hidden_size, hidden_size);
        matmul(
            logits,
            vocab,
            Into::Place,
            1.0,
            part,
            classifier.transposed(),
            true,
        );
        let losses: Vec<Vec<f32>> = logits
            .par_chunks_exact_mut(vocab)
            .zip(first..first + count)
            .map(|(logits, row)| {
                vectorize(|| row_losses(logits, targets_of(targets, row), wants_slopes))
            })
            .collect();
        target_losses.extend(losses.into_iter().flatten());
        let slopes = Matrix::new(logits, count, vocab, vocab);
        if let Some(of_classifier) = &mut of_classifier {
            let into = if first == 0 { Into::Place } else { Into::Sum };
            let slopes = slopes.transposed();
            matmul(of_classifier, hidden_size, into, 1.0, slopes, part, true);
        }
        if let Some(of_hidden) = &mut of_hidden {
            let place = &mut of_hidden[first * hidden_size..];
            matmul(
                place,
                hidden_size,
                Into::Place,
                1.0,
                slopes,
                classifier,
                true,
            );
        }
    }
    let weighted = targets.weight.iter().zip(&target_losses);
    let loss: f64 = weighted.map(|(&w, &l)| f64::from(w) * f64::from(l)).sum();
    Found {
        loss: loss as f32,
        target_losses,
        of_hidden,
        of_classifier,
    }
}

/// Tokens and weights of a row's targets.
fn targets_of(targets: TargetTable<'_>, row: usize) -> (&[u32], &[f32]) {
    let start = targets.row.partition_point(|&r| (r as usize) < row);
    let end = targets.row.partition_point(|&r| r as usize <= row);
    (&targets.token[start..end], &targets.weight[start..end])
}

/// The losses of a row's targets; logits become the loss's slopes along them, where wanted:
/// `softmax(z) * (the row's summed weight) - weight at each target's token`.
#[inline(always)]
fn row_losses(
    logits: &mut [f32],
    (tokens, weights): (&[u32], &[f32]),
    wants_slopes: bool,
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
    if wants_slopes {
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
    fn a_row_has_the_losses_and_slopes_of_the_formula_at_every_width() {
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
