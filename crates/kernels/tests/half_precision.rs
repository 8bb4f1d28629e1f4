//! Operations on activations in bf16: operands are rounded, sums are in f32, and results are
//! rounded once.

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor, TensorData, Tolerance};
use plw_kernels::{
    LinearInput, LinearOperands, LinearWeight, LowRankAdapter, TargetTable, linear,
    linear_cross_entropy, logits, rms_norm, swiglu,
};

const HALF: FloatDType = FloatDType::BF16;

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Default, device)
}

fn round<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().cast(HALF).cast(FloatDType::F32)
}

/// The elements in f32, where the type was bf16.
fn from_half<const D: usize>(x: Tensor<D>) -> TensorData {
    assert_eq!(x.dtype(), DType::BF16);
    x.cast(FloatDType::F32).into_data()
}

/// Two results whose sums were added in another order may round to neighbors.
fn assert_same(found: &TensorData, expected: &TensorData) {
    found.assert_approx_eq(expected, Tolerance::<f32>::rel_abs(8e-3, 1e-6));
}

#[test]
fn a_linear_layer_multiplies_what_bf16_can_hold_and_rounds_its_output_once() {
    let device = Device::flex().autodiff();
    let x = random([9, 6], &device).cast(HALF).require_grad();
    let norm = random([6], &device).require_grad();
    let weight = random([5, 6], &device).require_grad();
    let [a, b] = [random([2, 6], &device), random([5, 2], &device)].map(Tensor::require_grad);
    let residual = random([9, 5], &device).cast(HALF).require_grad();
    let output = linear(LinearOperands {
        input: LinearInput::Normalized {
            x: x.clone(),
            weight: norm.clone(),
            epsilon: 1e-5,
        },
        weights: vec![LinearWeight {
            weight: weight.clone().into(),
            adapter: Some(LowRankAdapter {
                a: a.clone(),
                b: b.clone(),
                scaling: 0.5,
                mask: None,
            }),
        }],
        residual: Some(residual.clone()),
    });
    let wide = x.clone().cast(FloatDType::F32);
    let prepared = round(&rms_norm(wide, norm.clone(), 1e-5));
    let product = prepared.clone().matmul(round(&weight).transpose());
    let inner = prepared.matmul(round(&a).transpose()).mul_scalar(0.5);
    let expected =
        product + inner.matmul(round(&b).transpose()) + residual.clone().cast(FloatDType::F32);
    let gradients = [output.clone(), expected.clone().cast(HALF)].map(|output| {
        let gradients = output.cast(FloatDType::F32).square().sum().backward();
        let weights = [&weight, &a, &b].map(|leaf| leaf.grad(&gradients).expect("tracked"));
        // The gradients of trained weights are not rounded.
        assert!(
            weights
                .iter()
                .all(|gradient| gradient.dtype() == DType::F32)
        );
        let activations = [&x, &residual].map(|leaf| leaf.grad(&gradients).expect("tracked"));
        let norm = norm.grad(&gradients).expect("tracked").into_data();
        let mut found: Vec<TensorData> = weights.map(Tensor::into_data).to_vec();
        found.extend(activations.map(from_half));
        found.push(norm);
        found
    });
    assert_same(
        &from_half(output),
        &expected.cast(HALF).cast(FloatDType::F32).into_data(),
    );
    for (found, expected) in gradients[0].iter().zip(&gradients[1]) {
        found.assert_approx_eq(expected, Tolerance::<f32>::rel_abs(3e-2, 3e-2));
    }
}

#[test]
fn norm_and_gate_round_their_result() {
    let device = Device::flex();
    let x = random([7, 8], &device).cast(HALF);
    let weight = random([8], &device);
    let wide = x.clone().cast(FloatDType::F32);
    let found = from_half(rms_norm(x.clone(), weight.clone(), 1e-5));
    assert_same(&found, &rms_norm(wide.clone(), weight, 1e-5).into_data());
    assert_same(&from_half(swiglu(x)), &swiglu(wide).into_data());
}

#[test]
fn losses_and_logits_are_in_f32() {
    let device = Device::flex().autodiff();
    let hidden = random([4, 6], &device).cast(HALF).require_grad();
    let head = random([11, 6], &device).require_grad();
    let table = TargetTable {
        row: &[0, 1, 3],
        token: &[10, 0, 4],
        weight: &[1.0, 0.5, 0.25],
    };
    let found = linear_cross_entropy(hidden.clone(), head.clone(), table, 2);
    let wide = hidden.clone().cast(FloatDType::F32);
    let expected = linear_cross_entropy(wide.clone(), round(&head), table, 2);
    assert_eq!(found.loss.dtype(), DType::F32);
    found
        .loss
        .to_data()
        .assert_eq(&expected.loss.into_data(), true);
    let gradients = found.loss.backward();
    assert_eq!(
        hidden.grad(&gradients).expect("tracked").dtype(),
        DType::BF16
    );
    assert_eq!(head.grad(&gradients).expect("tracked").dtype(), DType::F32);
    let expected = wide.matmul(round(&head).transpose());
    let found = logits(hidden, head);
    assert_eq!(found.dtype(), DType::F32);
    found.into_data().assert_eq(&expected.into_data(), true);
}
