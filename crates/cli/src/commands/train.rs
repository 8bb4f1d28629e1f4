//! `plw train`.

use std::process::ExitCode;

use burn::tensor::Device;
use miette::{IntoDiagnostic, Report, Result, miette};
use plw_model::{Llama, init_llama, load_adapter, load_llama_as};
use plw_record::{RunConfig, RunDirectory, TrainingSummary};
use plw_train::{Outcome, Run, check_directory, train};
use plw_transport::Transport;

use crate::activations::activations;
use crate::complete_run::check_complete;
use crate::device::ComputeDevice;
use crate::examples::{RunData, checked_encoder};
use crate::failure::readable;
use crate::flags::TrainFlags;
use crate::inputs::{Inputs, trained_on};
use crate::logging::LogFlags;
use crate::model_folder::check_saved;
use crate::output_folder::check_writable;
use crate::processes::{self, Farewell};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::threads;
use crate::tokenizer_files::{companions, tokenizer_directory};

/// Trains, as one process or as one of several. A process that fails says so and ends the others,
/// which wait for it.
pub(crate) fn run(flags: &TrainFlags, log: LogFlags) -> Result<ExitCode> {
    let launch = processes::launch()?;
    let settings = Settings::load_training(flags.config.as_deref(), &flags.settings)?;
    // Wrong settings are reported before anything is read.
    settings.check()?;
    let device = settings.source.device.of_process(launch);
    let transport = processes::open(launch, device, &flags.output_dir)?;
    let (rank, count) = (transport.rank(), transport.world_size());
    match run_process(flags, &settings, device, transport.as_ref()) {
        Err(report) if count > 1 => {
            let report = report.wrap_err(format!("process {rank} of {count} failed"));
            crate::show(&readable(&report), log);
            transport.abort(1);
            Ok(ExitCode::FAILURE)
        }
        ended => ended,
    }
}

fn run_process(
    flags: &TrainFlags,
    settings: &Settings,
    device: ComputeDevice,
    transport: &dyn Transport,
) -> Result<ExitCode> {
    threads::start(processes::sharing_processors(transport)?)?;
    let writes = transport.rank() == 0;
    for note in settings.notes().into_iter().filter(|_| writes) {
        tracing::warn!("{note}");
    }
    let device = device.open()?.autodiff();
    let directory = RunDirectory::new(&flags.output_dir);
    if writes {
        check_writable(&directory.path)?;
    }
    // What can fail quickly comes before the data is tokenized, which takes long.
    let encoder = checked_encoder(settings)?;
    let config = Inputs::default().resolved(settings)?;
    if is_done_for_all(flags, &directory, &config, transport)? {
        tracing::info!("{} is complete already", directory.name());
        return Ok(ExitCode::SUCCESS);
    }
    for data in trained_on(&config).into_iter().filter(|_| writes) {
        tracing::warn!(
            "{data} has a file of train_data: its examples are those that the model is trained on"
        );
    }
    let model = starting_model(settings, &device)?;
    let data = RunData::load(settings, encoder.as_ref())?;
    let weights = settings.loss.objective().into_diagnostic()?.weights;
    data.check(model.config(), weights)?;
    let run = Run {
        directory: &directory,
        config: &config,
        training: &settings.training,
        loss: &settings.loss,
        batching: &settings.batching,
        evaluation: settings.evaluation,
        train: &data.train,
        validation: data.validation.as_ref(),
        test: data.test.as_ref(),
        companions: &companions(&tokenizer_directory(settings)?),
        resume: flags.resume,
        transport,
    };
    let mut progress = Progress::new(directory.name(), transport.rank());
    let outcome = train(&run, model, &device, &mut progress).into_diagnostic()?;
    let farewell = Farewell::say(transport, progress.exit_code())?;
    if let Outcome::Complete(summary) = &outcome
        && transport.world_size() > 1
    {
        farewell.log(transport.world_size(), summary.seconds);
    }
    Ok(ended(&run, &outcome, farewell.exit_code))
}

/// Says how a run ended.
fn ended(run: &Run<'_>, outcome: &Outcome, exit_code: u8) -> ExitCode {
    let name = run.directory.name();
    match outcome {
        Outcome::Complete(summary) => {
            let TrainingSummary { steps, .. } = **summary;
            tracing::info!(
                run = name.as_str(),
                steps,
                "{name} is complete: {steps} steps, {}",
                run.directory.summary().display()
            );
            ExitCode::SUCCESS
        }
        Outcome::Stopped { step } => {
            // A sweep's runs are all resumed, by the sweep's own command.
            let how = match run.resume {
                true => "the same command",
                false => "--resume",
            };
            match step {
                _ if run.transport.rank() > 0 => {}
                0 => tracing::warn!("stopped before the first step; start again with {how}"),
                step if run.training.save_only_model => {
                    tracing::warn!(
                        "stopped after step {step}, whose checkpoint is the model alone"
                    );
                }
                step => tracing::warn!("stopped after step {step}; continue with {how}"),
            }
            ExitCode::from(exit_code)
        }
    }
}

/// [`is_done`] as the first process finds it, which also checks that the run can begin or resume.
fn is_done_for_all(
    flags: &TrainFlags,
    directory: &RunDirectory,
    config: &RunConfig,
    transport: &dyn Transport,
) -> Result<bool> {
    let mut done = Vec::new();
    if transport.rank() == 0 {
        let is_done = flags.resume && is_done(directory, config)?;
        if !is_done {
            check_directory(directory, config, flags.resume).into_diagnostic()?;
        }
        done.push(u8::from(is_done));
    }
    Ok(transport.broadcast(done).into_diagnostic()? == [1])
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
    check_saved(source)?;
    let model = match (&source.model, &source.init_config) {
        (Some(model), None) => load_llama_as(model, device, source.dtype).into_diagnostic()?,
        (None, Some(file)) => init_llama(file, settings.training.seed, device).into_diagnostic()?,
        _ => return Err(unclear_start()),
    };
    let model = model.with_activations(activations);
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
