//! Examples without options to choose among: conversations of several completions, alone and beside
//! questions, and completions whose tokens have no weight.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use burn::tensor::Device;
use plw_batch::{Answer, ExampleKey, Examples, Layout, Role, Segment, Sequence};
use plw_eval::{Evaluation, EvaluationOptions, evaluate};
use plw_model::{Llama, LlamaConfig};
use plw_transport::Alone;

fn tiny_llama() -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    );
    let config = config.expect("a valid config.json");
    Llama::init(&config, 7, &Device::flex())
}

/// Two turns of each role. The weights are those of the completions.
fn conversation(weights: [f64; 2]) -> (Sequence, Option<char>) {
    let segment = |role, end, weight| Segment { role, end, weight };
    let sequence = Sequence {
        example: 0,
        group: 0,
        token_ids: vec![4, 5, 9, 11, 3, 2, 14, 8, 1, 6],
        segments: vec![
            segment(Role::Prompt, 3, 1.0),
            segment(Role::Completion, 5, weights[0]),
            segment(Role::Prompt, 7, 1.0),
            segment(Role::Completion, 10, weights[1]),
        ],
        answer: None,
    };
    (sequence, None)
}

fn question() -> (Sequence, Option<char>) {
    let sequence = Sequence {
        example: 0,
        group: 0,
        token_ids: vec![4, 5, 9, 12, 3, 1],
        segments: Segment::prompt_and_completion(4, 6),
        answer: Some(Answer {
            position: 3,
            option_tokens: vec![3, 4, 7, 8],
            correct: 0,
        }),
    };
    (sequence, Some('A'))
}

fn examples(all: &[(Sequence, Option<char>)]) -> Examples {
    let mut examples = Examples::default();
    for (example, (sequence, answer)) in (0u32..).zip(all) {
        let mut sequence = sequence.clone();
        (sequence.example, sequence.group) = (example, example / 2);
        // So that no two are alike.
        sequence.token_ids[1] = example % 23;
        examples.sequences.push(sequence);
        examples.keys.push(ExampleKey {
            file: "chats.jsonl".into(),
            row: u64::from(example),
            example_id: format!("chats-{example}"),
            level: "data".into(),
            answer: *answer,
        });
    }
    examples
}

fn run(examples: &Examples, size: usize, layout: Layout) -> Evaluation {
    let options = EvaluationOptions {
        per_device_eval_batch_size: NonZeroUsize::new(size).expect("not zero"),
        prompt_loss: false,
    };
    let mut go_on = |_| ControlFlow::Continue(());
    let evaluation = evaluate(
        &tiny_llama(),
        examples,
        &options,
        layout,
        &Alone::default(),
        &mut go_on,
    );
    evaluation.expect("finite").expect("nothing stops it")
}

#[test]
fn every_example_has_its_loss_and_the_tokens_that_it_is_over() {
    let examples = examples(&[
        conversation([1.0, 1.0]),
        conversation([1.0, 0.0]),
        conversation([0.0, 0.5]),
    ]);
    let alone = run(&examples, 1, Layout::Concatenated);
    for layout in [
        Layout::Concatenated,
        Layout::SharedPrefixes,
        Layout::CrossDocument,
    ] {
        for size in [1, 2, 3] {
            let found = run(&examples, size, layout);
            assert_eq!(found.predictions.len(), 3);
            for (row, expected) in found.predictions.iter().zip(&alone.predictions) {
                assert_eq!((row.choice, row.key.answer), (None, None));
                assert!(row.logits.is_empty() && !row.argmax_is_answer);
                assert_eq!((row.answer_loss, row.prompt_loss), (None, None));
                assert_eq!(row.completion_tokens, expected.completion_tokens);
                let [loss, expected] = [row, expected].map(|row| row.completion_loss);
                let (loss, expected) = (loss.expect("scored"), expected.expect("scored"));
                assert!((loss - expected).abs() < 1e-5, "{loss} and {expected}");
            }
        }
    }
    let tokens: Vec<_> = alone
        .predictions
        .iter()
        .map(|row| row.completion_tokens)
        .collect();
    assert_eq!(tokens, [Some(5), Some(2), Some(3)]);
    // The mean over tokens can be computed from the rows.
    let sum = |of: fn(f64, f64) -> f64| -> f64 {
        let rows = alone.predictions.iter();
        rows.map(|row| {
            let loss = row.completion_loss.expect("scored");
            of(
                f64::from(loss),
                row.completion_tokens.expect("counted") as f64,
            )
        })
        .sum()
    };
    let mean = sum(|loss, tokens| loss * tokens) / sum(|_, tokens| tokens);
    let summary = alone.summary();
    let loss = summary.completion_loss.expect("scored");
    assert!((mean - loss).abs() < 1e-6 * loss, "{mean} and {loss}");
    assert_eq!(summary.perplexity, Some(loss.exp()));
    assert_eq!((summary.examples, summary.unscored_examples), (3, 0));
    assert_eq!(
        (summary.accuracy.questions, summary.questions_per_second),
        (0, 0.0)
    );
    assert!(summary.examples_per_second > 0.0 && summary.by_level.is_empty());
}

#[test]
fn questions_beside_conversations_are_answered_as_alone() {
    let [first, second] = [0, 1].map(|_| question());
    let both = examples(&[first, conversation([1.0, 1.0]), second]);
    let found = run(&both, 1, Layout::Concatenated);
    let mut questions = Examples::default();
    for number in [0, 2] {
        let mut sequence = both.sequences.get(number);
        sequence.example = number / 2;
        questions.sequences.push(sequence);
        questions.keys.push(both.keys[number as usize].clone());
    }
    let alone = run(&questions, 1, Layout::Concatenated);
    let answered: Vec<_> = found
        .predictions
        .iter()
        .filter(|row| row.is_question())
        .collect();
    assert_eq!(answered, alone.predictions.iter().collect::<Vec<_>>());
    let summary = found.summary();
    assert_eq!(summary.accuracy, alone.summary().accuracy);
    assert_eq!((summary.examples, summary.accuracy.questions), (3, 2));
    assert_eq!(summary.by_level.len(), 1);
}

#[test]
fn completions_without_weight_are_counted_and_not_computed() {
    let unscored = conversation([0.0, 0.0]);
    let both = examples(&[unscored.clone(), unscored.clone(), conversation([1.0, 1.0])]);
    for size in [1, 2, 3] {
        let found = run(&both, size, Layout::Concatenated);
        let losses: Vec<_> = found
            .predictions
            .iter()
            .map(|row| row.completion_loss)
            .collect();
        assert!(
            matches!(losses.as_slice(), [None, None, Some(_)]),
            "{losses:?}"
        );
        let tokens = found.predictions.iter().map(|row| row.completion_tokens);
        assert_eq!(tokens.collect::<Vec<_>>(), [Some(0), Some(0), Some(5)]);
        let summary = found.summary();
        assert_eq!((summary.examples, summary.unscored_examples), (3, 2));
        assert_eq!(summary.tokens, 30);
        // A batch of which nothing counts is left out.
        let computed = if size == 3 { 30 } else { 10 };
        assert_eq!(summary.tokens_computed, computed, "batches of {size}");
    }
    let none = run(
        &examples(&[unscored.clone(), unscored]),
        2,
        Layout::SharedPrefixes,
    );
    let summary = none.summary();
    assert_eq!((summary.completion_loss, summary.perplexity), (None, None));
    assert_eq!((summary.examples, summary.unscored_examples), (2, 2));
}
