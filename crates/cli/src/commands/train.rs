//! `plw train`.

use std::path::Path;
use std::process::ExitCode;

use burn::tensor::Device;
use miette::{IntoDiagnostic, Report, Result, miette};
use plw_data::Split;
use plw_eval::check_tokens;
use plw_model::{Llama, LlamaConfig, load_adapter, load_llama_as};
use plw_record::{RunConfig, RunDirectory};
use plw_train::{Outcome, Run, train};

use crate::examples::{encoder, questions, training_examples};
use crate::flags::TrainFlags;
use crate::inputs::Inputs;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::tokenizer_files::{companions, tokenizer_directory};

pub(crate) fn run(flags: &TrainFlags) -> Result<ExitCode> {
    let settings = Settings::load_training(flags.config.as_deref(), &[], &flags.settings)?;
    // Wrong settings are reported before anything is read.
    settings.check()?;
    let device = settings.source.device.open()?.autodiff();
    let directory = RunDirectory::new(&flags.output_dir);
    let config = Inputs::default().resolved(&settings)?;
    if flags.resume && is_done(&directory, &config)? {
        tracing::info!("{} is complete already", directory.name());
        return Ok(ExitCode::SUCCESS);
    }
    let source = &settings.source;
    let asked = [&source.train_data, &source.eval_data, &source.test_data];
    let encoder = asked
        .iter()
        .any(|data| data.is_some())
        .then(|| encoder(&settings))
        .transpose()?;
    let questions = |data: &Option<String>, split, limit| {
        data.as_deref()
            .zip(encoder.as_ref())
            .map(|(data, encoder)| questions(&settings, encoder, data, split, limit))
            .transpose()
    };
    let data = training_examples(&settings, encoder.as_ref())?;
    let validation = questions(&source.eval_data, Split::Validation, source.eval_limit)?;
    let test = questions(&source.test_data, Split::Test, source.eval_limit)?;
    let model = starting_model(&settings, &device)?;
    for examples in [Some(&data), validation.as_ref(), test.as_ref()]
        .into_iter()
        .flatten()
    {
        check_tokens(examples, model.config().vocab_size()).into_diagnostic()?;
    }
    let run = Run {
        directory: &directory,
        config: &config,
        training: &settings.training,
        loss: &settings.loss,
        batching: &settings.batching,
        evaluation: settings.evaluation,
        train: &data,
        validation: validation.as_ref(),
        test: test.as_ref(),
        companions: &companions(&tokenizer_directory(&settings)?),
        resume: flags.resume,
    };
    let mut progress = Progress::new(directory.name());
    match train(&run, model, &device, &mut progress).into_diagnostic()? {
        Outcome::Complete(summary) => {
            tracing::info!(
                "{} is complete: {} steps, {}",
                directory.name(),
                summary.steps,
                directory.summary().display()
            );
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped { step } => {
            match step {
                0 => tracing::warn!("stopped before the first step; --resume starts again"),
                step => tracing::warn!("stopped after step {step}; continue with --resume"),
            }
            Ok(ExitCode::from(130))
        }
    }
}

/// Whether this very run is complete, so that nothing needs to be read. [`train`] reports a run
/// with other settings.
fn is_done(directory: &RunDirectory, config: &RunConfig) -> Result<bool> {
    if !directory.is_complete() || !directory.config().exists() {
        return Ok(false);
    }
    let before = directory.read_config().into_diagnostic()?;
    Ok(before.difference(config).is_none())
}

/// The configuration of a model without weights.
pub(super) fn read_config(file: &Path) -> Result<LlamaConfig> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| miette!("cannot read {}: {error}", file.display()))?;
    LlamaConfig::from_json(&text).map_err(|error| miette!("{}: {error}", file.display()))
}

/// The weights a run starts from.
fn starting_model(settings: &Settings, device: &Device) -> Result<Llama> {
    let source = &settings.source;
    let model = match (&source.model, &source.init_config) {
        (Some(model), None) => load_llama_as(model, device, source.dtype).into_diagnostic()?,
        (None, Some(file)) => {
            let config = read_config(file)?;
            Llama::init(&config, settings.training.seed, device)
        }
        _ => return Err(unclear_start()),
    };
    match (&source.init_adapter, settings.lora.config()) {
        (Some(adapter), _) => load_adapter(model, adapter).into_diagnostic(),
        (None, Some(config)) => model
            .with_lora(&config, settings.training.seed)
            .into_diagnostic(),
        (None, None) => Ok(model),
    }
}

/// There must be one of a model and a configuration to initialize one from.
pub(super) fn unclear_start() -> Report {
    miette!(
        help = "give --model DIR (weights to start from) or --init-config FILE (random weights), \
                not both",
        "one of --model and --init-config is needed"
    )
}
