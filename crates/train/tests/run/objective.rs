//! The objective does not depend on how a step is laid out or split.

use crate::cases::{random_sequences, random_tree, tiny_llama};
use burn::tensor::{Device, Tensor};
use plw_batch::{Batch, Sequence};
use plw_loss::{Normalization, TokenWeights};
use plw_model::{DropoutKey, LoraConfig, NamedTensors, TargetModule};
use plw_train::{BatchingArguments, Packing, Row, loss_and_gradients, micro_batches};
use proptest::prelude::*;

fn normalization() -> impl Strategy<Value = Normalization> {
    prop_oneof![
        Just(Normalization::WeightSum),
        Just(Normalization::NonzeroCount),
        Just(Normalization::PerExample)
    ]
}

fn rows_of_one(sequences: &[Sequence]) -> Vec<Row> {
    (0..sequences.len() as u32)
        .map(|index| vec![index])
        .collect()
}

fn compute(
    batches: &[Batch],
    weights: TokenWeights,
    normalization: Normalization,
) -> (f64, NamedTensors) {
    let model = tiny_llama(7, &Device::flex().autodiff());
    let (loss, _, gradients) =
        loss_and_gradients(&model, batches, weights, normalization, false, None)
            .expect("it weighs");
    (loss, gradients)
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
    for (name, expected) in &b.1 {
        let norm =
            |tensor: Tensor<1>| f64::from(tensor.powi_scalar(2).sum().into_scalar::<f32>()).sqrt();
        let difference = norm(a.1[name].clone() - expected.clone());
        assert!(
            difference <= 1e-5 * norm(expected.clone()),
            "{name}: {difference}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn accumulation_over_any_split_equals_one_batch(
        count in 1usize..9, split in 1usize..9, seed: u64, prompt in prop_oneof![Just(0.0), Just(0.1), Just(1.0)],
        normalization in normalization(),
    ) {
        let sequences = random_sequences(count, seed);
        let weights = TokenWeights::new(prompt, 1.0).expect("valid");
        let rows = rows_of_one(&sequences);
        let batching = BatchingArguments::default();
        let whole = compute(&micro_batches(&sequences, &rows, count, &batching), weights, normalization);
        let parts = compute(&micro_batches(&sequences, &rows, split, &batching), weights, normalization);
        assert_equal(&parts, &whole);
    }

    #[test]
    fn a_packed_batch_equals_its_documents_alone(
        count in 2usize..9, seed: u64, prompt in prop_oneof![Just(0.0), Just(0.1), Just(1.0)], normalization in normalization(),
    ) {
        let sequences = random_sequences(count, seed);
        let weights = TokenWeights::new(prompt, 1.0).expect("valid");
        let batching = BatchingArguments { packing: Packing::ShortestPackFirst, ..BatchingArguments::default() };
        let alone = compute(&micro_batches(&sequences, &rows_of_one(&sequences), 1, &batching), weights, normalization);
        let indices: Row = (0..count as u32).collect();
        let (first, second) = indices.split_at(count / 2);
        let packs = [first.to_vec(), second.to_vec()];
        let packed = compute(&micro_batches(&sequences, &packs, 2, &batching), weights, normalization);
        assert_equal(&packed, &alone);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shared_prefixes_change_no_gradient(
        count in 1usize..12, split in 1usize..12, seed: u64,
        prompt in prop_oneof![Just(0.0), Just(0.1), Just(1.0)], normalization in normalization(),
    ) {
        let sequences = random_tree(count, seed);
        let weights = TokenWeights::new(prompt, 1.0).expect("valid");
        let rows = rows_of_one(&sequences);
        let of = |share_prefixes: bool| {
            let batching = BatchingArguments { share_prefixes: Some(share_prefixes), ..BatchingArguments::default() };
            micro_batches(&sequences, &rows, split, &batching)
        };
        let (shared, unshared) = (of(true), of(false));
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
        assert_equal(&compute(&shared, weights, normalization), &compute(&unshared, weights, normalization));
    }

    #[test]
    fn recomputed_activations_give_the_same_bits(
        count in 1usize..7, seed: u64, prompt in prop_oneof![Just(0.0), Just(0.1)], with_adapter: bool,
    ) {
        let sequences = random_tree(count, seed);
        let batches = micro_batches(&sequences, &rows_of_one(&sequences), count, &BatchingArguments::default());
        let mut model = tiny_llama(7, &Device::flex().autodiff());
        if with_adapter {
            let lora = LoraConfig { r: 2, alpha: 4.0, dropout: 0.3, target_modules: TargetModule::ALL.into() };
            model = model.with_lora(&lora, 3).expect("a valid adapter");
        }
        let weights = TokenWeights::new(prompt, 1.0).expect("valid");
        let key = DropoutKey { seed, step: 1 };
        let of = |gradient_checkpointing| {
            let computed = loss_and_gradients(
                &model, &batches, weights, Normalization::WeightSum, gradient_checkpointing, Some(&key),
            );
            let (loss, _, gradients) = computed.expect("it weighs");
            let bits = |tensor: Tensor<1>| -> Vec<u32> {
                let values = tensor.into_data().try_into_vec::<f32>().expect("f32");
                values.into_iter().map(f32::to_bits).collect()
            };
            let gradients = gradients.into_iter().map(|(name, gradient)| (name, bits(gradient)));
            (loss.to_bits(), gradients.collect::<Vec<_>>())
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
    let batches = micro_batches(
        &sequences,
        &rows_of_one(&sequences),
        6,
        &BatchingArguments::default(),
    );
    let losses = |prompt: f64| {
        let weights = TokenWeights::new(prompt, 1.0).expect("valid");
        let (loss, means, _) = loss_and_gradients(
            &model,
            &batches,
            weights,
            Normalization::WeightSum,
            false,
            None,
        )
        .expect("it weighs");
        (loss, means)
    };
    let (masked, masked_means) = losses(0.0);
    assert_eq!(masked_means.prompt, None);
    let (plain, means) = losses(1.0);
    let (prompt, completion) = (
        means.prompt.expect("computed"),
        means.completion.expect("computed"),
    );
    assert!((masked - completion).abs() < 1e-6);
    // Plain causal-LM loss: the mean over all predicted tokens, here from a plain log-softmax over all positions.
    let batch = &batches[0];
    let rows: Vec<u32> = (0..batch.positions() as u32).collect();
    let logits = model
        .forward(batch, &rows, None)
        .matmul(model.classifier().transpose());
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
        (p + s.prompt_targets, c + s.completion_targets)
    });
    let mixed = (prompt * f64::from(prompts) + completion * f64::from(completions))
        / f64::from(prompts + completions);
    assert!((plain - mixed).abs() < 1e-6);
}

#[test]
fn gradients_agree_with_finite_differences() {
    let sequences = random_sequences(3, 5);
    let batches = micro_batches(
        &sequences,
        &rows_of_one(&sequences),
        3,
        &BatchingArguments::default(),
    );
    let weights = TokenWeights::new(0.3, 1.0).expect("valid");
    let (loss, gradients) = compute(&batches, weights, Normalization::WeightSum);
    let squared: f64 = gradients.values().map(plw_kernels::squared_norm).sum();
    // A small step of plain gradient descent must lower the loss by step * |g|^2.
    let model = tiny_llama(7, &Device::flex().autodiff());
    let step = 1e-3 / squared.sqrt();
    let moved = descend(model, &gradients, step);
    let (after, _, _) = loss_and_gradients(
        &moved,
        &batches,
        weights,
        Normalization::WeightSum,
        false,
        None,
    )
    .expect("it weighs");
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
