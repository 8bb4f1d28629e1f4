//! An evaluation does not depend on its layout, its batches or the order of groups, and refuses
//! logits that are not finite.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use plw_batch::{Answer, ExampleKey, Examples, Layout, Segment, Sequence};
use plw_eval::{Evaluation, EvaluationError, EvaluationOptions, check_tokens, evaluate};
use plw_model::{Llama, LlamaConfig};
use plw_transport::Alone;

const LAYOUTS: [Layout; 3] = [
    Layout::Concatenated,
    Layout::SharedPrefixes,
    Layout::CrossDocument,
];

fn tiny_llama() -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    );
    let config = config.expect("a valid config.json");
    Llama::init(&config, 7, &Device::flex().autodiff())
}

/// `questions` about `passages` passages. Questions of different passages take turns in the file.
fn examples(passages: u32, questions: u32) -> Examples {
    let mut examples = Examples::default();
    for example in 0..passages * questions {
        let (passage, question) = (example % passages, example / passages);
        let token_ids = vec![passage, 5, passage + 1, 9, question, question * 2, 3, 1];
        examples.sequences.push(Sequence {
            example,
            group: passage,
            token_ids,
            segments: Segment::prompt_and_completion(6, 8),
            answer: Some(Answer {
                position: 5,
                option_tokens: vec![3, 4, 7, 8],
                correct: 0,
            }),
        });
        examples.keys.push(ExampleKey {
            file: "questions.parquet".into(),
            row: u64::from(example) + 10,
            example_id: format!("middle{passage}.txt"),
            level: "middle".into(),
            answer: Some('A'),
        });
    }
    examples
}

fn run(
    model: &Llama,
    examples: &Examples,
    size: usize,
    layout: Layout,
) -> Result<Evaluation, EvaluationError> {
    let options = EvaluationOptions {
        per_device_eval_batch_size: NonZeroUsize::new(size).expect("not zero"),
        prompt_loss: true,
    };
    let mut go_on = |_| ControlFlow::Continue(());
    let evaluation = evaluate(
        &model.valid(),
        examples,
        &options,
        layout,
        &Alone::default(),
        &mut go_on,
    )?;
    Ok(evaluation.expect("nothing stops it"))
}

fn assert_close(a: Option<f32>, b: Option<f32>) {
    let (a, b) = (a.expect("computed"), b.expect("computed"));
    assert!((a - b).abs() <= 1e-5 * b.abs(), "{a} and {b}");
}

#[test]
fn layouts_and_batches_change_no_prediction() {
    let (model, examples) = (tiny_llama(), examples(3, 4));
    let expected = run(&model, &examples, 1, Layout::Concatenated).expect("finite");
    for layout in LAYOUTS {
        for size in [1, 3, 5, 100] {
            let found = run(&model, &examples, size, layout).expect("finite");
            assert_eq!(found.tokens, expected.tokens);
            assert_eq!(found.predictions.len(), expected.predictions.len());
            for (found, expected) in found.predictions.iter().zip(&expected.predictions) {
                assert_eq!(found.key, expected.key);
                assert_eq!(found.choice, expected.choice);
                assert_eq!(found.argmax_is_answer, expected.argmax_is_answer);
                for (&found, &expected) in found.logits.iter().zip(&expected.logits) {
                    assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
                }
                assert_close(found.prompt_loss, expected.prompt_loss);
                assert_close(found.completion_loss, expected.completion_loss);
                assert_close(found.answer_loss, expected.answer_loss);
            }
        }
    }
}

#[test]
fn predictions_come_in_the_order_of_the_examples() {
    let (model, examples) = (tiny_llama(), examples(3, 4));
    for layout in LAYOUTS {
        let found = run(&model, &examples, 4, layout).expect("finite");
        let rows: Vec<u64> = found.predictions.iter().map(|row| row.key.row).collect();
        assert_eq!(rows, (10..22).collect::<Vec<_>>(), "{layout:?}");
    }
}

#[test]
fn shared_prefixes_compute_fewer_tokens() {
    let (model, examples) = (tiny_llama(), examples(3, 4));
    // Groups are whole where a batch has room for them: a passage of four tokens stands once.
    let shared = run(&model, &examples, 4, Layout::SharedPrefixes).expect("finite");
    assert_eq!((shared.tokens, shared.tokens_computed), (96, 3 * (4 + 16)));
    assert!(shared.summary().share_prefixes);
    let alone = run(&model, &examples, 4, Layout::Concatenated).expect("finite");
    assert_eq!(alone.tokens_computed, 96);
    assert!(!alone.summary().share_prefixes);
}

#[test]
fn logits_that_are_not_finite_are_refused_by_name() {
    let model = tiny_llama();
    let weights = model.values().into_iter().collect();
    let damaged = model.update(weights, |_, value, _| value * f32::NAN);
    let error = run(&damaged, &examples(1, 2), 1, Layout::SharedPrefixes).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("not finite"), "{message}");
    assert!(message.contains("questions.parquet row 10"), "{message}");
}

/// A model whose head is not tied to the embeddings, and was changed.
fn with_head(change: impl Fn(Tensor<1>) -> Tensor<1>) -> Llama {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 23, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": false}"#,
    );
    let device = Device::flex().autodiff();
    let model = Llama::init(&config.expect("a valid config.json"), 7, &device);
    let head = model.values_of(|name| name == "lm_head.weight");
    assert_eq!(head.len(), 1);
    model.update(head, |_, value, _| change(value))
}

#[test]
fn a_logit_of_any_token_that_is_not_finite_is_refused() {
    // No example has or asks for token 22, the last of the vocabulary.
    for value in [f32::NAN, f32::INFINITY] {
        let damaged = with_head(|head| {
            let [count] = head.dims();
            let last = Tensor::full([1], value, &head.device());
            Tensor::cat(vec![head.slice(0..count - 1), last], 0)
        });
        for size in [1, 3] {
            let error = run(&damaged, &examples(1, 3), size, Layout::Concatenated);
            let message = error.expect_err("refused").to_string();
            assert!(message.contains("logits are not finite"), "{message}");
            assert!(message.contains("questions.parquet row 10"), "{message}");
        }
    }
}

#[test]
fn of_equal_logits_the_first_is_chosen() {
    let indifferent = with_head(|head| head.zeros_like());
    let mut examples = examples(1, 3);
    // The answers: token 3, of which there are smaller ones, token 0, and token 0 as option B.
    let mut sequences: Vec<Sequence> = examples.sequences.iter().collect();
    for (sequence, tokens, correct) in [(1, [0, 4], 0), (2, [4, 0], 1)] {
        let answer = sequences[sequence].answer.as_mut().expect("a question");
        (answer.option_tokens, answer.correct) = (tokens.to_vec(), correct);
        sequences[sequence].token_ids[6] = 0;
    }
    examples.sequences = sequences.into_iter().collect();
    for layout in LAYOUTS {
        let found = run(&indifferent, &examples, 2, layout).expect("finite");
        let rows = found.predictions.iter();
        let said: Vec<_> = rows
            .map(|row| (row.choice, row.argmax_is_answer, row.logits.len()))
            .collect();
        let expected = [
            (Some('A'), false, 4),
            (Some('A'), true, 2),
            (Some('A'), true, 2),
        ];
        assert_eq!(said, expected, "{layout:?}");
    }
}

fn change_second(examples: &mut Examples, change: fn(&mut Sequence)) {
    let mut sequences: Vec<Sequence> = examples.sequences.iter().collect();
    change(&mut sequences[1]);
    examples.sequences = sequences.into_iter().collect();
}

#[test]
fn tokens_that_the_model_does_not_know_are_refused_by_name() {
    let model = tiny_llama();
    let changes: [fn(&mut Sequence); 2] = [
        |sequence| sequence.token_ids[3] = 23,
        |sequence| {
            let answer = sequence.answer.as_mut().expect("a question");
            answer.option_tokens[3] = 23;
        },
    ];
    for change in changes {
        let mut examples = examples(1, 3);
        change_second(&mut examples, change);
        let error = run(&model, &examples, 1, Layout::Concatenated).expect_err("refused");
        let message = error.to_string();
        for part in [
            "questions.parquet row 11",
            "token 23",
            "vocabulary of 23 tokens",
        ] {
            assert!(message.contains(part), "{part:?} in {message}");
        }
        assert!(check_tokens(&examples, 24).is_ok());
    }
}

#[test]
fn an_example_without_targets_is_named() {
    let model = tiny_llama();
    let mut examples = examples(1, 2);
    change_second(&mut examples, |sequence| {
        sequence.token_ids.truncate(1);
        sequence.segments = Segment::prompt_and_completion(0, 1);
        sequence.answer = None;
    });
    for size in [1, 2] {
        let error = run(&model, &examples, size, Layout::Concatenated).expect_err("refused");
        let message = error.to_string();
        assert!(message.contains("questions.parquet row 11"), "{message}");
    }
}

#[test]
fn a_stop_leaves_nothing() {
    let (model, examples) = (tiny_llama(), examples(2, 2));
    let mut stop_after_two = |done| match done {
        2.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let options = EvaluationOptions {
        per_device_eval_batch_size: NonZeroUsize::MIN,
        prompt_loss: false,
    };
    let layout = Layout::Concatenated;
    let stopped = evaluate(
        &model.valid(),
        &examples,
        &options,
        layout,
        &Alone::default(),
        &mut stop_after_two,
    );
    assert!(stopped.expect("finite").is_none());
}
