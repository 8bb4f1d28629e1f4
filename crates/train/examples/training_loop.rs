//! A training loop of one's own: a tiny random model learns two questions with a prompt loss
//! weight.

use burn::tensor::Device;
use plw_batch::{Layout, Pack, Segment, Sequence, Sequences, micro_batches};
use plw_loss::{Normalizer, Objective, TokenWeights};
use plw_model::{DropoutKey, Llama, LlamaConfig};
use plw_train::{Optimizer, PassOptions, StepOptions, TrainingArguments, step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}"#,
    )?;
    let sequence = |example, question, answer| Sequence {
        example,
        group: 0,
        token_ids: vec![10, 11, 12, question, answer],
        segments: Segment::prompt_and_completion(4, 5),
        answer: None,
    };
    let sequences = Sequences::from_iter([sequence(0, 20, 3), sequence(1, 21, 4)]);
    let packs = [0, 1].map(|index| Pack::of(vec![index], &sequences));
    let objective = Objective::weight_sum(TokenWeights::new(0.1, 1.0)?);

    let mut model = Llama::init(&config, 1, &Device::flex().autodiff());
    let mut optimizer = Optimizer::new(&TrainingArguments::default());
    for number in 1..=20 {
        let batches = micro_batches(&sequences, &packs, 2, Layout::SharedPrefixes);
        let in_step = batches.iter().flat_map(|batch| &batch.sequences);
        let normalizer = Normalizer::of_step(in_step, objective)?;
        let options = StepOptions {
            learning_rate: 1e-2,
            max_grad_norm: 1.0,
            pass: PassOptions {
                dropout: Some(DropoutKey {
                    seed: 1,
                    step: number,
                }),
                ..PassOptions::default()
            },
        };
        let result;
        (model, result) = step(model, &mut optimizer, &batches, &normalizer, &options)?;
        if number % 5 == 0 {
            println!(
                "step {number}: loss {:.4}, completion loss {:.4}, grad norm {:.3}",
                result.loss,
                result.losses.completion.unwrap_or(f64::NAN),
                result.grad_norm
            );
        }
    }
    Ok(())
}
