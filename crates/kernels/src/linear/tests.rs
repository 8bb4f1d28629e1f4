use super::*;
use burn::tensor::{Device, Distribution, Tolerance};
use proptest::prelude::*;

/// What is tracked, and what there is.
#[derive(Debug, Clone, Copy)]
struct Case {
    tokens: usize,
    inputs: usize,
    outputs: [usize; 3],
    count: usize,
    preparation: u8,
    has_residual: bool,
    rank: usize,
    has_mask: bool,
    tracks_input: bool,
    tracks_weights: bool,
    half_precision: Option<FloatDType>,
}

/// Cases of fewer tokens, inputs and outputs of a weight than these.
fn cases(tokens: usize, inputs: usize, outputs: usize) -> impl Strategy<Value = Case> {
    let outputs = [1..outputs, 1..outputs, 1..outputs];
    let sizes = (1..tokens, 1..inputs, outputs, 1usize..4);
    let half_precision = prop_oneof![
        Just(None),
        Just(Some(FloatDType::BF16)),
        Just(Some(FloatDType::F16))
    ];
    let kinds = (
        0u8..3,
        any::<bool>(),
        0usize..4,
        any::<bool>(),
        half_precision,
    );
    (sizes, kinds, any::<[bool; 2]>()).prop_map(|(sizes, kinds, tracks)| Case {
        tokens: sizes.0,
        inputs: sizes.1,
        outputs: sizes.2,
        count: sizes.3,
        preparation: kinds.0,
        has_residual: kinds.1,
        rank: kinds.2,
        has_mask: kinds.3,
        tracks_input: tracks[0],
        tracks_weights: tracks[1],
        half_precision: kinds.4,
    })
}

fn check(case: Case) {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 2], is_tracked: bool| {
        Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
            .set_require_grad(is_tracked)
    };
    let Case {
        tokens,
        inputs,
        tracks_input,
        tracks_weights,
        ..
    } = case;
    let widths = &case.outputs[..case.count];
    let width: usize = widths.iter().sum();
    let x = random(
        [tokens, inputs * if case.preparation == 2 { 2 } else { 1 }],
        tracks_input,
    );
    let norm = random([1, inputs], tracks_weights);
    let residual = random([tokens, width], tracks_input);
    let upper = random([tokens, width], false);
    // A frozen weight under a trained adapter, or a trained weight.
    let weights: Vec<LinearWeight> = widths
        .iter()
        .map(|&outputs| LinearWeight {
            weight: {
                let is_trained = tracks_weights && case.rank == 0;
                let weight = random([outputs, inputs], is_trained);
                match case.half_precision {
                    Some(dtype) if !is_trained => weight.cast(dtype),
                    _ => weight,
                }
            },
            low_rank: (case.rank > 0).then(|| LowRank {
                a: random([case.rank, inputs], tracks_weights),
                b: random([outputs, case.rank], tracks_weights),
                scaling: 0.7,
                mask: case.has_mask.then(|| random([tokens, inputs], false)),
            }),
        })
        .collect();
    let mut leaves = vec![x.clone(), norm.clone(), residual.clone()];
    for LinearWeight { weight, low_rank } in &weights {
        leaves.push(weight.clone());
        leaves.extend(
            low_rank
                .iter()
                .flat_map(|update| [update.a.clone(), update.b.clone()]),
        );
    }
    let [fused, plain] = [linear, linear_reference].map(|linear| {
        let input = match case.preparation {
            0 => LinearInput::Plain(x.clone()),
            1 => LinearInput::Normalised {
                x: x.clone(),
                weight: norm.clone().flatten(0, 1),
                epsilon: 1e-3,
            },
            _ => LinearInput::Gated(x.clone()),
        };
        let output = linear(
            input,
            weights.clone(),
            case.has_residual.then(|| residual.clone()),
        );
        let values = output.to_data();
        if !output.is_tracked() {
            return (values, Vec::new());
        }
        let gradients = (output * upper.clone()).sum().backward();
        (
            values,
            leaves
                .iter()
                .map(|leaf| leaf.grad(&gradients).map(Tensor::into_data))
                .collect::<Vec<_>>(),
        )
    });
    let tolerance = Tolerance::<f32>::rel_abs(1e-3, 2e-4);
    fused.0.assert_approx_eq(&plain.0, tolerance);
    assert_eq!(fused.1.len(), plain.1.len());
    for (fused, plain) in fused.1.iter().zip(&plain.1) {
        match (fused, plain) {
            (Some(fused), Some(plain)) => fused.assert_approx_eq(plain, tolerance),
            (None, None) => {}
            (fused, plain) => panic!("gradients: {} and {}", fused.is_some(), plain.is_some()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_operation_equals_the_chain_in_value_and_gradient(case in cases(40, 40, 20)) {
        check(case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn so_it_does_beyond_one_tile_of_a_product(case in cases(300, 200, 200)) {
        check(case);
    }
}

#[test]
fn no_token_no_number() {
    let device = Device::flex().autodiff();
    let x = Tensor::<2>::zeros([0, 8], &device).require_grad();
    let weight = Tensor::<2>::ones([4, 8], &device).require_grad();
    let weights = vec![LinearWeight {
        weight: weight.clone(),
        low_rank: None,
    }];
    let output = linear(LinearInput::Plain(x.clone()), weights, None);
    assert_eq!(output.dims(), [0, 4]);
    let gradients = output.sum().backward();
    assert_eq!(x.grad(&gradients).expect("tracked").dims(), [0, 8]);
    let gradient = weight.grad(&gradients).expect("tracked").sum();
    assert_eq!(gradient.into_scalar::<f32>(), 0.0);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let message = |input: [usize; 2], weight, adapter: Option<[[usize; 2]; 3]>, residual| {
        let refusal = std::panic::catch_unwind(|| {
            let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &Device::flex());
            let low_rank = adapter.map(|[a, b, mask]| LowRank {
                a: zeros(a),
                b: zeros(b),
                scaling: 1.0,
                mask: Some(zeros(mask)),
            });
            let weight = zeros(weight);
            let weights = vec![LinearWeight { weight, low_rank }];
            linear(
                LinearInput::Plain(zeros(input)),
                weights,
                Some(zeros(residual)),
            );
        });
        refusal
            .err()
            .map(|refusal| *refusal.downcast::<String>().expect("a formatted message"))
    };
    let (input, weight, residual) = ([3, 8], [4, 8], [3, 4]);
    let adapter = [[2, 8], [4, 2], [3, 8]];
    assert_eq!(message(input, weight, Some(adapter), residual), None);
    for (found, expected) in [
        (message(input, [4, 6], None, residual), "a weight's width"),
        (message(input, weight, None, [3, 1]), "the residual"),
        (message(input, weight, None, [1, 4]), "the residual"),
        (
            message(
                input,
                weight,
                Some([[2, 4], adapter[1], adapter[2]]),
                residual,
            ),
            "an adapter's width",
        ),
        (
            message(
                input,
                weight,
                Some([adapter[0], [4, 1], adapter[2]]),
                residual,
            ),
            "an adapter's B",
        ),
        (
            message(
                input,
                weight,
                Some([adapter[0], adapter[1], [1, 8]]),
                residual,
            ),
            "a mask",
        ),
    ] {
        let found = found.expect("refused");
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
#[should_panic(expected = "the norm's weight")]
fn a_norm_of_another_width_is_refused() {
    let device = Device::flex();
    let input = LinearInput::Normalised {
        x: Tensor::zeros([4, 6], &device),
        weight: Tensor::zeros([8], &device),
        epsilon: 1e-5,
    };
    let weights = vec![LinearWeight {
        weight: Tensor::zeros([4, 6], &device),
        low_rank: None,
    }];
    linear(input, weights, None);
}
