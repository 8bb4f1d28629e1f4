//! Batches whose results are read when others are queued, as on a GPU.

use burn::tensor::{Device, Tensor};
use plw_batch::{Answer, ExampleKey, Segment, Sequence};
use plw_model::LlamaConfig;
use plw_transport::Alone;

use super::*;

const TOKENS: u32 = 23;
/// A token of the sixth example alone.
const RARE: u32 = 22;

fn model() -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": false}"#,
    );
    Llama::init(&config.expect("valid"), 7, &Device::flex())
}

/// The same model without a finite embedding of the rare token.
fn damaged() -> Llama {
    let model = model();
    let name = "model.embed_tokens.weight";
    model
        .clone()
        .update(model.values_of(|found| found == name), |_, value, _| {
            let [count] = value.dims();
            let first = RARE as usize * count / TOKENS as usize;
            let rest = Tensor::full([count - first], f32::NAN, &value.device());
            Tensor::cat(vec![value.slice(0..first), rest], 0)
        })
}

fn examples() -> Examples {
    let mut examples = Examples::default();
    for example in 0..7 {
        let rare = if example == 5 { RARE } else { 2 };
        examples.sequences.push(Sequence {
            example,
            group: example,
            token_ids: vec![rare, example, 9, 4 + example % 2, 1],
            segments: Segment::prompt_and_completion(3, 5),
            answer: Some(Answer {
                position: 2,
                option_tokens: vec![4, 5, 6],
                correct: example % 2,
            }),
        });
        examples.keys.push(ExampleKey {
            file: "questions.parquet".into(),
            row: u64::from(example),
            example_id: example.to_string(),
            level: "middle".into(),
            answer: Some(['A', 'B'][example as usize % 2]),
        });
    }
    examples
}

/// The scores with so many batches queued ahead, and what the progress was. `stops_at` is the call
/// that breaks off.
fn run(
    model: &Llama,
    batches_ahead: usize,
    stops_at: usize,
) -> (Result<Option<Vec<BatchScore>>, EvaluationError>, Vec<usize>) {
    let options = EvaluationOptions {
        per_device_eval_batch_size: NonZeroUsize::new(2).expect("not zero"),
        prompt_loss: true,
    };
    let mut scorer = Scorer::new(model, &options);
    assert_eq!(scorer.batches_ahead, 0, "the CPU has no queue");
    scorer.batches_ahead = batches_ahead;
    let mut seen = Vec::new();
    let mut progress = |done| {
        seen.push(done);
        match seen.len() == stops_at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let (layout, alone) = (Layout::Concatenated, Alone::default());
    let found = score_share(&scorer, &examples(), layout, &alone, &mut progress);
    (found, seen)
}

#[test]
fn batches_that_are_read_late_have_the_same_scores_in_the_same_order() {
    let scores = |ahead| {
        let (found, seen) = run(&model(), ahead, usize::MAX);
        let found = found.expect("finite").expect("nothing stops it");
        let numbers: Vec<u32> = found.iter().map(|batch| batch.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        (format!("{found:?}"), seen)
    };
    let (expected, seen) = scores(0);
    assert_eq!(seen, [0, 2, 4, 6, 7]);
    for (ahead, expected_seen) in [(1, [0, 0, 2, 4, 7]), (9, [0, 0, 0, 0, 7])] {
        let (found, seen) = scores(ahead);
        assert_eq!(found, expected);
        assert_eq!(seen, expected_seen);
    }
}

#[test]
fn what_is_not_finite_is_told_of_its_row_however_late_it_is_read() {
    let damaged = damaged();
    for ahead in [0, 1, 9] {
        let (found, _) = run(&damaged, ahead, usize::MAX);
        let message = found.expect_err("refused").to_string();
        assert!(message.contains("logits are not finite"), "{message}");
        assert!(message.contains("questions.parquet row 5"), "{message}");
    }
}

#[test]
fn a_stop_while_batches_are_queued_leaves_nothing() {
    for ahead in [0, 1, 9] {
        for stops_at in 1..=4 {
            let (found, seen) = run(&model(), ahead, stops_at);
            assert!(found.expect("finite").is_none());
            assert_eq!(seen.len(), stops_at);
        }
        // All is done: it is too late to stop.
        let (found, _) = run(&model(), ahead, 5);
        assert!(found.expect("finite").is_some());
    }
}
