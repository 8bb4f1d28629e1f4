//! `plw plan`: what a training run will do, and the memory that it will take.

use std::process::ExitCode;

use miette::{IntoDiagnostic, Result};
use plw_model::{WeightType, check_adapter, check_llama, read_config};
use plw_record::peak_memory_bytes;
use plw_train::{Forecast, GpuMemoryEstimate, MemoryEstimate, ModelSize, RunSettings, forecast};
use serde::Serialize;

use crate::device::ComputeDevice;
use crate::examples::{RunData, checked_encoder};
use crate::failure::Failure;
use crate::flags::PlanFlags;
use crate::output::print;
use crate::settings::{Settings, StartingWeights};

/// What a GPU may take beyond the estimate: a tenth of it.
const UNCERTAIN: u64 = 10;

pub(crate) fn run(flags: &PlanFlags) -> Result<ExitCode, Failure> {
    let settings = Settings::load_training(flags.config.as_deref(), &flags.settings);
    let settings = settings.map_err(Failure::never)?;
    settings.check().map_err(Failure::never)?;
    plan(flags, &settings).map_err(|report| Failure::of_inputs(report, settings.source.is_on_hub()))
}

fn plan(flags: &PlanFlags, settings: &Settings) -> Result<ExitCode> {
    let source = &settings.source;
    let config = match source.starting_weights()? {
        StartingWeights::Model(folder) => check_llama(folder),
        StartingWeights::Random(file) => read_config(file),
    };
    let config = config.into_diagnostic()?;
    if let Some(adapter) = &source.init_adapter {
        check_adapter(&config, adapter).into_diagnostic()?;
    }
    let encoder = checked_encoder(settings)?;
    let data = RunData::load(settings, encoder.as_ref())?;
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
    let is_gpu = source.device != ComputeDevice::Cpu;
    if !is_gpu && source.bf16 {
        tracing::warn!(
            "memory is estimated for activations in f32: with bf16 the CPU converts back and \
             forth, and has needed up to 1.8 times as much"
        );
    }
    let gpu = is_gpu.then(|| {
        let activation_bytes = match source.bf16 {
            true => WeightType::Bf16.bytes(),
            false => WeightType::F32.bytes(),
        };
        let host = &forecast.memory;
        GpuMemoryEstimate::new(model, &settings.training, host, activation_bytes)
    });
    let memory = gpu.and_then(|_| device_memory(source.device));
    print(&match flags.json {
        true => in_json(&forecast, gpu, memory)? + "\n",
        false => {
            let needs = gpu.map_or_else(
                || describe_memory(&forecast.memory),
                |gpu| describe_gpu(&gpu, memory),
            );
            describe(&forecast) + &needs
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The memory of the GPU that the run is for.
fn device_memory(device: ComputeDevice) -> Option<u64> {
    if let Err(missing) = device.check_built_in() {
        tracing::warn!("{missing}, so that it cannot say what memory there is");
        return None;
    }
    let gpu = device.gpu();
    if gpu.is_none() {
        tracing::warn!("there is no `{device}` here to say what memory it has");
    }
    gpu.and_then(|gpu| gpu.memory)
}

/// The forecast, with what it needs of a GPU, and the memory that the GPU has.
fn in_json(
    forecast: &Forecast,
    gpu: Option<GpuMemoryEstimate>,
    memory: Option<u64>,
) -> Result<String> {
    #[derive(Serialize)]
    struct OnDevice<'a> {
        #[serde(flatten)]
        forecast: &'a Forecast,
        #[serde(skip_serializing_if = "Option::is_none")]
        gpu: Option<GpuMemoryEstimate>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_memory_bytes: Option<u64>,
    }
    let on_device = OnDevice {
        forecast,
        gpu,
        device_memory_bytes: memory,
    };
    serde_json::to_string(&on_device).into_diagnostic()
}

/// What the run needs of a GPU, and whether it fits into the memory that the GPU has.
fn describe_gpu(gpu: &GpuMemoryEstimate, memory: Option<u64>) -> String {
    let lines = [
        ("driver and libraries", gpu.context),
        ("weights", gpu.weights),
        ("optimizer state", gpu.optimizer_state),
        ("gradients added up", gpu.accumulated_gradients),
        ("activations", gpu.activations),
        ("loss chunk and its gradients", gpu.loss),
        ("pages partly empty", gpu.pages),
        ("peak", gpu.peak),
    ];
    let needed = lines.map(|(name, bytes)| line(&format!("on the GPU: {name}"), &megabytes(bytes)));
    needed.concat() + &memory.map_or(String::new(), |memory| describe_fit(gpu.peak, memory))
}

fn describe_fit(peak: u64, memory: u64) -> String {
    let fits = match (
        peak.saturating_add(peak / UNCERTAIN) <= memory,
        peak <= memory,
    ) {
        (true, _) => "yes",
        (_, true) => "perhaps",
        _ => "NO",
    };
    line("memory of the GPU", &megabytes(memory)) + &line("fits", fits)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<42}{value:>16}\n")
}

fn describe(forecast: &Forecast) -> String {
    let memory = &forecast.memory;
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
    ];
    lines.map(|(name, value)| line(name, &value)).concat()
}

/// What the run needs of the machine's memory, computing there.
fn describe_memory(memory: &MemoryEstimate) -> String {
    let lines = [
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
    lines.map(|(name, value)| line(name, &value)).concat()
}
