//! One run of a sweep, by the process that has the lease of it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use plw_record::{EvaluationRow, MetricsRow, RunDirectory};
use plw_sweep::{
    Attempt, Lease, Progress as Told, TRY_AGAIN, Taken, Worker, beat, last_directory, take, tell,
};
use plw_train::{Beginning, Observer, Plan};

use super::grid::Planned;
use super::report::write_where_due;
use crate::commands::train::{Tuned, fine_tune, log_end};
use crate::complete_run::check_complete;
use crate::failure::{Failure, one_line};
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::progress::Progress;
use crate::stopping::Stopping;

/// How often a run that another worker has is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Does a run, if nobody else does.
pub(super) fn run(
    planned: &Planned,
    runs: &[Planned],
    flags: &SweepFlags,
) -> Result<ExitCode, Failure> {
    let stopping = Stopping::watch(flags.stop_within);
    let run = RunDirectory::new(&planned.directory);
    refuse_other_run(planned, &mut Inputs::default())?;
    let seconds = u32::try_from(flags.lease_seconds).unwrap_or(u32::MAX);
    let is_new = match begun_alone(&run) {
        true => in_place(planned, &run, &stopping)?,
        false => match wait_for(&run, seconds)? {
            Taken::Complete => {
                tracing::info!("{} is complete", run.name());
                Ended::Before
            }
            Taken::Held(attempt) => {
                tracing::warn!("{} is done by {}", run.name(), attempt.worker);
                Ended::TryAgain(TRY_AGAIN)
            }
            Taken::Lease(lease) => leased(planned, &run, lease, &stopping)?,
        },
    };
    match is_new {
        Ended::TryAgain(code) => return Ok(ExitCode::from(code)),
        Ended::Before => write_where_due(runs, flags.output_dir(), false),
        Ended::Now => write_where_due(runs, flags.output_dir(), true),
    }
    Ok(ExitCode::SUCCESS)
}

/// How the process ends.
enum Ended {
    /// The run was complete before.
    Before,
    /// The run is complete now.
    Now,
    /// The run needs another try, and the process has this exit code.
    TryAgain(u8),
}

/// Whether `plw train` began the run in its folder, where no attempts are made.
pub(super) fn begun_alone(run: &RunDirectory) -> bool {
    run.config().exists() && !run.is_complete() && last_directory(run).is_ok_and(|d| d.is_none())
}

/// Continues a run that `plw train` began.
fn in_place(
    planned: &Planned,
    run: &RunDirectory,
    stopping: &Arc<Stopping>,
) -> Result<Ended, Failure> {
    let mut progress = Progress::new(run.name(), stopping.clone());
    let asked = stopping.clone();
    let tuned = fine_tune(&planned.settings()?, run, true, &mut progress, || {
        asked.training_begins();
    })?;
    log_end(run, &tuned);
    Ok(match tuned {
        Tuned::Complete(_) => Ended::Now,
        Tuned::Stopped { step, .. } => stopped(run, step, stopping),
    })
}

fn stopped(run: &RunDirectory, step: u64, stopping: &Stopping) -> Ended {
    tracing::warn!(
        "{} stopped after step {step}; continue with the same command",
        run.name()
    );
    let request = stopping.request();
    Ended::TryAgain(request.map_or(TRY_AGAIN, |request| request.exit_code()))
}

/// Takes a run, or waits until it is known whether whoever has it is still at work: until the next
/// sign of life, or the end of the lease.
fn wait_for(run: &RunDirectory, lease_seconds: u32) -> Result<Taken, Failure> {
    let this = Worker::this();
    let mut first: Option<(Attempt, Option<u64>)> = None;
    loop {
        let held = match take(run, &this, lease_seconds).into_diagnostic()? {
            Taken::Held(attempt) => attempt,
            taken => return Ok(taken),
        };
        let now = beat(run, &held);
        match &first {
            Some(before) if *before != (held.clone(), now) => return Ok(Taken::Held(held)),
            Some(_) => {}
            None => {
                tracing::info!(
                    "{} is held by {}: is it still at work?",
                    run.name(),
                    held.worker
                );
                first = Some((held, now));
            }
        }
        sleep(LOOK_AGAIN);
    }
}

/// Does a run, or what is left of it, in the folder of its attempt.
fn leased(
    planned: &Planned,
    run: &RunDirectory,
    lease: Lease,
    stopping: &Arc<Stopping>,
) -> Result<Ended, Failure> {
    let attempt = lease.attempt().number;
    tracing::info!(
        run = run.name(),
        attempt,
        "{}: attempt {attempt}",
        run.name()
    );
    let (release, at_end) = (lease.release(), lease.release());
    stopping.at_end(move |reason| drop(at_end.stopped(reason)));
    let mut observer = Leased {
        progress: Progress::new(run.name(), stopping.clone()),
        told: lease.progress(),
        is_superseded: lease.superseded(),
        seconds_per_step: None,
    };
    let asked = stopping.clone();
    let directory = lease.directory();
    let tuned = planned
        .settings()
        .map_err(Failure::never)
        .and_then(|settings| {
            fine_tune(&settings, &directory, true, &mut observer, || {
                asked.training_begins()
            })
        });
    let superseded = || {
        tracing::warn!("{} was taken over by another worker", run.name());
        Ended::TryAgain(TRY_AGAIN)
    };
    match tuned {
        Ok(Tuned::Complete(summary)) => {
            if !lease.complete().into_diagnostic()? {
                return Ok(superseded());
            }
            log_end(run, &Tuned::Complete(summary));
            Ok(Ended::Now)
        }
        _ if observer.is_superseded.load(Ordering::SeqCst) => {
            lease.discard().into_diagnostic()?;
            Ok(superseded())
        }
        Ok(Tuned::Stopped { step, .. }) => {
            let reason = stopping
                .request()
                .map_or("stopped", |request| request.name());
            release.stopped(reason).into_diagnostic()?;
            Ok(stopped(run, step, stopping))
        }
        Err(failure) => {
            let reason = one_line(&failure.report);
            match release.failed(&reason, failure.is_final()) {
                // It failed because others have removed what it wrote.
                Ok(false) => {
                    lease.discard().into_diagnostic()?;
                    Ok(superseded())
                }
                // The failure itself is what there is to say.
                Ok(true) | Err(_) => Err(failure),
            }
        }
    }
}

/// Shows a run, tells its progress to those who look at the sweep, and stops when another worker
/// has taken it over.
struct Leased {
    progress: Progress,
    told: Arc<Mutex<Told>>,
    is_superseded: Arc<AtomicBool>,
    seconds_per_step: Option<f64>,
}

/// What the last step counts for in the average of a step's seconds.
const LAST_STEP: f64 = 0.1;

impl Observer for Leased {
    fn started(&mut self, plan: &Plan<'_>, beginning: Beginning) {
        tell(&self.told, |told| {
            told.phase = "training".to_string();
            (told.step, told.total_steps) = (beginning.step(), plan.total_steps);
        });
        self.progress.started(plan, beginning);
    }

    fn warned(&mut self, message: &str) {
        self.progress.warned(message);
    }

    fn stepped(&mut self, row: &MetricsRow) {
        let average = self.seconds_per_step.map_or(row.seconds, |average| {
            average + LAST_STEP * (row.seconds - average)
        });
        self.seconds_per_step = Some(average);
        tell(&self.told, |told| {
            told.step = row.step;
            told.seconds_per_step = Some(average);
        });
        self.progress.stepped(row);
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        tell(&self.told, |told| told.phase = "evaluating".to_string());
        self.progress.evaluating(done, total);
    }

    fn evaluated(&mut self, row: &EvaluationRow) {
        tell(&self.told, |told| told.phase = "training".to_string());
        self.progress.evaluated(row);
    }

    fn should_stop(&self) -> bool {
        self.is_superseded.load(Ordering::SeqCst) || self.progress.should_stop()
    }
}

/// Refuses a run in the folder that has other settings, or whose files have other contents. Only
/// the same run may be resumed, or skipped as complete if its records and its result are as they
/// were written.
pub(super) fn refuse_other_run(run: &Planned, inputs: &mut Inputs) -> Result<(), Failure> {
    let settings = run.settings().map_err(Failure::never)?;
    settings.source.check_model()?;
    let directory = RunDirectory::new(&run.directory);
    let last = match directory.config().exists() {
        true => Some(directory.clone()),
        false => last_directory(&directory).into_diagnostic()?,
    };
    let Some(last) = last.filter(|last| last.config().exists()) else {
        return Ok(());
    };
    let before = last.read_config().into_diagnostic()?;
    let remedy = || {
        format!(
            "remove {}, or choose another folder with --output-dir",
            directory.path.display()
        )
    };
    if let Some(difference) = before.difference(&inputs.resolved(&settings)?) {
        return Err(Failure::never(miette!(
            help = remedy(),
            "{} is another run: {difference}",
            directory.name()
        )));
    }
    if !directory.is_complete() {
        return Ok(());
    }
    check_complete(&directory).map_err(|changed| {
        Failure::never(miette!(
            help = remedy(),
            "{} is complete, but not as it was written: {changed}",
            directory.name()
        ))
    })
}
