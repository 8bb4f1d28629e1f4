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

/// A parameter that takes a step.
#[derive(Debug, Clone)]
pub struct AdamWUpdate<const D: usize> {
    /// Its value.
    pub parameter: Tensor<D>,
    /// Its gradient.
    pub gradient: Tensor<D>,
    /// Its moments. Before the first step there are none.
    pub moments: Option<Moments<D>>,
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
    let update = AdamWUpdate {
        parameter,
        gradient,
        moments,
    };
    let updated = adamw_together(vec![update], step, flags).pop();
    updated.expect("one for each update")
}

/// [`adamw`] of several parameters, which are on one device. On a GPU one pass updates several.
///
/// # Panics
///
/// As [`adamw`].
pub fn adamw_together<const D: usize>(
    updates: Vec<AdamWUpdate<D>>,
    step: &AdamWStep,
    flags: &mut FiniteFlags,
) -> Vec<Updated<D>> {
    for update in &updates {
        check(
            &update.parameter,
            &update.gradient,
            update.moments.as_ref(),
            step,
        );
    }
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if updates.iter().all(is_on_gpu) {
        return on_gpu(updates, step, flags);
    }
    let on_cpu = |update| on_cpu(update, step, flags);
    updates.into_iter().map(on_cpu).collect()
}

fn is_supported<const D: usize>(update: &AdamWUpdate<D>) -> bool {
    let is_supported = |tensor: &Tensor<D>| tensor.dtype() == DType::F32 && has_kernels(tensor);
    is_supported(&update.parameter) && is_supported(&update.gradient)
}

/// The coefficients of a step, but for what gradients are multiplied by.
fn coefficients(step: &AdamWStep, gradient: f32) -> pass::Coefficients {
    let AdamWStep {
        settings,
        number,
        learning_rate,
        ..
    } = *step;
    pass::Coefficients {
        gradient,
        beta_1: settings.beta_1 as f32,
        beta_2: settings.beta_2 as f32,
        epsilon: settings.epsilon as f32,
        decay: (1.0 - learning_rate * settings.weight_decay) as f32,
        rate: (learning_rate / (1.0 - settings.beta_1.powf(number as f64))) as f32,
        second: (1.0 - settings.beta_2.powf(number as f64)).sqrt().recip() as f32,
    }
}

fn moments_of<const D: usize>(update: &mut AdamWUpdate<D>) -> Moments<D> {
    let made = || {
        let gradient = update.gradient.clone();
        // As weights, outside of the pages for tensors of a step.
        gradient
            .device()
            .memory_persistent_allocations(gradient, |gradient| Moments {
                first: gradient.zeros_like(),
                second: gradient.zeros_like(),
            })
    };
    update.moments.take().unwrap_or_else(made)
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn is_on_gpu<const D: usize>(update: &AdamWUpdate<D>) -> bool {
    is_supported(update) && cube::supports(&update.parameter)
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn on_gpu<const D: usize>(
    updates: Vec<AdamWUpdate<D>>,
    step: &AdamWStep,
    flags: &mut FiniteFlags,
) -> Vec<Updated<D>> {
    use burn_cubecl::kernel::into_contiguous;
    use cube::adamw::{Update, update, updates_of_a_launch};
    use cube::tensor::{client, from_cube, into_cube, into_unique};
    let Some(first) = updates.first() else {
        return Vec::new();
    };
    let device = first.parameter.device();
    let factor = into_cube(step.gradient_factor.on(&device));
    // The kernel takes the gradients' factor from the device.
    let coefficients = coefficients(step, 1.0);
    let prepared = |mut each: AdamWUpdate<D>| {
        let moments = moments_of(&mut each);
        Update {
            parameter: into_unique(into_cube(each.parameter)),
            gradient: into_contiguous(into_cube(each.gradient)),
            first: into_unique(into_cube(moments.first)),
            second: into_unique(into_cube(moments.second)),
        }
    };
    let updated = |update: Update| Updated {
        parameter: from_cube(update.parameter),
        moments: Moments {
            first: from_cube(update.first),
            second: from_cube(update.second),
        },
    };
    let most = updates_of_a_launch(&client(&device));
    let mut all = Vec::with_capacity(updates.len());
    let mut rest = updates.into_iter().map(prepared);
    loop {
        let group: Vec<Update> = rest.by_ref().take(most).collect();
        let Some(first) = group.first() else {
            return all;
        };
        let flags = flags.next_on_device(&first.parameter, group.len());
        update(&group, flags, factor.clone(), &coefficients);
        all.extend(group.into_iter().map(updated));
    }
}

fn on_cpu<const D: usize>(
    mut update: AdamWUpdate<D>,
    step: &AdamWStep,
    flags: &mut FiniteFlags,
) -> Updated<D> {
    if !is_supported(&update) {
        let AdamWUpdate {
            parameter,
            gradient,
            moments,
        } = update;
        return adamw_reference(parameter, gradient, moments, step, flags);
    }
    let Moments { first, second } = moments_of(&mut update);
    let gradient = into_flex(update.gradient).to_contiguous();
    let [mut parameter, mut first, mut second] =
        [update.parameter, first, second].map(|tensor| into_unique(into_flex(tensor)));
    let finite = pass::update(
        parameter.storage_mut(),
        as_slice(&gradient),
        first.storage_mut(),
        second.storage_mut(),
        &coefficients(step, step.gradient_factor.read() as f32),
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
mod tests;
