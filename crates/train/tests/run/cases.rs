//! Tiny models and examples for the tests.

use burn::tensor::Device;
use plw_batch::{Answer, ExampleKey, Examples, Sequence, Sequences};
use plw_model::{Llama, LlamaConfig};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const VOCAB: u32 = 23;

pub(crate) fn tiny_llama(seed: u64, device: &Device) -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    )
    .expect("a valid config.json");
    Llama::init(&config, seed, device)
}

/// Random questions; a group has up to three of them.
pub(crate) fn random_sequences(count: usize, seed: u64) -> Sequences {
    questions(count, seed).into_iter().collect()
}

fn questions(count: usize, seed: u64) -> Vec<Sequence> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count as u32)
        .map(|example| {
            let length = rng.random_range(3..14);
            let completion_start = rng.random_range(1..length as u32 - 1);
            let mut token_ids: Vec<u32> = (0..length).map(|_| rng.random_range(0..VOCAB)).collect();
            let correct = rng.random_range(0..4);
            token_ids[completion_start as usize] = correct + 1;
            let answer = Answer {
                position: completion_start - 1,
                option_tokens: vec![1, 2, 3, 4],
                correct,
            };
            Sequence {
                example,
                group: example / 3,
                token_ids,
                completion_start,
                answer: Some(answer),
            }
        })
        .collect()
}

/// Random questions, most of which begin as an earlier one does, for any number of tokens: a part
/// of one's prompt may be another's completion, or the whole of another.
pub(crate) fn random_tree(count: usize, seed: u64) -> Sequences {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sequences = questions(count, seed);
    for index in 1..count {
        let model = sequences[rng.random_range(0..index)].token_ids.clone();
        let sequence = &mut sequences[index];
        let shared = rng.random_range(0..=model.len().min(sequence.token_ids.len()));
        sequence.token_ids[..shared].copy_from_slice(&model[..shared]);
    }
    sequences.into_iter().collect()
}

pub(crate) fn random_examples(count: usize, seed: u64) -> Examples {
    let sequences = random_sequences(count, seed);
    let keys = sequences
        .iter()
        .map(|sequence| ExampleKey {
            file: "questions.parquet".into(),
            row: u64::from(sequence.example),
            example_id: format!("middle{}.txt", sequence.group),
            level: "middle".into(),
            answer: Some('A'),
        })
        .collect();
    Examples {
        sequences,
        keys,
        ..Examples::default()
    }
}
