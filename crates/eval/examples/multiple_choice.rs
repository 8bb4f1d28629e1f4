//! Scores a random model on two questions about one passage, with and without shared prefixes.

use std::ops::ControlFlow;

use burn::tensor::Device;
use plw_batch::{Answer, ExampleKey, Examples, Layout, Segment, Sequence};
use plw_eval::{EvaluationOptions, evaluate};
use plw_model::{Llama, LlamaConfig};
use plw_transport::Alone;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}"#,
    )?;
    let model = Llama::init(&config, 1, &Device::flex());
    let mut examples = Examples::default();
    for (example, question) in (0..).zip([20, 21]) {
        // Four tokens of passage, one of question, the answer's letter, the end of the turn.
        let token_ids = vec![10, 11, 12, 13, question, 3, 2];
        examples.sequences.push(Sequence {
            example,
            group: 0,
            token_ids,
            segments: Segment::prompt_and_completion(5, 7),
            answer: Some(Answer {
                position: 4,
                option_tokens: vec![3, 4, 5, 6],
                correct: 0,
            }),
        });
        examples.keys.push(ExampleKey {
            file: "questions.parquet".into(),
            row: u64::from(example),
            example_id: "passage-1".to_string(),
            level: "middle".into(),
            answer: Some('A'),
        });
    }
    for layout in [Layout::Concatenated, Layout::SharedPrefixes] {
        let options = EvaluationOptions::default();
        let mut progress = |_done| ControlFlow::Continue(());
        let evaluation = evaluate(
            &model,
            &examples,
            &options,
            layout,
            &Alone::default(),
            &mut progress,
        )?
        .ok_or("nothing stops it")?;
        println!("{layout:?}: {} tokens computed", evaluation.tokens_computed);
        for row in &evaluation.predictions {
            let choice = row.choice.ok_or("every example is a question")?;
            println!("  row {}: {choice} of {:?}", row.key.row, row.logits);
        }
    }
    Ok(())
}
