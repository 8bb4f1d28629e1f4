use super::*;
use burn::tensor::{Device, Distribution, Tolerance};

type Form =
    fn(Tensor<1>, Tensor<1>, Option<Moments<1>>, &AdamWStep, &mut FiniteFlags) -> Updated<1>;

fn step(number: u64, learning_rate: f64) -> AdamWStep {
    AdamWStep {
        settings: AdamW::default(),
        number,
        learning_rate,
        gradient_factor: GradientFactor::Known(1.0),
    }
}

/// The expected values are those of torch 2: `torch.optim.AdamW([p], lr=0.1, weight_decay=0.5)`
/// with p = [1, -2] and gradients [0.5, -3], then [-1, 0].
#[test]
fn two_steps_equal_pytorch() {
    let device = Device::flex();
    let step = |number| {
        let mut step = step(number, 0.1);
        step.settings.weight_decay = 0.5;
        step
    };
    let tensor = |values: [f32; 2]| Tensor::<1>::from_data(values, &device);
    let mut flags = FiniteFlags::with_capacity(2);
    let gradient = tensor([0.5, -3.0]);
    let first = adamw(tensor([1.0, -2.0]), gradient, None, &step(1), &mut flags);
    first.parameter.to_data().assert_approx_eq(
        &tensor([0.85, -1.8]).to_data(),
        Tolerance::<f32>::absolute(1e-6),
    );
    let moments = Some(first.moments);
    let gradient = tensor([-1.0, 0.0]);
    let second = adamw(first.parameter, gradient, moments, &step(2), &mut flags);
    second.parameter.to_data().assert_approx_eq(
        &tensor([0.844_110_37, -1.642_994]).to_data(),
        Tolerance::<f32>::absolute(1e-6),
    );
}

#[test]
fn the_kernel_equals_the_reference_over_several_steps() {
    let device = Device::flex();
    for count in [1usize, 37, 70_001] {
        let random = || Tensor::<1>::random([count], Distribution::Default, &device);
        let start = random();
        let (mut fused, mut plain) = ((start.clone(), None), (start, None));
        for number in 1..4 {
            let gradient = random();
            let step = AdamWStep {
                gradient_factor: GradientFactor::Known(0.5),
                ..step(number, 1e-2)
            };
            let take = |(parameter, moments), adamw: Form| {
                let mut flags = FiniteFlags::with_capacity(1);
                let updated = adamw(parameter, gradient.clone(), moments, &step, &mut flags);
                assert_eq!(flags.first_not_finite(&[]), None);
                (updated.parameter, Some(updated.moments))
            };
            fused = take(fused, adamw);
            plain = take(plain, adamw_reference);
        }
        let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
        let [found, expected] = [fused, plain].map(|(parameter, moments)| {
            let moments: Moments<1> = moments.expect("three steps were taken");
            [parameter, moments.first, moments.second].map(Tensor::into_data)
        });
        for (found, expected) in found.iter().zip(&expected) {
            found.assert_approx_eq(expected, tolerance);
        }
    }
}

#[test]
fn both_forms_tell_of_what_is_not_finite() {
    let device = Device::flex();
    let ones = || Tensor::<1>::ones([5], &device);
    let with = |value: f32| Tensor::<1>::from_data([1.0, 1.0, value, 1.0, 1.0], &device);
    for (parameter, gradient, finite) in [
        (ones(), ones(), true),
        (with(f32::MAX), ones(), true),
        (with(f32::NAN), ones(), false),
        (with(f32::INFINITY), ones(), false),
        (ones(), with(f32::NAN), false),
        // Its square overflows, so that the element would never move again.
        (ones(), with(1e30), false),
    ] {
        let forms: [Form; 2] = [adamw, adamw_reference];
        for form in forms {
            let mut flags = FiniteFlags::with_capacity(2);
            // The number of the second parameter is what counts.
            form(ones(), ones(), None, &step(1, 1e-2), &mut flags);
            form(
                parameter.clone(),
                gradient.clone(),
                None,
                &step(1, 1e-2),
                &mut flags,
            );
            let expected = (!finite).then_some(1);
            assert_eq!(
                flags.first_not_finite(&[]),
                expected,
                "{parameter} {gradient}"
            );
        }
    }
}

#[test]
#[should_panic(expected = "a gradient has its parameter's shape")]
fn a_gradient_of_another_shape_is_refused() {
    let device = Device::flex();
    let [parameter, gradient] = [[2, 3], [3, 2]].map(|shape| Tensor::<2>::zeros(shape, &device));
    adamw(
        parameter,
        gradient,
        None,
        &step(1, 0.1),
        &mut FiniteFlags::default(),
    );
}
