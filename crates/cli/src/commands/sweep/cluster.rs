//! `plw sweep --submit slurm|kubernetes`: the sweep as a job of a cluster.

use std::path::Path;
use std::process::{Command, ExitCode};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_files::write_atomic;
use plw_sweep::{ClusterSettings, Job, kubernetes_manifest, slurm_script};

use super::grid::Planned;
use super::{arguments, list, make_logs};
use crate::device::ComputeDevice;
use crate::failure::Failure;
use crate::flags::{Scheduler, SweepFlags};
use crate::logging::LogFlags;
use crate::output::print;
use crate::settings::{Preset, environment_of_settings, is_setting};

/// Tasks of a job array that Slurm takes by default (`MaxArraySize`).
const USUAL_ARRAY: usize = 1000;

/// Prints the job, or hands it to the scheduler's own program.
pub(super) fn run(
    preset: &Preset,
    runs: &[Planned],
    flags: &SweepFlags,
    log: LogFlags,
    scheduler: Scheduler,
) -> Result<ExitCode, Failure> {
    let settings = settings(preset).map_err(Failure::never)?;
    check_environment(&settings).map_err(Failure::never)?;
    let job = job(runs.len(), flags, log)?;
    let (text, name, program, words) = match scheduler {
        Scheduler::Kubernetes => {
            let text = kubernetes_manifest(&job, &settings.kubernetes);
            (text, "sweep.yaml", "kubectl", &["apply", "-f"][..])
        }
        _ => {
            let text = slurm_script(&job, &settings.slurm);
            (text, "sweep.sbatch", "sbatch", &[][..])
        }
    };
    let text = text.into_diagnostic().map_err(Failure::never)?;
    if scheduler == Scheduler::Slurm && runs.len() > USUAL_ARRAY {
        tracing::warn!(
            "the array has {} tasks: Slurm takes {USUAL_ARRAY} where MaxArraySize is not set \
             higher",
            runs.len()
        );
    }
    warn_of_missing(&settings, preset, runs, &job, scheduler);
    if scheduler == Scheduler::Kubernetes
        && settings.kubernetes.claim.is_none()
        && !settings.kubernetes.pod.contains_key("volumes")
    {
        tracing::warn!(
            "[cluster.kubernetes] names no claim and no volumes: what a pod writes goes with it"
        );
    }
    if flags.print {
        list::check(preset, runs, flags)?;
        if scheduler == Scheduler::Slurm {
            tracing::warn!(
                "Slurm starts no task, and says nothing, unless the folder {} is there: make it",
                job.logs().display()
            );
        }
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    prepare(preset, runs, flags, &job)?;
    let path = flags.output_dir().join(name);
    write_atomic(&path, text).into_diagnostic()?;
    let status = Command::new(program)
        .args(words)
        .arg(&path)
        .status()
        .map_err(|error| {
            miette!(
                help = format!("run it where {program} is, or print the job with --print"),
                "{program} cannot be started: {error}"
            )
        })?;
    match status.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(miette!(
            help = format!(
                "see what {program} says above; the job is {}",
                path.display()
            ),
            "{program} did not take the job ({status})"
        ))?,
    }
}

/// Refuses settings that a job would set by itself: its tasks would be another sweep's.
fn check_environment(settings: &ClusterSettings) -> Result<()> {
    let is_no_name = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    let setup = settings.slurm.setup.iter();
    let in_setup = setup
        .flat_map(|line| line.split('=').rev().skip(1))
        .filter_map(|before| before.rsplit(is_no_name).next());
    let variables = settings.kubernetes.container.get("env");
    let variables = variables.and_then(serde_json::Value::as_array);
    let in_container = variables
        .into_iter()
        .flatten()
        .filter_map(|variable| variable.get("name")?.as_str());
    match in_setup.chain(in_container).find(|name| is_setting(name)) {
        None => Ok(()),
        Some(name) => Err(miette!(
            help = "write the setting into the preset, or set the variable where the sweep is \
                    submitted: its tasks get it from there",
            "[cluster] sets {name}, which is a setting of the runs"
        )),
    }
}

/// Warns of what tasks will miss, unless it is elsewhere than here.
fn warn_of_missing(
    settings: &ClusterSettings,
    preset: &Preset,
    runs: &[Planned],
    job: &Job,
    scheduler: Scheduler,
) {
    let gpus = match scheduler {
        Scheduler::Kubernetes => settings.kubernetes.gpus,
        _ => settings.slurm.gpus,
    };
    if let Some(Ok(run)) = runs.first().map(Planned::settings) {
        if let Err(missing) = run.source.check_model() {
            tracing::warn!("{missing}");
        }
        if gpus.is_some_and(|gpus| gpus > 0) && run.source.device == ComputeDevice::Cpu {
            tracing::warn!(
                "[cluster] asks for GPUs, and the runs compute on the CPU: set device = \"cuda\" \
                 in the preset"
            );
        }
    }
    match scheduler {
        Scheduler::Kubernetes => {
            let Some(volume) = settings.kubernetes.volume(job) else {
                return;
            };
            let preset = job.working_directory.join(&preset.path);
            let needed = [&preset, &job.working_directory];
            for path in needed.into_iter().filter(|path| !path.starts_with(volume)) {
                tracing::warn!(
                    "{} is not on the volume of the claim, which a pod has at {}: the image must \
                     hold it",
                    path.display(),
                    volume.display()
                );
            }
        }
        _ => {
            let processes = settings.slurm.processes.unwrap_or(1);
            if processes > 1 && !cfg!(any(feature = "mpi", feature = "nccl")) {
                tracing::warn!(
                    "processes = {processes}, and this plw is built without the features mpi and \
                     nccl, with which processes share a run"
                );
            }
        }
    }
}

/// Writes what tasks need to find: the list of the runs, and the folder of their logs, without
/// which Slurm starts none and says nothing.
fn prepare(
    preset: &Preset,
    runs: &[Planned],
    flags: &SweepFlags,
    job: &Job,
) -> Result<(), Failure> {
    list::write(preset, runs, flags)?;
    make_logs(&job.output_directory)?;
    Ok(())
}

/// The table `cluster` of a preset.
pub(super) fn settings(preset: &Preset) -> Result<ClusterSettings> {
    let Some(cluster) = preset.cluster.clone() else {
        return Ok(ClusterSettings::default());
    };
    let file = preset.path.display();
    cluster
        .try_into()
        .into_diagnostic()
        .wrap_err_with(|| format!("the table `cluster` of {file} is not valid"))
}

fn job(runs: usize, flags: &SweepFlags, log: LogFlags) -> Result<Job> {
    let absolute = |path: &Path| std::path::absolute(path).into_diagnostic();
    let mut arguments = arguments(flags, log);
    // They are read on another machine, whose programs start elsewhere.
    for argument in &mut arguments {
        for path in [flags.config(), flags.output_dir()] {
            if argument.as_os_str() == path.as_os_str() {
                *argument = absolute(path)?.into();
            }
        }
    }
    let arguments = arguments.into_iter().map(|argument| {
        argument
            .into_string()
            .map_err(|argument| miette!("{argument:?} is not UTF-8, as a job needs it"))
    });
    let name = flags.output_dir().file_name().unwrap_or_default();
    Ok(Job {
        name: name.to_string_lossy().into_owned(),
        runs,
        workers: flags.workers.unwrap_or(runs).min(runs),
        program: std::env::current_exe().into_diagnostic()?,
        arguments: arguments.collect::<Result<_>>()?,
        working_directory: std::env::current_dir().into_diagnostic()?,
        output_directory: absolute(flags.output_dir())?,
        environment: environment_of_settings(),
    })
}
