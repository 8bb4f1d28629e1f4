//! Loads a model, trains a LoRA adapter on one sequence of tokens, and saves and reloads the
//! adapter: `train_adapter MODEL_DIR`.

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, activation};
use plw_batch::{Segment, Sequence, concatenate};
use plw_model::{Llama, LoraConfig, TargetModule, load_adapter, load_llama, save_adapter};

const TOKENS: [u32; 8] = [3, 14, 15, 9, 26, 5, 35, 8];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("usage: train_adapter MODEL_DIR (in the layout of Hugging Face)".into());
    };
    let device = Device::flex().autodiff();
    let began = Instant::now();
    let base = load_llama(&directory, &device)?;
    println!(
        "{} parameters, loaded in {:.2} s",
        base.config().parameter_count(),
        began.elapsed().as_secs_f64()
    );

    let lora = LoraConfig {
        r: 4,
        alpha: 8.0,
        dropout: 0.0,
        target_modules: TargetModule::ALL.into(),
    };
    let mut model = base.clone().with_lora(&lora, 1)?;
    for step in 1..=5 {
        let loss = loss(&model);
        println!("step {step}: loss {:.4}", loss.clone().into_scalar::<f32>());
        let gradients = model.take_gradients(&mut loss.backward());
        model = model.update(gradients, |_name, value, gradient| {
            value - gradient.sign() * 0.01
        });
    }

    let adapter = std::env::temp_dir().join("plw-model-example");
    save_adapter(&model, &adapter)?;
    let reloaded = load_adapter(base, &adapter)?;
    println!(
        "reloaded from {}: loss {:.4}",
        adapter.display(),
        loss(&reloaded).into_scalar::<f32>()
    );
    Ok(())
}

/// The mean cross-entropy of each token given those before it.
fn loss(model: &Llama) -> Tensor<1> {
    let sequence = Sequence {
        example: 0,
        group: 0,
        token_ids: TOKENS.into(),
        segments: Segment::prompt_and_completion(1, TOKENS.len()),
        answer: None,
    };
    let batch = concatenate(&[sequence]);
    // The rows whose hidden states predict a token, and those tokens.
    let rows: Vec<u32> = batch.targets.iter().map(|target| target.position).collect();
    let tokens: Vec<i64> = batch.targets.iter().map(|t| t.token.into()).collect();
    let logits = model
        .forward(&batch, &rows, None)
        .matmul(model.lm_head().transpose());
    let tokens = Tensor::<1, Int>::from_ints(tokens.as_slice(), &logits.device());
    activation::log_softmax(logits, 1)
        .gather(1, tokens.unsqueeze_dim(1))
        .mean()
        .neg()
}
