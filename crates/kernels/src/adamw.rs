//! AdamW with PyTorch's formula.

use burn::tensor::{DType, Tensor};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::finite_flags::FiniteFlags;
use crate::flex::adamw as pass;
use crate::flex::tensor::{as_slice, from_flex, into_flex, into_unique};
use crate::gradient_norm::GradientFactor;
use crate::operations::has_kernels;

/// Settings of AdamW; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// What one optimizer step does to every parameter.
#[derive(Debug, Clone)]
pub struct AdamWStep {
    /// Settings of AdamW.
    pub settings: AdamW,
    /// The step's number, counted from 1.
    pub number: u64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// What gradients are multiplied by first: 1, or what limits their norm.
    pub gradient_factor: GradientFactor,
}

/// A parameter's running means of its gradient and of the gradient's square.
#[derive(Debug, Clone)]
pub struct Moments<const D: usize> {
    /// Running mean of the gradient.
    pub first: Tensor<D>,
    /// Running mean of the gradient's square.
    pub second: Tensor<D>,
}

/// A parameter after a step.
#[derive(Debug, Clone)]
pub struct Updated<const D: usize> {
    /// Its new value.
    pub parameter: Tensor<D>,
    /// Its new moments.
    pub moments: Moments<D>,
}

/// One AdamW step of one parameter (Loshchilov and Hutter 2019, arXiv 1711.05101), as
/// `torch.optim.AdamW` computes it:
///
/// ```text
/// g <- gradient_factor * gradient
/// p <- p (1 - lr * weight_decay)
/// m <- beta_1 m + (1 - beta_1) g,   v <- beta_2 v + (1 - beta_2) g^2
/// p <- p - lr / (1 - beta_1^t) * m / (sqrt(v) / sqrt(1 - beta_2^t) + epsilon)
/// ```
///
/// t is the number of the step. Before the first step there are no moments. None of the tensors may
/// carry a graph. `flags` says whether the result is finite. On flex and on a GPU this is one
/// parallel pass, in place where nobody else holds the tensors; elsewhere [`adamw_reference`].
///
/// # Panics
///
/// Where gradient or moments have another shape than the parameter, where the step's number is 0,
/// or where a tensor carries a graph. Each is a bug of the caller.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<Moments<D>>,
    step: &AdamWStep,
    flags: &mut FiniteFlags,
) -> Updated<D> {
    check(&parameter, &gradient, moments.as_ref(), step);
    let is_supported = |tensor: &Tensor<D>| tensor.dtype() == DType::F32 && has_kernels(tensor);
    if !is_supported(&parameter) || !is_supported(&gradient) {
        return adamw_reference(parameter, gradient, moments, step, flags);
    }
    let Moments { first, second } = moments.unwrap_or_else(|| Moments {
        first: gradient.zeros_like(),
        second: gradient.zeros_like(),
    });
    let AdamWStep {
        settings,
        number,
        learning_rate,
        ..
    } = *step;
    let coefficients = |gradient: f32| pass::Coefficients {
        gradient,
        beta_1: settings.beta_1 as f32,
        beta_2: settings.beta_2 as f32,
        epsilon: settings.epsilon as f32,
        decay: (1.0 - learning_rate * settings.weight_decay) as f32,
        rate: (learning_rate / (1.0 - settings.beta_1.powf(number as f64))) as f32,
        second: (1.0 - settings.beta_2.powf(number as f64)).sqrt().recip() as f32,
    };
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if cube::supports(&parameter) {
        use cube::tensor::{from_cube, into_cube, into_unique};
        let device = parameter.device();
        let [parameter, first, second] =
            [parameter, first, second].map(|tensor| into_unique(into_cube(tensor)));
        let flag = flags.next_on_device(&parameter);
        cube::adamw::update(
            &parameter,
            into_cube(gradient),
            [&first, &second],
            flag,
            into_cube(step.gradient_factor.on(&device)),
            // The kernel takes the gradients' factor from the device.
            &coefficients(1.0),
        );
        let moments = Moments {
            first: from_cube(first),
            second: from_cube(second),
        };
        return Updated {
            parameter: from_cube(parameter),
            moments,
        };
    }
    let gradient = into_flex(gradient).to_contiguous();
    let [mut parameter, mut first, mut second] =
        [parameter, first, second].map(|tensor| into_unique(into_flex(tensor)));
    let finite = pass::update(
        parameter.storage_mut(),
        as_slice(&gradient),
        first.storage_mut(),
        second.storage_mut(),
        &coefficients(step.gradient_factor.read() as f32),
    );
    flags.push(if finite { 0.0 } else { 1.0 });
    Updated {
        parameter: from_flex(parameter),
        moments: Moments {
            first: from_flex(first),
            second: from_flex(second),
        },
    }
}

fn check<const D: usize>(
    parameter: &Tensor<D>,
    gradient: &Tensor<D>,
    moments: Option<&Moments<D>>,
    step: &AdamWStep,
) {
    assert!(step.number > 0, "AdamW counts its steps from 1");
    let shape = parameter.dims();
    assert_eq!(
        gradient.dims(),
        shape,
        "a gradient has its parameter's shape"
    );
    for moment in moments
        .iter()
        .flat_map(|moments| [&moments.first, &moments.second])
    {
        assert_eq!(moment.dims(), shape, "a moment has its parameter's shape");
    }
}

/// [`adamw`] as a chain of Burn operations.
///
/// # Panics
///
/// Where shapes differ or the step's number is 0.
pub fn adamw_reference<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<Moments<D>>,
    step: &AdamWStep,
    flags: &mut FiniteFlags,
) -> Updated<D> {
    check(&parameter, &gradient, moments.as_ref(), step);
    let AdamW {
        beta_1,
        beta_2,
        epsilon,
        weight_decay,
    } = step.settings;
    let (number, learning_rate) = (step.number as f64, step.learning_rate);
    let gradient = gradient.mul_scalar(step.gradient_factor.read());
    let first_part = gradient.clone().mul_scalar(1.0 - beta_1);
    let second_part = gradient.clone().mul(gradient).mul_scalar(1.0 - beta_2);
    let moments = match moments {
        Some(Moments { first, second }) => Moments {
            first: first.mul_scalar(beta_1).add(first_part),
            second: second.mul_scalar(beta_2).add(second_part),
        },
        None => Moments {
            first: first_part,
            second: second_part,
        },
    };
    let bias_1 = 1.0 - beta_1.powf(number);
    let bias_2 = (1.0 - beta_2.powf(number)).sqrt();
    let denominator = moments
        .second
        .clone()
        .sqrt()
        .div_scalar(bias_2)
        .add_scalar(epsilon);
    let update = moments
        .first
        .clone()
        .div(denominator)
        .mul_scalar(learning_rate / bias_1);
    let parameter = parameter.mul_scalar(1.0 - learning_rate * weight_decay) - update;
    let count = |values: &Tensor<D>| values.clone().is_finite().bool_not().float().sum();
    flags.push((count(&parameter) + count(&moments.second)).into_scalar::<f32>());
    Updated { parameter, moments }
}

#[cfg(test)]
mod tests {
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
        let [parameter, gradient] =
            [[2, 3], [3, 2]].map(|shape| Tensor::<2>::zeros(shape, &device));
        adamw(
            parameter,
            gradient,
            None,
            &step(1, 0.1),
            &mut FiniteFlags::default(),
        );
    }
}
