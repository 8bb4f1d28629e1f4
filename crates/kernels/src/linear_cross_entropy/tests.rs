use super::*;
use burn::tensor::{Device, Tolerance};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

fn random(rng: &mut rand_chacha::ChaCha8Rng, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| rng.random_range(-2.0..2.0))
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[derive(Debug)]
struct Case {
    rows: usize,
    hidden_size: usize,
    vocab: usize,
    chunk: usize,
    /// One more than the most targets.
    targets: usize,
    seed: u64,
    /// Whether hidden states (first bit) and lm_head (second bit) have gradients.
    track: u8,
}

/// Cases with fewer rows, hidden units, tokens of the vocabulary, rows of a chunk and targets than
/// these.
fn cases([rows, hidden_size, vocab, chunk, targets]: [usize; 5]) -> impl Strategy<Value = Case> {
    let sizes = (1..rows, 1..hidden_size, 1..vocab, 1..chunk);
    (sizes, any::<u64>(), 1u8..4).prop_map(move |(sizes, seed, track)| Case {
        rows: sizes.0,
        hidden_size: sizes.1,
        vocab: sizes.2,
        chunk: sizes.3,
        targets,
        seed,
        track,
    })
}

fn check_case(case: Case) {
    let device = Device::flex().autodiff();
    let Case {
        rows,
        hidden_size,
        vocab,
        chunk,
        targets,
        seed,
        track,
    } = case;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut row: Vec<u32> = (0..rng.random_range(1..targets))
        .map(|_| rng.random_range(0..rows as u32))
        .collect();
    row.sort_unstable();
    let token: Vec<u32> = row
        .iter()
        .map(|_| rng.random_range(0..vocab as u32))
        .collect();
    let weight: Vec<f32> = row.iter().map(|_| rng.random_range(0.0..1.5)).collect();
    let table = TargetTable {
        row: &row,
        token: &token,
        weight: &weight,
    };
    let hidden = random(&mut rng, [rows, hidden_size], &device).set_require_grad(track & 1 != 0);
    // So that logits have the same scale at every hidden size.
    let spread = (hidden_size as f64).sqrt();
    let lm_head =
        (random(&mut rng, [vocab, hidden_size], &device) / spread).set_require_grad(track & 2 != 0);

    let plain = linear_cross_entropy_reference(hidden.clone(), lm_head.clone(), table);
    // The gradients are sums over targets: their rounding errors grow with the root.
    let tolerance = Tolerance::<f32>::rel_abs(1e-4, 1e-5 * (rows.max(row.len()) as f32).sqrt());
    // The factor shows that the gradient of the loss is passed on.
    let plain_gradients = plain.loss.clone().mul_scalar(3.0).backward();
    for form in [linear_cross_entropy, linear_cross_entropy_chunked] {
        let found = form(hidden.clone(), lm_head.clone(), table, chunk);
        found
            .loss
            .to_data()
            .assert_approx_eq(&plain.loss.to_data(), tolerance);
        found
            .target_losses
            .to_data()
            .assert_approx_eq(&plain.target_losses.to_data(), tolerance);
        let found = found.loss.mul_scalar(3.0).backward();
        for input in [&hidden, &lm_head] {
            match (input.grad(&found), input.grad(&plain_gradients)) {
                (Some(a), Some(b)) => a.to_data().assert_approx_eq(&b.to_data(), tolerance),
                (None, None) => {}
                (a, b) => panic!("gradients {} and {}", a.is_some(), b.is_some()),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_forms_equal_the_reference_in_value_and_gradient(case in cases([20, 9, 30, 25, 30])) {
        check_case(case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn they_do_so_beyond_one_tile_of_a_product(case in cases([300, 200, 700, 400, 500])) {
        check_case(case);
    }
}

#[test]
fn no_rows_give_no_loss_and_no_gradient() {
    let device = Device::flex().autodiff();
    let hidden = Tensor::<2>::zeros([0, 3], &device).require_grad();
    let lm_head = Tensor::<2>::ones([5, 3], &device).require_grad();
    let table = TargetTable {
        row: &[],
        token: &[],
        weight: &[],
    };
    let found = linear_cross_entropy(hidden.clone(), lm_head.clone(), table, 4);
    assert_eq!(found.target_losses.dims(), [0]);
    let gradients = found.loss.clone().backward();
    assert_eq!(found.loss.into_scalar::<f32>(), 0.0);
    assert_eq!(hidden.grad(&gradients).expect("tracked").dims(), [0, 3]);
    let gradient = lm_head.grad(&gradients).expect("tracked").sum();
    assert_eq!(gradient.into_scalar::<f32>(), 0.0);
}

#[test]
#[should_panic(expected = "must have one width")]
fn an_lm_head_of_another_width_is_refused() {
    let device = Device::flex();
    let table = TargetTable {
        row: &[0],
        token: &[1],
        weight: &[1.0],
    };
    let (hidden, lm_head) = (
        Tensor::zeros([2, 8], &device),
        Tensor::zeros([4, 10], &device),
    );
    linear_cross_entropy(hidden, lm_head, table, 4);
}

#[test]
#[should_panic(expected = "must have one type")]
fn an_lm_head_in_half_precision_is_refused() {
    let device = Device::flex();
    let table = TargetTable {
        row: &[0],
        token: &[1],
        weight: &[1.0],
    };
    let lm_head = Tensor::<2>::zeros([4, 8], &device).cast(burn::tensor::FloatDType::BF16);
    linear_cross_entropy(Tensor::zeros([2, 8], &device), lm_head, table, 4);
}

#[test]
fn without_a_graph_the_loss_is_computed() {
    let device = Device::flex();
    let hidden = Tensor::<2>::from_data([[1.0, 0.0]], &device);
    let lm_head = Tensor::<2>::from_data([[0.0, 0.0], [0.0, 0.0]], &device);
    let table = TargetTable {
        row: &[0],
        token: &[1],
        weight: &[2.0],
    };
    let result = linear_cross_entropy(hidden, lm_head, table, 4);
    let expected = 2.0 * std::f32::consts::LN_2;
    assert!((result.loss.into_scalar::<f32>() - expected).abs() < 1e-6);
}
