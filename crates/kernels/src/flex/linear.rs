//! Linear layers on slices: what the product is taken of, the products side by side, their adapters and the residual in one
//! go, forward and backward. What is cheap to make again (the normalised or gated input, an adapter's inner product) is
//! made again by the backward pass rather than kept.

use std::borrow::Cow;

use super::buffer::buffer;
use super::low_rank::{backward_adapter, effective_weight, inner_product, is_merged, masked};
use super::matmul::{Into, Matrix, matmul};
use super::operands::{Factor, Operands, Preparation};
use super::{rms_norm, swiglu};

/// The left side of a product, and what its backward pass needs besides.
struct Prepared<'a> {
    /// `[tokens, in]`.
    rows: Cow<'a, [f32]>,
    /// `[tokens]`, where normalised.
    scales: Vec<f32>,
}

fn prepare<'a>(
    operands: &Operands<&'a [f32]>,
    preparation: Preparation,
    tokens: usize,
) -> Prepared<'a> {
    let input = operands.input;
    match preparation {
        Preparation::Plain => Prepared {
            rows: Cow::Borrowed(input),
            scales: Vec::new(),
        },
        Preparation::Normalised { epsilon } => {
            let mut rows = buffer(input.len());
            let mut scales = buffer(tokens);
            let weight = norm_weight(operands);
            rms_norm::forward(input, weight, epsilon as f32, &mut rows, &mut scales);
            Prepared {
                rows: Cow::Owned(rows),
                scales,
            }
        }
        Preparation::Gated => {
            let mut rows = buffer(input.len() / 2);
            swiglu::forward(input, rows.len() / tokens.max(1), &mut rows);
            Prepared {
                rows: Cow::Owned(rows),
                scales: Vec::new(),
            }
        }
    }
}

fn norm_weight<'a>(operands: &Operands<&'a [f32]>) -> &'a [f32] {
    operands
        .norm
        .expect("a product of a normalised input has the norm's weight")
}

/// A product's sizes.
pub(super) struct Sizes {
    pub(super) tokens: usize,
    pub(super) inputs: usize,
    /// Of all factors together.
    pub(super) outputs: usize,
}

impl Sizes {
    fn of(operands: &Operands<&[f32]>, preparation: Preparation, tokens: usize) -> Self {
        let width = operands.input.len() / tokens;
        let inputs = match preparation {
            Preparation::Gated => width / 2,
            _ => width,
        };
        let outputs = |factor: &Factor<&[f32]>| factor.weight.len() / inputs;
        Self {
            tokens,
            inputs,
            outputs: operands.factors.iter().map(outputs).sum(),
        }
    }

    pub(super) fn rows<'a>(&self, numbers: &'a [f32]) -> Matrix<'a> {
        Matrix::new(numbers, self.tokens, self.inputs, self.inputs)
    }
}

/// `[tokens, out]` of all factors side by side, the residual included. There must be a token.
pub(crate) fn forward(
    operands: &Operands<&[f32]>,
    preparation: Preparation,
    tokens: usize,
) -> Vec<f32> {
    let sizes = Sizes::of(operands, preparation, tokens);
    let Sizes {
        inputs, outputs, ..
    } = sizes;
    let prepared = prepare(operands, preparation, tokens);
    let (mut output, into) = match operands.residual {
        Some(residual) => (residual.to_vec(), Into::Sum),
        None => (buffer(tokens * outputs), Into::Place),
    };
    let mut column = 0;
    for factor in &operands.factors {
        let width = factor.weight.len() / inputs;
        let effective = effective_weight(factor, &sizes);
        let weight = Matrix::new(&effective, width, inputs, inputs);
        matmul(
            &mut output[column..],
            outputs,
            into,
            1.0,
            sizes.rows(&prepared.rows),
            weight.transposed(),
            true,
        );
        if let Some(adapter) = factor
            .adapter
            .as_ref()
            .filter(|_| !is_merged(factor, &sizes))
        {
            let rank = adapter.a.len() / inputs;
            let inner = inner_product(adapter, &masked(&prepared.rows, adapter.mask), &sizes);
            matmul(
                &mut output[column..],
                outputs,
                Into::Sum,
                adapter.scaling,
                Matrix::new(&inner, tokens, rank, rank),
                Matrix::new(adapter.b, width, rank, rank).transposed(),
                true,
            );
        }
        column += width;
    }
    output
}

/// The gradients of those operands that are wanted, but the residual, whose gradient is the output's.
pub(crate) fn backward(
    operands: &Operands<&[f32]>,
    wanted: &Operands<bool>,
    preparation: Preparation,
    tokens: usize,
    upper: &[f32],
) -> Operands<Option<Vec<f32>>> {
    let sizes = Sizes::of(operands, preparation, tokens);
    let prepared = prepare(operands, preparation, tokens);
    let wants_rows = wanted.input || wanted.norm == Some(true);
    let mut of_rows = wants_rows.then(|| buffer(tokens * sizes.inputs));
    let mut column = 0;
    let factors = operands
        .factors
        .iter()
        .zip(&wanted.factors)
        .map(|(factor, wanted)| {
            let width = factor.weight.len() / sizes.inputs;
            let upper = Matrix::new(&upper[column..], tokens, width, sizes.outputs);
            // The first factor's part overwrites what the buffer held.
            let into = if column == 0 { Into::Place } else { Into::Sum };
            column += width;
            backward_factor(
                factor,
                wanted,
                &prepared.rows,
                upper,
                width,
                &sizes,
                of_rows.as_deref_mut(),
                into,
            )
        })
        .collect();
    let mut gradients = Operands {
        input: None,
        norm: None,
        residual: operands.residual.map(|_| None),
        factors,
    };
    let Some(of_rows) = of_rows else {
        gradients.norm = operands.norm.map(|_| None);
        return gradients;
    };
    match preparation {
        Preparation::Plain => gradients.input = Some(of_rows),
        Preparation::Normalised { .. } => {
            let mut of_input = buffer(operands.input.len());
            let of_norm = rms_norm::backward(
                operands.input,
                norm_weight(operands),
                &prepared.scales,
                &of_rows,
                &mut of_input,
            );
            gradients.input = Some(of_input);
            gradients.norm = Some(Some(of_norm));
        }
        Preparation::Gated => {
            let mut of_input = buffer(operands.input.len());
            swiglu::backward(operands.input, sizes.inputs, &of_rows, &mut of_input);
            gradients.input = Some(of_input);
        }
    }
    gradients
}

#[allow(
    clippy::too_many_arguments,
    reason = "one factor's part of a product's backward pass"
)]
fn backward_factor(
    factor: &Factor<&[f32]>,
    wanted: &Factor<bool>,
    rows: &[f32],
    upper: Matrix<'_>,
    width: usize,
    sizes: &Sizes,
    mut of_rows: Option<&mut [f32]>,
    into: Into,
) -> Factor<Option<Vec<f32>>> {
    let inputs = sizes.inputs;
    let weight = wanted.weight.then(|| {
        let mut gradient = buffer(factor.weight.len());
        matmul(
            &mut gradient,
            inputs,
            Into::Place,
            1.0,
            upper.transposed(),
            sizes.rows(rows),
            true,
        );
        gradient
    });
    if let Some(of_rows) = &mut of_rows {
        let effective = effective_weight(factor, sizes);
        let weight = Matrix::new(&effective, width, inputs, inputs);
        matmul(of_rows, inputs, into, 1.0, upper, weight, true);
    }
    let of_rows = of_rows.filter(|_| !is_merged(factor, sizes));
    let adapter = factor
        .adapter
        .as_ref()
        .zip(wanted.adapter.as_ref())
        .map(|(adapter, wanted)| {
            backward_adapter(adapter, wanted, rows, upper, width, sizes, of_rows)
        });
    Factor { weight, adapter }
}
