//! The cross-entropy through a language-model head, in f32 and in bf16.

use burn::tensor::{FloatDType, Tensor, TensorData};
use plw_kernels::{TargetTable, linear_cross_entropy, linear_cross_entropy_reference};
use proptest::prelude::*;

use crate::bf16::{self, Place};
use crate::{Random, compare, config, leaf};

/// States and a head, and targets of the states.
struct Case {
    /// `[rows, hidden]`.
    states: TensorData,
    /// `[vocab, hidden]`.
    head: TensorData,
    row: Vec<u32>,
    token: Vec<u32>,
    weight: Vec<f32>,
    /// Rows of logits at a time.
    chunk: usize,
}

impl Case {
    fn new(
        seed: u64,
        elements: fn(&mut Random, [usize; 2]) -> TensorData,
        [rows, hidden, vocab]: [usize; 3],
        count: usize,
        chunk: usize,
    ) -> Self {
        let mut random = Random::new(seed);
        let states = elements(&mut random, [rows, hidden]);
        let head = elements(&mut random, [vocab, hidden]);
        let mut row: Vec<u32> = (0..count).map(|_| random.below(rows) as u32).collect();
        row.sort_unstable();
        Self {
            states,
            head,
            row,
            token: (0..count).map(|_| random.below(vocab) as u32).collect(),
            weight: (0..count).map(|_| random.below(4) as f32 / 3.0).collect(),
            chunk,
        }
    }

    /// The gradient of the states, the loss, those of the targets and the gradient of the head.
    fn run(&self, is_kernel: bool, place: Place<'_>) -> Vec<TensorData> {
        let table = TargetTable {
            row: &self.row,
            token: &self.token,
            weight: &self.weight,
        };
        let states: Tensor<2> = bf16::tensor(&self.states, place).require_grad();
        let head = leaf::<2>(&self.head, place.0);
        let (s, h) = (states.clone(), head.clone());
        let found = match is_kernel {
            true => linear_cross_entropy(s, h, table, self.chunk),
            false => linear_cross_entropy_reference(s, h, table),
        };
        let gradients = found.loss.clone().mul_scalar(0.5).backward();
        vec![
            states.grad(&gradients).expect("tracked").into_data(),
            found.loss.into_data(),
            found.target_losses.into_data(),
            head.grad(&gradients).expect("tracked").into_data(),
        ]
    }
}

/// Compares the losses and gradients of so many targets, for `[rows, hidden]` states and a head of
/// `vocab` rows.
fn compare_in_f32(seed: u64, sizes: [usize; 3], count: usize, chunk: usize) {
    let case = Case::new(seed, Random::elements::<2>, sizes, count, chunk);
    compare(
        |device| case.run(true, (device, FloatDType::F32)),
        |device| case.run(false, (device, FloatDType::F32)),
    );
}

/// A unit of a kernel holds a few of a row's logits: not all of these.
#[test]
fn the_cross_entropy_of_a_large_vocabulary_equals_its_reference() {
    for vocab in [34_567, 34_568] {
        compare_in_f32(7, [3, 5, vocab], 6, 2);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn linear_cross_entropy_equals_its_reference(
        seed: u64,
        rows in 1usize..50,
        hidden in 1usize..60,
        vocab in 2usize..700,
        count in 0usize..70,
        chunk in 1usize..60,
    ) {
        compare_in_f32(seed, [rows, hidden, vocab], count, chunk);
    }

    #[test]
    fn linear_cross_entropy_rounds_its_reference(
        seed: u64,
        rows in 1usize..70,
        hidden in 1usize..60,
        vocab in 2usize..700,
        count in 1usize..70,
        chunk in 1usize..60,
    ) {
        let case = Case::new(seed, bf16::elements::<2>, [rows, hidden, vocab], count, chunk);
        bf16::compare(1, |place| case.run(true, place), |place| case.run(false, place));
    }
}
