//! The objective does not depend on how a step is laid out or split.

use crate::cases::{random_sequences, random_tree, tiny_llama};
use burn::tensor::{Device, Tensor};
use plw_batch::{Batch, Layout, Pack, Sequences, micro_batches};
use plw_loss::{Normalization, Normalizer, Objective, TokenWeights};
use plw_model::{DropoutKey, Llama, LoraConfig, NamedTensors, TargetModule};
use plw_train::{LossAndGradients, PassOptions, loss_and_gradients};
use proptest::prelude::*;

fn objective() -> impl Strategy<Value = Objective> {
    let prompt = prop_oneof![Just(0.0), Just(0.1), Just(1.0)];
    let normalization = prop::sample::select(&Normalization::ALL[..]);
    (prompt, normalization).prop_map(|(prompt, normalization)| Objective {
        weights: TokenWeights::new(prompt, 1.0).expect("valid"),
        normalization,
    })
}

fn weight_sum(prompt: f64) -> Objective {
    Objective::weight_sum(TokenWeights::new(prompt, 1.0).expect("valid"))
}

fn packs_of_one(sequences: &Sequences) -> Vec<Pack> {
    (0..sequences.len() as u32)
        .map(|index| Pack::of(vec![index], sequences))
        .collect()
}

fn normalizer(batches: &[Batch], objective: Objective) -> Normalizer {
    let sequences = batches.iter().flat_map(|batch| &batch.sequences);
    Normalizer::of_step(sequences, objective).expect("some token has a weight")
}

/// The loss and gradients of a whole step.
fn of_step(model: &Llama, batches: &[Batch], objective: Objective) -> LossAndGradients {
    let normalizer = normalizer(batches, objective);
    loss_and_gradients(model, batches, &normalizer, &PassOptions::default())
}

fn compute(batches: &[Batch], objective: Objective) -> (f64, NamedTensors) {
    let model = tiny_llama(7, &Device::flex().autodiff());
    let result = of_step(&model, batches, objective);
    (result.loss, result.gradients)
}

fn assert_equal(a: &(f64, NamedTensors), b: &(f64, NamedTensors)) {
    assert!(
        (a.0 - b.0).abs() <= 1e-5 * b.0.abs(),
        "losses {} and {}",
        a.0,
        b.0
    );
    assert_eq!(
        a.1.keys().collect::<Vec<_>>(),
        b.1.keys().collect::<Vec<_>>()
    );
    assert!(!a.1.is_empty());
    let norm =
        |tensor: Tensor<1>| f64::from(tensor.powi_scalar(2).sum().into_scalar::<f32>()).sqrt();
    let of_all = b.1.values().map(|gradient| norm(gradient.clone()).powi(2));
    // Of a parameter whose gradient nearly cancels, rounding is what is left.
    let rounding = 1e-7 * of_all.sum::<f64>().sqrt();
    for (name, expected) in &b.1 {
        let difference = norm(a.1[name].clone() - expected.clone());
        let norm = norm(expected.clone());
        assert!(
            difference <= 1e-5 * norm + rounding,
            "{name}: {difference} of {norm}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn accumulation_over_any_split_equals_one_batch(
        count in 1usize..9, split in 1usize..9, seed: u64, objective in objective(),
    ) {
        let sequences = random_sequences(count, seed);
        let packs = packs_of_one(&sequences);
        let of = |size| micro_batches(&sequences, &packs, size, Layout::SharedPrefixes);
        assert_equal(&compute(&of(split), objective), &compute(&of(count), objective));
    }

    #[test]
    fn the_parts_of_a_divided_step_add_up_to_it(
        count in 2usize..9, parts in 2usize..4, seed: u64, objective in objective(),
    ) {
        let sequences = random_sequences(count, seed);
        let packs = packs_of_one(&sequences);
        let batches = micro_batches(&sequences, &packs, 1, Layout::SharedPrefixes);
        let model = tiny_llama(7, &Device::flex().autodiff());
        let normalizer = normalizer(&batches, objective);
        let mut sum = (0.0, NamedTensors::new());
        for part in batches.chunks(count.div_ceil(parts)) {
            let options = PassOptions::default();
            let result = loss_and_gradients(&model, part, &normalizer, &options);
            sum.0 += result.loss;
            plw_model::accumulate(&mut sum.1, result.gradients);
        }
        assert_equal(&sum, &compute(&batches, objective));
    }

    #[test]
    fn a_packed_batch_equals_its_documents_alone(
        count in 2usize..9, seed: u64, objective in objective(),
    ) {
        let sequences = random_sequences(count, seed);
        let alone = micro_batches(&sequences, &packs_of_one(&sequences), 1, Layout::Concatenated);
        let indices: Vec<u32> = (0..count as u32).collect();
        let (first, second) = indices.split_at(count / 2);
        let packs = [first, second].map(|members| Pack::of(members.to_vec(), &sequences));
        let packed = micro_batches(&sequences, &packs, 2, Layout::Concatenated);
        assert_equal(&compute(&packed, objective), &compute(&alone, objective));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shared_prefixes_change_no_gradient(
        count in 1usize..12, split in 1usize..12, seed: u64, objective in objective(),
    ) {
        let sequences = random_tree(count, seed);
        let packs = packs_of_one(&sequences);
        let of = |layout| micro_batches(&sequences, &packs, split, layout);
        let (shared, unshared) = (of(Layout::SharedPrefixes), of(Layout::Concatenated));
        let held = |batches: &[Batch]| -> Vec<Vec<u32>> {
            let examples = |batch: &Batch| {
                let mut examples: Vec<u32> = batch.sequences.iter().map(|s| s.example).collect();
                examples.sort_unstable();
                examples
            };
            batches.iter().map(examples).collect()
        };
        prop_assert_eq!(held(&shared), held(&unshared));
        let tokens = |batches: &[Batch]| batches.iter().map(Batch::tokens).sum::<usize>();
        prop_assert_eq!(tokens(&shared), tokens(&unshared));
        assert_equal(&compute(&shared, objective), &compute(&unshared, objective));
    }

    #[test]
    fn recomputed_activations_give_the_same_bits(
        count in 1usize..7, seed: u64, prompt in prop_oneof![Just(0.0), Just(0.1)],
        with_adapter: bool,
    ) {
        let sequences = random_tree(count, seed);
        let packs = packs_of_one(&sequences);
        let batches = micro_batches(&sequences, &packs, count, Layout::SharedPrefixes);
        let mut model = tiny_llama(7, &Device::flex().autodiff());
        if with_adapter {
            let lora = LoraConfig {
                r: 2,
                alpha: 4.0,
                dropout: 0.3,
                target_modules: TargetModule::ALL.into(),
            };
            model = model.with_lora(&lora, 3).expect("a valid adapter");
        }
        let normalizer = normalizer(&batches, weight_sum(prompt));
        let of = |gradient_checkpointing| {
            let options = PassOptions {
                gradient_checkpointing,
                dropout: Some(DropoutKey { seed, step: 1 }),
            };
            let result = loss_and_gradients(&model, &batches, &normalizer, &options);
            let bits = |tensor: Tensor<1>| -> Vec<u32> {
                let values = tensor.into_data().try_into_vec::<f32>().expect("f32");
                values.into_iter().map(f32::to_bits).collect()
            };
            let gradients = result.gradients.into_iter();
            let gradients = gradients.map(|(name, gradient)| (name, bits(gradient)));
            (result.loss.to_bits(), gradients.collect::<Vec<_>>())
        };
        let (kept, recomputed) = (of(false), of(true));
        prop_assert!(kept.1.len() > 2);
        prop_assert_eq!(recomputed, kept);
    }
}

#[test]
fn weight_0_is_completion_loss_and_weight_1_is_plain_causal_loss() {
    let sequences = random_sequences(6, 3);
    let model = tiny_llama(7, &Device::flex().autodiff());
    let packs = packs_of_one(&sequences);
    let batches = micro_batches(&sequences, &packs, 6, Layout::SharedPrefixes);
    let losses = |prompt: f64| {
        let result = of_step(&model, &batches, weight_sum(prompt));
        (result.loss, result.losses)
    };
    let (masked, masked_means) = losses(0.0);
    assert_eq!(masked_means.prompt, None);
    let (plain, means) = losses(1.0);
    let (prompt, completion) = (
        means.prompt.expect("computed"),
        means.completion.expect("computed"),
    );
    assert!((masked - completion).abs() < 1e-6);
    // Plain causal-LM loss is the mean over all predicted tokens, here from a plain log-softmax.
    let batch = &batches[0];
    let rows: Vec<u32> = (0..batch.positions() as u32).collect();
    let logits = model
        .forward(batch, &rows, None)
        .matmul(model.lm_head().transpose());
    let log_probabilities = burn::tensor::activation::log_softmax(logits, 1);
    let values = log_probabilities
        .into_data_as::<f32>()
        .try_into_vec::<f32>()
        .expect("f32");
    let sum: f64 = batch
        .targets
        .iter()
        .map(|target| {
            -f64::from(
                values[target.position as usize * crate::cases::VOCAB as usize
                    + target.token as usize],
            )
        })
        .sum();
    let mean = sum / batch.targets.len() as f64;
    assert!((plain - mean).abs() < 1e-5, "{plain} {mean}");
    let (prompts, completions) = batch.sequences.iter().fold((0, 0), |(p, c), s| {
        (p + s.prompt_targets.count, c + s.completion_targets.count)
    });
    let mixed = (prompt * f64::from(prompts) + completion * f64::from(completions))
        / f64::from(prompts + completions);
    assert!((plain - mixed).abs() < 1e-6);
}

#[test]
fn gradients_agree_with_finite_differences() {
    let sequences = random_sequences(3, 5);
    let packs = packs_of_one(&sequences);
    let batches = micro_batches(&sequences, &packs, 3, Layout::SharedPrefixes);
    let objective = weight_sum(0.3);
    let (loss, gradients) = compute(&batches, objective);
    let squared: f64 = plw_kernels::squared_norm(gradients.values());
    // A small step of plain gradient descent must lower the loss by step * |g|^2.
    let model = tiny_llama(7, &Device::flex().autodiff());
    let step = 1e-3 / squared.sqrt();
    let moved = descend(model, &gradients, step);
    let after = of_step(&moved, &batches, objective).loss;
    let expected = step * squared;
    assert!(
        ((loss - after) - expected).abs() < 0.05 * expected,
        "{} {expected}",
        loss - after
    );
}

fn descend(model: plw_model::Llama, gradients: &NamedTensors, step: f64) -> plw_model::Llama {
    model.update(gradients.clone(), |_, value, gradient| {
        value - gradient.mul_scalar(step)
    })
}
