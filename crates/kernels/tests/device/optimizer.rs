//! AdamW and the norm of gradients.

use burn::tensor::{Device, Tensor, TensorData};
use plw_kernels::{
    AdamW, AdamWStep, AdamWUpdate, FiniteFlags, GradientFactor, GradientNorm, Moments, Readback,
    Updated, adamw, adamw_reference, adamw_together, squared_norm, squared_norm_reference,
};
use proptest::prelude::*;

use crate::{Random, compare, config, device};

fn tensor_of_infinity(count: usize, device: &Device) -> Tensor<1> {
    Tensor::full([count], f32::INFINITY, device)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn adamw_equals_its_reference(seed: u64, count in 1usize..9000) {
        let mut random = Random::new(seed);
        let start = random.elements([count]);
        let gradients: Vec<TensorData> = (0..3).map(|_| random.elements([count])).collect();
        type Vector = Tensor<1>;
        type Form =
            fn(Vector, Vector, Option<Moments<1>>, &AdamWStep, &mut FiniteFlags) -> Updated<1>;
        let run = |adamw: Form, device: &Device| {
            let device = device.clone().inner();
            let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), &device);
            let (mut parameter, mut moments) = (tensor(&start), None);
            let mut flags = FiniteFlags::with_capacity(gradients.len());
            for (gradient, number) in gradients.iter().zip(1..) {
                let step = AdamWStep {
                    settings: AdamW::default(),
                    number,
                    learning_rate: 1e-2,
                    gradient_factor: GradientFactor::Known(0.5),
                };
                let updated = adamw(parameter, tensor(gradient), moments, &step, &mut flags);
                (parameter, moments) = (updated.parameter, Some(updated.moments));
            }
            let read = Readback::new(flags.on_device().into_iter().collect()).wait();
            assert_eq!(flags.first_not_finite(&read.concat()), None);
            let Moments { first, second } = moments.expect("three steps were taken");
            [parameter, first, second].map(Tensor::into_data).to_vec()
        };
        compare(|device| run(adamw, device), |device| run(adamw_reference, device));
    }

    #[test]
    fn a_limited_norm_limits_a_step(seed: u64, count in 1usize..9000, max_norm in 0usize..3) {
        let mut random = Random::new(seed);
        let max_norm = max_norm as f64;
        let (start, gradient) = (random.elements([count]), random.elements([count]));
        let run = |device: &Device| {
            let device = device.clone().inner();
            let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), &device);
            let take = |gradient: Tensor<1>| {
                let step = AdamWStep {
                    settings: AdamW::default(),
                    number: 1,
                    learning_rate: 1e-2,
                    gradient_factor: GradientNorm::new([&gradient]).limit(max_norm),
                };
                let mut flags = FiniteFlags::with_capacity(1);
                adamw(tensor(&start), gradient, None, &step, &mut flags)
            };
            let Updated { parameter, moments } = take(tensor(&gradient));
            [parameter, moments.first, moments.second].map(Tensor::into_data).to_vec()
        };
        compare(run, run);
        let infinite = tensor_of_infinity(count, &device());
        let norm = GradientNorm::new([&infinite]);
        prop_assert!(!norm.squared().is_finite());
        // The CPU knows the norm before it takes the step; a GPU takes it, and changes nothing.
        if let GradientFactor::OnDevice(_) = norm.limit(max_norm) {
            let step = AdamWStep {
                settings: AdamW::default(),
                number: 1,
                learning_rate: 1e-2,
                gradient_factor: norm.limit(max_norm),
            };
            let mut flags = FiniteFlags::with_capacity(1);
            let parameter = Tensor::<1>::from_data(start.clone(), &device());
            let updated = adamw(parameter, infinite, None, &step, &mut flags);
            updated.parameter.into_data().assert_eq(&start, true);
        }
    }

    /// More of them than a launch takes, and of sizes that are no multiples of a cube's.
    #[test]
    fn parameters_updated_together_equal_the_reference(
        seed: u64,
        counts in proptest::collection::vec(1usize..4000, 1..40),
        not_finite in proptest::option::of(0usize..40),
    ) {
        let mut random = Random::new(seed);
        let mut vectors = || -> Vec<TensorData> {
            counts.iter().map(|&count| random.elements([count])).collect()
        };
        let (starts, gradients) = (vectors(), [vectors(), vectors()]);
        let not_finite = not_finite.filter(|number| *number < counts.len());
        let run = |is_kernel: bool, device: &Device| {
            let device = device.clone().inner();
            let tensor = |data: &TensorData| Tensor::<1>::from_data(data.clone(), &device);
            let mut parameters: Vec<_> = starts.iter().map(|data| (tensor(data), None)).collect();
            for (gradients, number) in gradients.iter().zip(1..) {
                let step = AdamWStep {
                    settings: AdamW::default(),
                    number,
                    learning_rate: 1e-2,
                    gradient_factor: GradientFactor::Known(0.5),
                };
                let with_gradient = parameters.into_iter().zip(gradients);
                let updates = with_gradient.enumerate().map(|(n, ((parameter, moments), data))| {
                    let gradient = match number == 2 && Some(n) == not_finite {
                        true => tensor_of_infinity(counts[n], &device),
                        false => tensor(data),
                    };
                    AdamWUpdate { parameter, gradient, moments }
                });
                let mut flags = FiniteFlags::with_capacity(counts.len());
                let updated = match is_kernel {
                    true => adamw_together(updates.collect(), &step, &mut flags),
                    false => updates
                        .map(|AdamWUpdate { parameter, gradient, moments }| {
                            adamw_reference(parameter, gradient, moments, &step, &mut flags)
                        })
                        .collect(),
                };
                let read = Readback::new(flags.on_device().into_iter().collect()).wait();
                let expected = not_finite.filter(|_| number == 2);
                assert_eq!(flags.first_not_finite(&read.concat()), expected);
                let after = |updated: Updated<1>| (updated.parameter, Some(updated.moments));
                parameters = updated.into_iter().map(after).collect();
            }
            let finite = parameters.into_iter().enumerate().filter(|(n, _)| Some(*n) != not_finite);
            let tensors = finite.flat_map(|(_, (parameter, moments))| {
                let Moments { first, second } = moments.expect("two steps were taken");
                [parameter, first, second].map(Tensor::into_data)
            });
            tensors.collect::<Vec<_>>()
        };
        compare(|device| run(true, device), |device| run(false, device));
    }

    #[test]
    fn squared_norm_equals_its_reference(
        seed: u64,
        counts in proptest::collection::vec(1usize..20_000, 1..40),
    ) {
        let mut random = Random::new(seed);
        let gradients: Vec<_> = counts.iter().map(|&count| random.elements([count])).collect();
        let tensors = |device: &Device| -> Vec<Tensor<1>> {
            let tensor = |data: &TensorData| Tensor::from_data(data.clone(), device);
            gradients.iter().map(tensor).collect()
        };
        let found = squared_norm(&tensors(&device()));
        let expected: f64 = tensors(&Device::flex()).iter().map(squared_norm_reference).sum();
        prop_assert!((found - expected).abs() <= 1e-5 * expected, "{found} {expected}");
    }
}
