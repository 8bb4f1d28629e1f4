//! A layout changes no result: packed or padded documents give what they give alone.

mod cases;

use std::collections::BTreeMap;

use cases::*;
use plw_batch::{Batch, Layout, Pack, Sequence, Unit, concatenate, shortest_pack_first};
use plw_model::{DropoutKey, Llama, LlamaConfig, LoraConfig, TargetModule};
use proptest::prelude::*;

fn model() -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 29, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": true}"#,
    );
    Llama::init(&config.expect("a valid config.json"), 5, &training_device())
}

/// The same with adapters that do something, and dropout.
fn adapted() -> Llama {
    let lora = LoraConfig {
        r: 3,
        alpha: 6.0,
        dropout: 0.3,
        target_modules: TargetModule::ALL.into(),
    };
    let model = model().with_lora(&lora, 1).expect("valid settings");
    let gradients = model
        .values()
        .into_iter()
        .filter(|(name, _)| name.contains("lora_"))
        .collect();
    model.update(gradients, |_, value, _| value + 0.1)
}

/// Logits of each example's tokens, in order.
fn by_example(
    model: &Llama,
    batches: &[Batch],
    key: Option<&DropoutKey>,
) -> BTreeMap<u32, Vec<f32>> {
    let mut found = BTreeMap::<u32, Vec<f32>>::new();
    for batch in batches {
        let all = logits(model, batch, key);
        let [_, vocab] = all.dims();
        let all = values(all);
        for (flat, &until) in batch.visible_until.iter().enumerate() {
            let first = &batch.sequences[batch.first_sequence[flat] as usize];
            // Only a padding token itself attends to it. The same holds for a document's last
            // token, but that one's depth tells the document's length.
            let column = flat % batch.shape[1];
            let padding = until as usize == column + 1
                && batch.position_ids[flat] + 1 != first.tokens
                && batch.position_ids[flat] == 0;
            if !padding {
                found
                    .entry(first.example)
                    .or_default()
                    .extend(&all[flat * vocab..][..vocab]);
            }
        }
    }
    found
}

/// The gradient of the summed losses: that of each batch's mean times its number of targets.
fn summed_gradients(
    model: &Llama,
    batches: &[Batch],
    key: Option<&DropoutKey>,
) -> BTreeMap<String, Vec<f32>> {
    let mut sum = BTreeMap::<String, Vec<f32>>::new();
    for batch in batches {
        for (name, gradient) in gradients(model, batch, 1.0, key) {
            let scaled = values(gradient.mul_scalar(batch.targets.len() as f64));
            let total = sum.entry(name).or_insert_with(|| vec![0.0; scaled.len()]);
            total
                .iter_mut()
                .zip(scaled)
                .for_each(|(total, value)| *total += value);
        }
    }
    sum
}

fn same(model: &Llama, sequences: &[Sequence], layout: &[Batch], key: Option<&DropoutKey>) {
    let alone: Vec<Batch> = sequences
        .iter()
        .map(|s| concatenate(std::slice::from_ref(s)))
        .collect();
    let (expected, found) = (
        by_example(model, &alone, key),
        by_example(model, layout, key),
    );
    assert!(expected.keys().eq(found.keys()));
    for (example, expected) in expected {
        assert!(
            relative_difference(&found[&example], &expected) < 1e-5,
            "example {example}"
        );
    }
    let (expected, found) = (
        summed_gradients(model, &alone, key),
        summed_gradients(model, layout, key),
    );
    assert!(expected.keys().eq(found.keys()));
    for (name, expected) in expected {
        assert!(
            relative_difference(&found[&name], &expected) < 1e-4,
            "{name}"
        );
    }
}

fn sequences() -> impl Strategy<Value = Vec<Sequence>> {
    let one = prop::collection::vec(0u32..29, 2..12);
    prop::collection::vec(one, 1..6).prop_map(|all| {
        (0..)
            .zip(all)
            .map(|(n, ids)| sequence(n * 7, &ids, 1))
            .collect()
    })
}

/// Packs of at most 24 tokens, a batch each.
fn pack(sequences: &[Sequence]) -> Vec<Batch> {
    let unit = |(member, sequence): (u32, &Sequence)| Unit {
        members: vec![member],
        length: sequence.len(),
    };
    let units: Vec<Unit> = (0..).zip(sequences).map(unit).collect();
    let packs: Vec<Pack> = shortest_pack_first(&units, 24);
    let members = |pack: &Pack| -> Vec<&Sequence> {
        let members = pack.members.iter();
        members.map(|&member| &sequences[member as usize]).collect()
    };
    packs
        .iter()
        .map(|pack| Layout::Concatenated.lay_out(&[members(pack)]))
        .collect()
}

/// A row for each chunk of `documents` sequences, padded to the longest row.
fn rows_of(documents: usize, sequences: &[Sequence]) -> Batch {
    let rows: Vec<Batch> = sequences.chunks(documents).map(concatenate).collect();
    stack(&rows)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn packed_or_padded_documents_equal_documents_alone(
        sequences in sequences(), step in 0u64..100,
    ) {
        let model = model();
        same(&model, &sequences, &pack(&sequences), None);
        same(&model, &sequences, &[rows_of(1, &sequences)], None);
        same(&model, &sequences, &[rows_of(2, &sequences)], None);
        // Dropout masks are keyed by example and depth, so they move with the tokens.
        let key = DropoutKey { seed: 9, step };
        same(&adapted(), &sequences, &pack(&sequences), Some(&key));
        same(&adapted(), &sequences, &[rows_of(1, &sequences)], Some(&key));
    }
}

#[test]
fn rows_are_those_of_the_whole() {
    let model = model();
    let batch = concatenate(&[sequence(0, &[3, 1, 4, 1, 5], 2), sequence(1, &[9, 2, 6], 1)]);
    let all = values(model.forward(&batch, &(0..8).collect::<Vec<_>>(), None));
    let some = values(model.forward(&batch, &[7, 0, 3], None));
    let hidden = 16;
    for (row, position) in [7, 0, 3].into_iter().enumerate() {
        assert_eq!(
            some[row * hidden..][..hidden],
            all[position * hidden..][..hidden]
        );
    }
}

#[test]
fn cross_document_attention_sees_the_documents_before() {
    let model = model();
    let (a, b) = (sequence(0, &[3, 1, 4], 1), sequence(1, &[9, 2, 6], 1));
    let joined = concatenate(&[sequence(0, &[3, 1, 4, 9, 2, 6], 1)]);
    let crossing = Layout::CrossDocument.lay_out(&[[&a, &b]]);
    assert_eq!(
        values(logits(&model, &crossing, None)),
        values(logits(&model, &joined, None))
    );
}
