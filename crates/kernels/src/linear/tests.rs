use super::*;
use crate::dropout_mask::{DropoutMask, TokenKeys, split_mix};
use crate::nf4_weight::Nf4Weight;
use burn::tensor::{Device, Distribution, TensorData, Tolerance};
use proptest::prelude::*;

/// A kind of linear layer, and which of its tensors are trained.
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
    frozen: Frozen,
}

/// How a frozen weight is held.
#[derive(Debug, Clone, Copy)]
enum Frozen {
    Dense(FloatDType),
    Nf4,
}

/// Cases with fewer tokens, inputs and outputs of a weight than these.
fn cases(tokens: usize, inputs: usize, outputs: usize) -> impl Strategy<Value = Case> {
    let outputs = [1..outputs, 1..outputs, 1..outputs];
    let sizes = (1..tokens, 1..inputs, outputs, 1usize..4);
    let frozen = prop_oneof![
        Just(Frozen::Dense(FloatDType::F32)),
        Just(Frozen::Dense(FloatDType::BF16)),
        Just(Frozen::Dense(FloatDType::F16)),
        Just(Frozen::Nf4),
    ];
    let kinds = (0u8..3, any::<bool>(), 0usize..4, any::<bool>(), frozen);
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
        frozen: kinds.4,
    })
}

/// Random operands of a case, their leaves, and a gradient of the output.
struct Example {
    operands: LinearOperands,
    leaves: Vec<Tensor<2>>,
    norm: Tensor<1>,
    grad_output: Tensor<2>,
}

impl Example {
    fn new(case: &Case) -> Self {
        let Case {
            tokens,
            inputs,
            tracks_input,
            tracks_weights,
            ..
        } = *case;
        let width: usize = case.outputs[..case.count].iter().sum();
        let x_width = if case.preparation == 2 {
            2 * inputs
        } else {
            inputs
        };
        let x = random([tokens, x_width], tracks_input);
        let norm = random([1, inputs], false).flatten(0, 1);
        let norm: Tensor<1> = norm.set_require_grad(tracks_weights);
        let residual = random([tokens, width], tracks_input);
        let mut leaves = vec![x.clone(), residual.clone()];
        let weights: Vec<LinearWeight> = case.outputs[..case.count]
            .iter()
            .map(|&outputs| weight(case, outputs))
            .collect();
        for LinearWeight { weight, adapter } in &weights {
            if let WeightMatrix::Dense(weight) = weight {
                leaves.push(weight.clone());
            }
            let adapter = adapter.iter();
            leaves.extend(adapter.flat_map(|adapter| [adapter.a.clone(), adapter.b.clone()]));
        }
        let input = match case.preparation {
            0 => LinearInput::Plain(x),
            1 => LinearInput::Normalized {
                x,
                weight: norm.clone(),
                epsilon: 1e-3,
            },
            _ => LinearInput::Gated(x),
        };
        Self {
            operands: LinearOperands {
                input,
                weights,
                residual: case.has_residual.then_some(residual),
            },
            leaves,
            norm,
            grad_output: random([tokens, width], false),
        }
    }

    /// The output, and the gradients of the leaves where there is a graph.
    fn run(
        &self,
        linear: fn(LinearOperands) -> Tensor<2>,
    ) -> (TensorData, Vec<Option<TensorData>>) {
        let output = linear(self.operands.clone());
        let values = output.to_data();
        if !output.is_tracked() {
            return (values, Vec::new());
        }
        let gradients = (output * self.grad_output.clone()).sum().backward();
        (values, self.of_leaves(&gradients))
    }

    fn of_leaves(&self, gradients: &Gradients) -> Vec<Option<TensorData>> {
        let gradient = |leaf: &Tensor<2>| leaf.grad(gradients).map(Tensor::into_data);
        let mut found: Vec<_> = self.leaves.iter().map(gradient).collect();
        found.push(self.norm.grad(gradients).map(Tensor::into_data));
        found
    }
}

fn random(shape: [usize; 2], is_tracked: bool) -> Tensor<2> {
    let device = Device::flex().autodiff();
    Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
        .set_require_grad(is_tracked)
}

/// A trained weight, or a frozen one under a trained adapter.
fn weight(case: &Case, outputs: usize) -> LinearWeight {
    let is_trained = case.tracks_weights && case.rank == 0;
    let weight = random([outputs, case.inputs], is_trained);
    LinearWeight {
        weight: match case.frozen {
            _ if is_trained => weight.into(),
            Frozen::Dense(dtype) => weight.cast(dtype).into(),
            Frozen::Nf4 => {
                let values = weight.to_data().try_to_vec::<f32>().expect("f32");
                WeightMatrix::Nf4(Nf4Weight::quantize(
                    &values,
                    weight.dims(),
                    &weight.device(),
                ))
            }
        },
        adapter: (case.rank > 0).then(|| LowRankAdapter {
            a: random([case.rank, case.inputs], case.tracks_weights),
            b: random([outputs, case.rank], case.tracks_weights),
            scaling: 0.7,
            mask: case.has_mask.then(|| dropout(case.tokens)),
        }),
    }
}

fn dropout(tokens: usize) -> DropoutMask {
    let keys = (0..tokens as u64).map(split_mix).collect();
    DropoutMask::new(TokenKeys::new(keys, &Device::flex()), 5, 0.25)
}

fn check(case: Case) {
    let example = Example::new(&case);
    let (fused, plain) = (example.run(linear), example.run(linear_reference));
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
    if !fused.1.is_empty() {
        let gradients = linear_gradients(
            example.operands.clone(),
            example.grad_output.clone().inner(),
        );
        assert_eq!(example.of_leaves(&gradients), fused.1, "the same bits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_kernel_equals_the_reference_in_value_and_gradient(case in cases(40, 40, 20)) {
        check(case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_does_so_beyond_one_tile_of_a_product(case in cases(300, 200, 200)) {
        check(case);
    }
}

#[test]
fn no_tokens_give_no_outputs_and_no_gradient() {
    let device = Device::flex().autodiff();
    let x = Tensor::<2>::zeros([0, 8], &device).require_grad();
    let weight = Tensor::<2>::ones([4, 8], &device).require_grad();
    let output = linear(LinearOperands::plain(x.clone(), weight.clone()));
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
            let adapter = adapter.map(|[a, b, mask]| LowRankAdapter {
                a: zeros(a),
                b: zeros(b),
                scaling: 1.0,
                mask: Some(dropout(mask[0])),
            });
            let mut operands = LinearOperands::plain(zeros(input), zeros(weight));
            operands.weights[0].adapter = adapter;
            operands.residual = Some(zeros(residual));
            linear(operands);
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
    let (x, weight) = (
        Tensor::zeros([4, 6], &device),
        Tensor::zeros([4, 6], &device),
    );
    let mut operands = LinearOperands::plain(x.clone(), weight);
    operands.input = LinearInput::Normalized {
        x,
        weight: Tensor::zeros([8], &device),
        epsilon: 1e-5,
    };
    linear(operands);
}
