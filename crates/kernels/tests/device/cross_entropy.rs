//! The cross-entropy through a language-model head.

use burn::tensor::Device;
use plw_kernels::{TargetTable, linear_cross_entropy, linear_cross_entropy_reference};
use proptest::prelude::*;

use crate::{Random, compare, config, leaf};

/// Compares the losses and gradients of so many targets, for `[rows, hidden]` states and a head of
/// `vocab` rows.
fn compare_cross_entropy(seed: u64, [rows, hidden, vocab]: [usize; 3], count: usize, chunk: usize) {
    let mut random = Random::new(seed);
    let (states, head) = (
        random.elements([rows, hidden]),
        random.elements([vocab, hidden]),
    );
    let mut row: Vec<u32> = (0..count).map(|_| random.below(rows) as u32).collect();
    row.sort_unstable();
    let token: Vec<u32> = (0..count).map(|_| random.below(vocab) as u32).collect();
    let weight: Vec<f32> = (0..count).map(|_| random.below(4) as f32 / 3.0).collect();
    let table = TargetTable {
        row: &row,
        token: &token,
        weight: &weight,
    };
    let run = |is_kernel: bool, device: &Device| {
        let (states, head) = (leaf::<2>(&states, device), leaf::<2>(&head, device));
        let (s, h) = (states.clone(), head.clone());
        let found = match is_kernel {
            true => linear_cross_entropy(s, h, table, chunk),
            false => linear_cross_entropy_reference(s, h, table),
        };
        let gradients = found.loss.clone().mul_scalar(0.5).backward();
        vec![
            found.loss.into_data(),
            found.target_losses.into_data(),
            states.grad(&gradients).expect("tracked").into_data(),
            head.grad(&gradients).expect("tracked").into_data(),
        ]
    };
    compare(|device| run(true, device), |device| run(false, device));
}

/// A unit of a kernel holds a few of a row's logits: not all of these.
#[test]
fn the_cross_entropy_of_a_large_vocabulary_equals_its_reference() {
    for vocab in [34_567, 34_568] {
        compare_cross_entropy(7, [3, 5, vocab], 6, 2);
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
        compare_cross_entropy(seed, [rows, hidden, vocab], count, chunk);
    }
}
