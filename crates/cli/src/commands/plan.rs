//! `plw plan`: what a training run will do, and the memory that it will take.

use std::process::ExitCode;

use miette::{IntoDiagnostic, Result};
use plw_model::{check_adapter, check_llama, read_config};
use plw_record::peak_memory_bytes;
use plw_train::{Forecast, ModelSize, RunSettings, forecast};

use super::train::unclear_start;
use crate::examples::{RunData, checked_encoder};
use crate::flags::PlanFlags;
use crate::output::print;
use crate::settings::Settings;

pub(crate) fn run(flags: &PlanFlags) -> Result<ExitCode> {
    let settings = Settings::load_training(flags.config.as_deref(), &flags.settings)?;
    settings.check()?;
    let source = &settings.source;
    let config = match (&source.model, &source.init_config) {
        (Some(model), None) => check_llama(model).into_diagnostic()?,
        (None, Some(file)) => read_config(file).into_diagnostic()?,
        _ => return Err(unclear_start()),
    };
    if let Some(adapter) = &source.init_adapter {
        check_adapter(&config, adapter).into_diagnostic()?;
    }
    let encoder = checked_encoder(&settings)?;
    let data = RunData::load(&settings, encoder.as_ref())?;
    let reading = peak_memory_bytes().unwrap_or(0);
    let weights = settings.loss.objective().into_diagnostic()?.weights;
    data.check(&config, weights)?;
    let lora = settings.lora.config();
    let model = ModelSize {
        config: &config,
        lora: lora.as_ref(),
        linear_weights: source.dtype,
    };
    let run = RunSettings {
        training: &settings.training,
        loss: &settings.loss,
        batching: &settings.batching,
        evaluation: &settings.evaluation,
    };
    let mut forecast = forecast(&data.train, &data.evaluated(), run, model).into_diagnostic()?;
    forecast.memory = forecast.memory.with_reading(reading);
    print(&match flags.json {
        true => serde_json::to_string(&forecast).into_diagnostic()? + "\n",
        false => describe(&forecast),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn describe(forecast: &Forecast) -> String {
    let memory = &forecast.memory;
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let evaluation = memory.largest_evaluation;
    let lines = [
        ("steps", forecast.steps.to_string()),
        (
            "steps laid out to tell the rest",
            forecast.steps_laid_out.to_string(),
        ),
        ("sequences trained on", forecast.sequences.to_string()),
        ("their tokens", forecast.tokens.to_string()),
        ("tokens computed", forecast.tokens_computed.to_string()),
        ("parameters", memory.parameters.to_string()),
        (
            "trainable parameters",
            memory.trainable_parameters.to_string(),
        ),
        (
            "largest micro-batch: tokens computed",
            memory.largest.positions.to_string(),
        ),
        (
            "largest micro-batch: tokens with a loss",
            memory.largest.rows.to_string(),
        ),
        (
            "largest evaluation batch: tokens computed",
            evaluation.map_or(0, |size| size.positions).to_string(),
        ),
        ("program and tokenizer", megabytes(memory.program)),
        ("tokenized examples", megabytes(memory.examples)),
        ("weights", megabytes(memory.weights)),
        ("optimizer state", megabytes(memory.optimizer_state)),
        ("gradients", megabytes(memory.gradients)),
        ("activations", megabytes(memory.activations)),
        ("loss chunk and its gradients", megabytes(memory.loss)),
        ("evaluation batch", megabytes(memory.evaluation)),
        (
            "reading the data, as measured here",
            megabytes(memory.reading),
        ),
        ("peak", megabytes(memory.peak)),
    ];
    lines
        .map(|(name, value)| format!("{name:<42}{value:>16}\n"))
        .concat()
}
