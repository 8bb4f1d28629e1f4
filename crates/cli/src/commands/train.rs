//! `plw train`.

use std::process::ExitCode;

use burn::tensor::Device;
use miette::{IntoDiagnostic, Report, Result};
use plw_model::{Llama, init_llama, load_adapter, load_llama_as};
use plw_record::{RunConfig, RunDirectory, TrainingSummary};
use plw_train::{Observer, Outcome, Run, check_directory, train};

use crate::activations::{activations, held_weights};
use crate::complete_run::check_complete;
use crate::examples::{RunData, checked_encoder};
use crate::failure::Failure;
use crate::flags::TrainFlags;
use crate::inputs::{Inputs, trained_on};
use crate::logging::LogFlags;
use crate::model_folder::check_saved;
use crate::output_folder::check_writable;
use crate::processes::{Farewell, Processes};
use crate::progress::Progress;
use crate::settings::{Settings, StartingWeights};
use crate::stopping::Stopping;
use crate::tokenizer_files::{companions, tokenizer_directory};

/// Trains, as one process or as one of several.
pub(crate) fn run(flags: &TrainFlags, log: LogFlags) -> Result<ExitCode, Failure> {
    let settings = Settings::load_training(flags.config.as_deref(), &flags.settings);
    let settings = settings.map_err(Failure::never)?;
    // Wrong settings are reported before anything is read.
    settings.check().map_err(Failure::never)?;
    let processes = Processes::open(settings.source.device, &flags.output_dir)?;
    processes.end(run_process(flags, &settings, &processes), log)
}

fn run_process(
    flags: &TrainFlags,
    settings: &Settings,
    processes: &Processes,
) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::new(&flags.output_dir);
    let stopping = Stopping::watch(flags.stop_within, processes.is_first());
    let mut progress = Progress::new(directory.name(), stopping.clone());
    let asked = stopping.clone();
    let run = (settings, &directory, flags.resume);
    let tuned = fine_tune(run, processes, &mut progress, || asked.training_begins())?;
    let exit_code = farewell(processes, &tuned, &stopping)?;
    if !processes.is_first() {
        return Ok(ExitCode::from(exit_code));
    }
    log_end(&directory, &tuned);
    let Tuned::Stopped { step, only_model } = tuned else {
        return Ok(ExitCode::SUCCESS);
    };
    let how = match flags.resume {
        true => "the same command",
        false => "--resume",
    };
    match step {
        0 => tracing::warn!("stopped before the first step; start again with {how}"),
        step if only_model => {
            tracing::warn!("stopped after step {step}, whose checkpoint is the model alone");
        }
        step => tracing::warn!("stopped after step {step}; continue with {how}"),
    }
    Ok(ExitCode::from(exit_code))
}

/// Waits for the other processes, logs what their sums cost, and returns what all exit with.
pub(super) fn farewell(
    processes: &Processes,
    tuned: &Tuned,
    stopping: &Stopping,
) -> Result<u8, Failure> {
    let own = stopping.request().map_or(0, |request| request.exit_code());
    let farewell = Farewell::say(processes.transport.as_ref(), own)?;
    match tuned {
        Tuned::Complete(summary) => {
            if let Some(summary) = summary.as_ref().filter(|_| processes.are_several()) {
                farewell.log(processes.transport.world_size(), summary.seconds);
            }
            Ok(0)
        }
        Tuned::Stopped { .. } => Ok(farewell.exit_code),
    }
}

/// How fine-tuning ended.
pub(super) enum Tuned {
    /// All steps were taken, now or before.
    Complete(Option<Box<TrainingSummary>>),
    /// It was asked to stop after this step.
    Stopped {
        step: u64,
        /// Whether its checkpoints hold the model alone, so that it cannot go on.
        only_model: bool,
    },
}

/// Says that a run is complete.
pub(super) fn log_end(directory: &RunDirectory, tuned: &Tuned) {
    let name = directory.name();
    match tuned {
        Tuned::Complete(Some(summary)) => {
            let steps = summary.steps;
            tracing::info!(
                run = name.as_str(),
                steps,
                "{name} is complete: {steps} steps, {}",
                directory.summary().display()
            );
        }
        Tuned::Complete(None) => tracing::info!("{name} is complete already"),
        Tuned::Stopped { .. } => {}
    }
}

/// Does a run, or what is left of it, if `resume` says so. `begins` is called when it may be asked
/// to stop from then on.
pub(super) fn fine_tune(
    (settings, directory, resume): (&Settings, &RunDirectory, bool),
    processes: &Processes,
    observer: &mut dyn Observer,
    begins: impl FnOnce(),
) -> Result<Tuned, Failure> {
    let writes = processes.is_first();
    for note in settings.notes().into_iter().filter(|_| writes) {
        tracing::warn!("{note}");
    }
    let of_inputs = |report| Failure::of_inputs(report, settings.source.is_on_hub());
    let device = settings.source.device.of_process(processes.launch);
    let device = device.open()?.autodiff();
    if writes {
        check_writable(&directory.path)?;
    }
    // What can fail quickly comes before the data is tokenized, which takes long.
    let encoder = checked_encoder(settings).map_err(of_inputs)?;
    let mut config = Inputs::default().resolved(settings).map_err(of_inputs)?;
    // A run that is resumed from elsewhere keeps its paths.
    if let (true, Ok(before)) = (resume, directory.read_config()) {
        config = config.with_paths_of(&before);
    }
    if is_done_for_all(directory, &config, resume, processes)? {
        return Ok(Tuned::Complete(None));
    }
    for data in trained_on(&config).into_iter().filter(|_| writes) {
        tracing::warn!(
            "{data} has a file of train_data: its examples are those that the model is trained on"
        );
    }
    let model = starting_model(settings, &device).map_err(of_inputs)?;
    let data = RunData::load(settings, encoder.as_ref()).map_err(of_inputs)?;
    let weights = settings.loss.objective().into_diagnostic()?.weights;
    data.check(model.config(), weights)
        .map_err(Failure::never)?;
    let run = Run {
        directory,
        config: &config,
        training: &settings.training,
        loss: &settings.loss,
        batching: &settings.batching,
        evaluation: settings.evaluation,
        train: &data.train,
        validation: data.validation.as_ref(),
        test: data.test.as_ref(),
        companions: &companions(&tokenizer_directory(settings)?),
        resume,
        transport: processes.transport.as_ref(),
    };
    begins();
    let trained = train(&run, model, &device, observer)
        .map_err(|error| Failure::never_if(error.is_damage(), Report::from_err(error)));
    match trained? {
        Outcome::Complete(summary) => Ok(Tuned::Complete(Some(summary))),
        Outcome::Stopped { step } => Ok(Tuned::Stopped {
            step,
            only_model: settings.training.save_only_model,
        }),
    }
}

/// [`is_done`] as the first process finds it, which also checks that the run can begin or resume.
fn is_done_for_all(
    directory: &RunDirectory,
    config: &RunConfig,
    resume: bool,
    processes: &Processes,
) -> Result<bool, Failure> {
    let mut done = Vec::new();
    if processes.is_first() {
        let is_done = resume && is_done(directory, config)?;
        if !is_done {
            let checked = check_directory(directory, config, resume).into_diagnostic();
            checked.map_err(Failure::never)?;
        }
        done.push(u8::from(is_done));
    }
    let done = processes.transport.broadcast(done).into_diagnostic()?;
    Ok(done == [1])
}

/// Whether this very run is complete, so that no data needs to be read. Its records and its result
/// are checked. [`train`] reports a run with other settings.
fn is_done(directory: &RunDirectory, config: &RunConfig) -> Result<bool> {
    if !directory.is_complete() || !directory.config().exists() {
        return Ok(false);
    }
    let before = directory.read_config().into_diagnostic()?;
    if before.difference(config).is_some() {
        return Ok(false);
    }
    check_complete(directory)?;
    Ok(true)
}

/// The weights a run starts from.
fn starting_model(settings: &Settings, device: &Device) -> Result<Llama> {
    let source = &settings.source;
    let activations = activations(source, device)?;
    let held_as = held_weights(source, activations);
    check_saved(source)?;
    let model = match source.starting_weights()? {
        StartingWeights::Model(folder) => load_llama_as(folder, device, held_as),
        StartingWeights::Random(file) => init_llama(file, settings.training.seed, device, held_as),
    };
    let model = model.into_diagnostic()?.with_activations(activations);
    match (&source.init_adapter, settings.lora.config()) {
        (Some(adapter), _) => load_adapter(model, adapter).into_diagnostic(),
        (None, Some(config)) => model
            .with_lora(&config, settings.training.seed)
            .into_diagnostic(),
        (None, None) => Ok(model),
    }
}
