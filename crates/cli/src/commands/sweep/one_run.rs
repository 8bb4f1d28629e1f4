//! One run of a sweep, by the process that has the lease of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use miette::{IntoDiagnostic, miette};
use plw_record::RunDirectory;
use plw_sweep::{
    Attempt, Lease, SweepError, TRY_AGAIN, Taken, Worker, attempt_directory, beat, last_directory,
    note_refusal, take,
};
use plw_train::Observer;
use serde::{Deserialize, Serialize};

use super::grid::Planned;
use super::leased::Leased;
use super::report::write_where_due;
use crate::commands::train::{Tuned, farewell, fine_tune, log_end};
use crate::complete_run::check_complete;
use crate::failure::{Failure, one_line};
use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::processes::Processes;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stopping::Stopping;

/// How often a run that another worker has is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Does a run, if nobody else does, as one process or as one of several.
pub(super) fn run(
    planned: &Planned,
    runs: &[Planned],
    flags: &SweepFlags,
    log: LogFlags,
    stopping: &Arc<Stopping>,
) -> Result<ExitCode, Failure> {
    let device = planned.settings().map_err(Failure::never)?.source.device;
    let processes = Processes::open(device, &planned.directory)?;
    let run = OneRun {
        planned,
        run: RunDirectory::new(&planned.directory),
        processes: &processes,
        stopping,
    };
    let ended = match processes.is_first() {
        true => run.lead(runs, flags),
        false => run.follow(),
    };
    processes.end(ended, log)
}

/// What the first of several processes tells the others.
#[derive(Serialize, Deserialize)]
enum Word {
    /// To do the run: in the folder of this attempt, or where `plw train` began it.
    Train(Option<String>),
    /// That there is nothing to do.
    Exit(u8),
}

/// A run, as a process that does it sees it.
struct OneRun<'a> {
    planned: &'a Planned,
    run: RunDirectory,
    processes: &'a Processes,
    stopping: &'a Arc<Stopping>,
}

impl OneRun<'_> {
    /// The first process has the lease, and publishes.
    fn lead(&self, runs: &[Planned], flags: &SweepFlags) -> Result<ExitCode, Failure> {
        let name = self.run.name();
        check(self.planned, &mut Inputs::default())?;
        let ended = match begun_alone(&self.run) {
            true if self.run.is_written() => {
                tracing::warn!("another process is at {name}, in its folder: try again later");
                self.tell(&Word::Exit(TRY_AGAIN))?;
                Ended::TryAgain(TRY_AGAIN)
            }
            true => self.in_place()?,
            // Who is asked to stop while the lease is taken gives it back first.
            false => match self.stopping.holding(|| self.take(flags.lease_seconds))? {
                Taken::Complete => {
                    tracing::info!("{name} is complete");
                    self.tell(&Word::Exit(0))?;
                    Ended::Before
                }
                Taken::Held(attempt) => {
                    tracing::warn!("{} is at {name}: try again later", attempt.worker);
                    self.tell(&Word::Exit(TRY_AGAIN))?;
                    Ended::TryAgain(TRY_AGAIN)
                }
                Taken::Lease(lease) => self.leased(lease)?,
            },
        };
        match ended {
            Ended::TryAgain(code) => return Ok(ExitCode::from(code)),
            Ended::Before => write_where_due(runs, flags.output_dir(), false),
            Ended::Now => write_where_due(runs, flags.output_dir(), true),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Takes the run, which a process that ends at once gives back from then on.
    fn take(&self, seconds: u32) -> Result<Taken, Failure> {
        let taken = wait_for(&self.run, seconds, || self.stopping.request().is_some())?;
        if let Taken::Lease(lease) = &taken {
            let at_end = lease.release();
            self.stopping
                .at_end(move |reason| drop(at_end.stopped(reason)));
        }
        Ok(taken)
    }

    fn tell(&self, word: &Word) -> Result<(), Failure> {
        let word = serde_json::to_vec(word).into_diagnostic()?;
        self.processes.transport.broadcast(word).into_diagnostic()?;
        Ok(())
    }

    /// Another process does as the first says.
    fn follow(&self) -> Result<ExitCode, Failure> {
        let word = self
            .processes
            .transport
            .broadcast(Vec::new())
            .into_diagnostic()?;
        match serde_json::from_slice(&word).into_diagnostic()? {
            Word::Exit(code) => Ok(ExitCode::from(code)),
            Word::Train(attempt) => {
                let directory = match attempt {
                    Some(folder) => attempt_directory(&self.run, &folder),
                    None => self.run.clone(),
                };
                let mut progress = Progress::new(self.run.name(), self.stopping.clone());
                let (_, code) = self.fine_tune(&directory, &mut progress)?;
                Ok(ExitCode::from(code))
            }
        }
    }

    /// Trains, together with the other processes, and returns what all would exit with.
    fn fine_tune(
        &self,
        directory: &RunDirectory,
        observer: &mut dyn Observer,
    ) -> Result<(Tuned, u8), Failure> {
        let settings = self.planned.settings().map_err(Failure::never)?;
        let run = (&settings, directory, true);
        let tuned = fine_tune(run, self.processes, observer, || {
            self.stopping.training_begins()
        })?;
        let code = farewell(self.processes, &tuned, self.stopping)?;
        Ok((tuned, code))
    }

    /// Continues a run that `plw train` began.
    fn in_place(&self) -> Result<Ended, Failure> {
        self.tell(&Word::Train(None))?;
        let mut progress = Progress::new(self.run.name(), self.stopping.clone());
        let (tuned, code) = self.fine_tune(&self.run, &mut progress)?;
        log_end(&self.run, &tuned);
        Ok(match tuned {
            Tuned::Complete(_) => Ended::Now,
            Tuned::Stopped { step, .. } => self.stopped(step, code),
        })
    }

    fn stopped(&self, step: u64, code: u8) -> Ended {
        let name = self.run.name();
        tracing::warn!("{name} stopped after step {step}; continue with the same command");
        Ended::TryAgain(code)
    }

    fn superseded(&self) -> Ended {
        tracing::warn!("{} was taken over by another worker", self.run.name());
        Ended::TryAgain(TRY_AGAIN)
    }

    /// Does a run, or what is left of it, in the folder of its attempt.
    fn leased(&self, lease: Lease) -> Result<Ended, Failure> {
        let (name, attempt) = (self.run.name(), lease.attempt().number);
        tracing::info!(run = name, attempt, "{name}: attempt {attempt}");
        let release = lease.release();
        let progress = Progress::new(name, self.stopping.clone());
        let mut observer = Leased::new(progress, &lease);
        let directory = lease.directory();
        self.tell(&Word::Train(Some(lease.attempt().folder.clone())))?;
        match self.fine_tune(&directory, &mut observer) {
            Ok((Tuned::Complete(summary), _)) => {
                if !lease.complete().into_diagnostic()? {
                    return Ok(self.superseded());
                }
                log_end(&self.run, &Tuned::Complete(summary));
                Ok(Ended::Now)
            }
            Ok(_) if observer.is_superseded() => {
                lease.discard().into_diagnostic()?;
                Ok(self.superseded())
            }
            Ok((Tuned::Stopped { step, .. }, code)) => {
                let request = self.stopping.request();
                let reason =
                    request.map_or("a signal to another process", |request| request.name());
                release.stopped(reason).into_diagnostic()?;
                Ok(self.stopped(step, code))
            }
            Err(failure) => {
                let reason = one_line(&failure.report);
                match release.failed(&reason, failure.is_final()) {
                    // It failed because others have removed what it wrote.
                    Ok(false) => {
                        lease.discard().into_diagnostic()?;
                        match self.processes.are_several() {
                            // The others have not failed, and would wait for this one.
                            true => Err(Failure::again(miette!(
                                "{} was taken over by another worker",
                                self.run.name()
                            ))),
                            false => Ok(self.superseded()),
                        }
                    }
                    // The failure itself is what there is to say.
                    Ok(true) | Err(_) => Err(failure),
                }
            }
        }
    }
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

/// Where a run's records are: in its folder, or in that of its last attempt. None if it has not
/// begun.
pub(super) fn records(run: &RunDirectory) -> Result<Option<RunDirectory>, SweepError> {
    let last = match run.config().exists() {
        true => Some(run.clone()),
        false => last_directory(run)?,
    };
    Ok(last.filter(|last| last.config().exists()))
}

/// Takes a run, or waits until it is known whether whoever has it is still at work: on this machine
/// that is seen, elsewhere it takes the next sign of life, or the end of the lease.
fn wait_for(
    run: &RunDirectory,
    lease_seconds: u32,
    stops: impl Fn() -> bool,
) -> Result<Taken, Failure> {
    let this = Worker::this();
    let mut first: Option<(Attempt, Option<u64>)> = None;
    loop {
        let held = match take(run, &this, lease_seconds).map_err(Failure::of_sweep)? {
            Taken::Held(attempt) => attempt,
            taken => return Ok(taken),
        };
        if held.worker.is_at_work() || stops() {
            return Ok(Taken::Held(held));
        }
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

/// Checks that a run can begin or go on. Notes in the folder of one that nobody has begun why it
/// cannot, for those who look at the sweep.
pub(super) fn check(run: &Planned, inputs: &mut Inputs) -> Result<(), Failure> {
    let checked = run.settings().and_then(|settings| {
        settings.check()?;
        settings.source.check_model()?;
        Ok(settings)
    });
    match checked.map_err(Failure::never) {
        Ok(settings) => check_same_run(run, &settings, inputs),
        Err(failure) => {
            let directory = RunDirectory::new(&run.directory);
            if let Ok(None) = records(&directory) {
                let reason = one_line(&failure.report);
                // The failure itself is what there is to say.
                drop(note_refusal(&directory, &Worker::this(), &reason));
            }
            Err(failure)
        }
    }
}

/// Refuses a run in the folder that has other settings, or whose files have other contents. Only
/// the same run may be resumed, or skipped as complete if its records and its result are as they
/// were written.
pub(super) fn check_same_run(
    run: &Planned,
    settings: &Settings,
    inputs: &mut Inputs,
) -> Result<(), Failure> {
    let directory = RunDirectory::new(&run.directory);
    let Some(records) = records(&directory).map_err(Failure::of_sweep)? else {
        return Ok(());
    };
    let before = records.read_config().into_diagnostic()?;
    let remedy = || {
        format!(
            "remove {}, or choose another folder with --output-dir",
            directory.path.display()
        )
    };
    let now = inputs.resolved(settings)?.with_paths_of(&before);
    if let Some(difference) = before.difference(&now) {
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
