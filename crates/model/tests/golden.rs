//! Logits, losses and gradients of tiny random checkpoints agree with transformers and peft.

mod cases;

use cases::*;
use plw_model::{Llama, load_adapter, load_llama};

const MODELS: [&str; 4] = [
    "grouped_tied",
    "untied_sharded_bf16",
    "llama3_f16",
    "linear_multihead",
];
const ADAPTERS: [&str; 2] = ["adapter_all", "adapter_some"];

fn agrees(case: &str, model: &Llama) {
    let golden = Golden::read(case);
    let batch = pad(&golden.sequences());
    let found = logits(model, &batch, None);
    let [_, vocab] = found.dims();
    let all = values(found.clone());
    let seq = batch.shape[1];
    for (row, expected) in golden.logits.iter().enumerate() {
        for (position, expected) in expected.iter().enumerate() {
            let start = (row * seq + position) * vocab;
            for (token, (found, expected)) in all[start..][..vocab].iter().zip(expected).enumerate()
            {
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{case}: sequence {row}, position {position}, token {token}: \
                     {found}, transformers {expected}"
                );
            }
        }
    }
    for (weight, expected) in golden.weights.iter().zip(&golden.losses) {
        let found = f64::from(values(loss(found.clone(), &batch, *weight))[0]);
        assert!(
            (found - expected).abs() < 1e-5,
            "{case}, weight {weight}: {found}, transformers {expected}"
        );
    }
    let found = gradients(model, &batch, 0.1, None);
    assert!(
        found.keys().eq(golden.gradients.keys()),
        "{case}: gradients of {:?}",
        found.keys()
    );
    for (name, gradient) in found {
        let expected = &golden.gradients[&name];
        let found = values(gradient);
        let difference = (norm(&found) - expected.norm).abs();
        assert!(
            difference < 1e-4 * expected.norm,
            "{case}: {name}: {} {}",
            norm(&found),
            expected.norm
        );
        let tolerance = 1e-4 * expected.norm;
        for (found, expected) in found.iter().zip(&expected.first) {
            assert!(
                f64::from((found - expected).abs()) < tolerance,
                "{case}: {name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn logits_losses_and_gradients_agree_with_transformers() {
    for case in MODELS {
        agrees(
            case,
            &load_llama(&fixture(case), &training_device()).expect(case),
        );
    }
}

#[test]
fn adapters_agree_with_peft() {
    for adapter in ADAPTERS {
        let base = load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
        let case = format!("grouped_tied/{adapter}");
        agrees(
            &case,
            &load_adapter(base, &fixture(&case)).expect("an adapter"),
        );
    }
}

#[test]
fn a_merged_adapter_computes_the_same() {
    let case = "grouped_tied/adapter_all";
    let base = load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    let adapted = load_adapter(base, &fixture(case)).expect("an adapter");
    let batch = pad(&Golden::read(case).sequences());
    let expected = values(logits(&adapted, &batch, None));
    let merged = adapted.merge_lora();
    assert!(merged.lora().is_none());
    assert!(
        merged
            .parameters()
            .iter()
            .all(|parameter| parameter.trainable)
    );
    let difference = relative_difference(&values(logits(&merged, &batch, None)), &expected);
    assert!(difference < 1e-5, "{difference}");
    assert_eq!(
        gradients(&merged, &batch, 1.0, None).len(),
        merged.parameters().len()
    );
}
