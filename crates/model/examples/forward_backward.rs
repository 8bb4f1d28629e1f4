//! Times forward and backward of a model on token ids: `forward_backward MODEL_DIR IDS.json [repetitions] [--lora]`.
//!
//! IDS.json is a list of lists of token ids; the loss is the plain mean over all targets. Prints the logits' first
//! values, the loss, the gradients' norm and tokens a second.

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use plw_batch::{Sequence, concatenate};
use plw_model::{LoraConfig, TargetModule, load_llama};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let device = Device::flex().autodiff();
    let began = Instant::now();
    let mut model = load_llama(Path::new(&arguments[1]), &device)?;
    println!("loaded in {:.2} s", began.elapsed().as_secs_f64());
    if arguments.iter().any(|a| a == "--lora") {
        let lora = LoraConfig {
            r: 16,
            alpha: 16.0,
            dropout: 0.0,
            target_modules: TargetModule::ALL.into(),
        };
        model = model.with_lora(&lora, 1)?;
    }
    let ids: Vec<Vec<u32>> = serde_json::from_str(&std::fs::read_to_string(&arguments[2])?)?;
    let sequences: Vec<Sequence> = (0..)
        .zip(ids)
        .map(|(example, token_ids)| Sequence {
            example,
            group: 0,
            token_ids,
            completion_start: 1,
            answer: None,
        })
        .collect();
    let batch = concatenate(&sequences);
    let rows: Vec<u32> = batch.targets.iter().map(|t| t.position).collect();
    let tokens: Vec<i64> = batch.targets.iter().map(|t| t.token.into()).collect();
    let count = tokens.len();
    let repetitions = arguments.get(3).and_then(|n| n.parse().ok()).unwrap_or(2);
    for _ in 0..repetitions {
        let began = Instant::now();
        let hidden = model.forward(&batch, &rows, None);
        let body = began.elapsed().as_secs_f64();
        let logits = hidden.matmul(model.classifier().transpose());
        let first: Vec<f32> = logits
            .clone()
            .inner()
            .slice([count - 1..count, 0..6])
            .into_data()
            .as_slice()?
            .to_vec();
        let targets =
            Tensor::<2, Int>::from_data(TensorData::new(tokens.clone(), [count, 1]), &device);
        let loss = activation::log_softmax(logits, 1)
            .gather(1, targets)
            .mean()
            .neg();
        let value = loss.clone().into_data().as_slice::<f32>()?[0];
        let forward = began.elapsed().as_secs_f64();
        let mut gradients = loss.backward();
        let gradients = model.take_gradients(&mut gradients);
        let whole = began.elapsed().as_secs_f64();
        // In f64: a sum of many squares in f32 is off by more than the gradients are.
        let mut squares = 0.0;
        for gradient in gradients.into_values() {
            let data = gradient.into_data();
            squares += data
                .as_slice::<f32>()?
                .iter()
                .map(|&v| f64::from(v).powi(2))
                .sum::<f64>();
        }
        println!(
            "logits {first:?} loss {value:.6} gradient norm {:.4}; body {body:.2} s, forward {forward:.2} s, with backward {whole:.2} s: {:.1} tokens/s",
            squares.sqrt(),
            batch.tokens() as f64 / whole
        );
    }
    Ok(())
}
