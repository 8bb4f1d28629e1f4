//! The right to work on a run: one attempt at a time, whatever becomes of those before it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plw_files::FileError;
use plw_record::RunDirectory;

use crate::attempt_folder::{ATTEMPTS, heartbeat_of, new_folder, path_of, run_of};
use crate::event::{EVENTS, append_event, is_taken, last_attempt, read_events};
use crate::heartbeat::{Heartbeat, SharedProgress, read_beat, silence};
use crate::inherit::{inherit, remove};
use crate::publish::publish;
use crate::{Attempt, Event, EventKind, SweepError, Worker};

/// Beats in the time after which a silent worker's run is taken over.
const BEATS: u32 = 6;

/// Who may work on a run.
#[derive(Debug)]
pub enum Taken {
    /// This process.
    Lease(Lease),
    /// Another one, which has given a sign of life.
    Held(Attempt),
    /// Nobody: it is complete.
    Complete,
}

/// What the events say of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody works on it. With the last attempt, if there was one.
    Free(Option<Attempt>),
    /// The attempt has given a sign of life.
    Held(Attempt),
    /// The attempt in this folder completed it.
    Complete(String),
}

/// Who works on a run, by its events and by the last attempt's sign of life.
pub fn standing(run: &RunDirectory, events: &[Event], asking: &Worker) -> Standing {
    if let Some(EventKind::Complete { folder }) = events.last().map(|event| &event.kind) {
        return Standing::Complete(folder.clone());
    }
    let Some((attempt, number)) = last_attempt(events) else {
        return Standing::Free(None);
    };
    let attempt = attempt.clone();
    let is_over = number < events.len() || attempt.worker.has_ended();
    match is_over || is_silent(run, &attempt, asking) {
        true => Standing::Free(Some(attempt)),
        false => Standing::Held(attempt),
    }
}

/// Whether an attempt has given no sign of life for the time of its lease.
fn is_silent(run: &RunDirectory, attempt: &Attempt, asking: &Worker) -> bool {
    let probe = format!(".now-{}-{}", asking.host, asking.process);
    let silence = silence(
        &heartbeat_of(run, &attempt.folder),
        &run.path.join(EVENTS).join(probe),
    );
    let lease = Duration::from_secs(attempt.lease_seconds.into());
    // Without its folder it cannot go on.
    silence.is_none_or(|silence| silence > lease)
}

/// The run of the last attempt, from which the next one goes on. None before the first.
///
/// # Errors
///
/// If the run's events cannot be read.
pub fn last_directory(run: &RunDirectory) -> Result<Option<RunDirectory>, SweepError> {
    let events = read_events(&run.path)?;
    let attempt = last_attempt(&events).map(|(attempt, _)| attempt);
    Ok(attempt.map(|attempt| run_of(run, &attempt.folder)))
}

/// Removes what attempts have left of a complete run, where whoever published it was killed first.
///
/// # Errors
///
/// If the run's events cannot be read.
pub fn tidy(run: &RunDirectory) -> Result<(), SweepError> {
    if !run.path.join(ATTEMPTS).exists() {
        return Ok(());
    }
    match read_events(&run.path)?.last().map(|event| &event.kind) {
        Some(EventKind::Complete { folder }) => publish(run, folder),
        _ => Ok(()),
    }
}

/// Where the attempt of this folder writes its run.
pub fn attempt_directory(run: &RunDirectory, folder: &str) -> RunDirectory {
    run_of(run, folder)
}

/// Which sign of life an attempt has given last. Another one than before shows that it is at work.
pub fn beat(run: &RunDirectory, attempt: &Attempt) -> Option<u64> {
    read_beat(&heartbeat_of(run, &attempt.folder))
}

/// Takes a run, if nobody else works on it, with what the attempt before reached.
///
/// The right is the run's next event. One process gets it, and that makes every earlier attempt
/// stale at once: an earlier one writes to a folder of its own, from which nothing is taken any
/// more, and the event that would complete the run has a number that is taken.
///
/// # Errors
///
/// If the run's folder cannot be read or written.
pub fn take(run: &RunDirectory, worker: &Worker, lease_seconds: u32) -> Result<Taken, SweepError> {
    loop {
        let events = match read_events(&run.path) {
            Err(_) if run.is_complete() => return Ok(Taken::Complete),
            events => events?,
        };
        let before = match standing(run, &events, worker) {
            Standing::Complete(folder) => {
                publish(run, &folder)?;
                return Ok(Taken::Complete);
            }
            Standing::Held(attempt) => return Ok(Taken::Held(attempt)),
            Standing::Free(before) => before,
        };
        let number = before.as_ref().map_or(1, |attempt| attempt.number + 1);
        let attempt = Attempt {
            number,
            folder: new_folder(number, worker),
            worker: worker.clone(),
            lease_seconds,
        };
        let event = events.len() as u32 + 1;
        match Lease::claim(run, attempt, before.as_ref(), event) {
            Ok(Some(lease)) => {
                remove_former(run, &events);
                return Ok(Taken::Lease(lease));
            }
            Ok(None) => {}
            // Whoever was faster has removed what was to be taken over.
            Err(_) if is_taken(&run.path, event) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Notes that a run cannot even be begun, and why, unless somebody is at it or that was noted
/// before.
///
/// # Errors
///
/// If the run's folder cannot be read or written.
pub fn note_refusal(run: &RunDirectory, worker: &Worker, reason: &str) -> Result<(), SweepError> {
    let events = read_events(&run.path)?;
    if !matches!(standing(run, &events, worker), Standing::Free(_)) {
        return Ok(());
    }
    let refused = EventKind::Failed {
        folder: new_folder(0, worker),
        reason: reason.to_string(),
        never: true,
    };
    match events.last().map(|event| &event.kind) {
        Some(EventKind::Failed { reason: before, .. }) if before == reason => Ok(()),
        _ => append_event(&run.path, events.len() as u32 + 1, refused).map(drop),
    }
}

/// Removes the folders of former attempts, which would keep their checkpoints on disk. A stale one
/// may be writing there still: what is left then goes when the run is published.
fn remove_former(run: &RunDirectory, events: &[Event]) {
    for event in events {
        if let EventKind::Started(attempt) = &event.kind {
            drop(remove(&path_of(run, &attempt.folder)));
        }
    }
}

/// The right to work on a run. Dropping it stops its sign of life, and leaves the run to others
/// once that is noticed.
#[derive(Debug)]
pub struct Lease {
    run: RunDirectory,
    attempt: Attempt,
    /// The number of the event by which it ends.
    end: u32,
    progress: SharedProgress,
    is_superseded: Arc<AtomicBool>,
    heartbeat: Option<Heartbeat>,
}

impl Lease {
    /// None if another process was faster.
    fn claim(
        run: &RunDirectory,
        attempt: Attempt,
        before: Option<&Attempt>,
        event: u32,
    ) -> Result<Option<Self>, SweepError> {
        let folder = path_of(run, &attempt.folder);
        fs::create_dir_all(&folder).map_err(FileError::cannot("make the directory", &folder))?;
        let claimed = (|| {
            // All of it before the event: until then the folder means nothing, and from then on the
            // attempt before is of no use.
            if let Some(before) = before {
                inherit(&run_of(run, &before.folder), &run_of(run, &attempt.folder))?;
            }
            let progress = SharedProgress::default();
            progress.update(|progress| progress.phase = "starting".to_string());
            let is_superseded = Arc::new(AtomicBool::new(false));
            let end = event + 1;
            let (noticed, events_of) = (is_superseded.clone(), run.path.clone());
            let interval = Duration::from_secs(attempt.lease_seconds.into()) / BEATS;
            let heartbeat = Heartbeat::start(
                &heartbeat_of(run, &attempt.folder),
                interval.max(Duration::from_millis(100)),
                progress.clone(),
                move || {
                    if is_taken(&events_of, end) {
                        noticed.store(true, Ordering::SeqCst);
                    }
                },
            )?;
            let started = EventKind::Started(attempt.clone());
            Ok(append_event(&run.path, event, started)?.then(|| Self {
                run: run.clone(),
                attempt: attempt.clone(),
                end,
                progress,
                is_superseded,
                heartbeat: Some(heartbeat),
            }))
        })();
        if !matches!(claimed, Ok(Some(_))) {
            remove(&folder)?;
        }
        claimed
    }

    /// The attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Where this attempt writes its run.
    pub fn directory(&self) -> RunDirectory {
        run_of(&self.run, &self.attempt.folder)
    }

    /// What its sign of life tells, to be kept up to date.
    pub fn progress(&self) -> SharedProgress {
        self.progress.clone()
    }

    /// Becomes true when another process is noticed to have taken the run over.
    pub fn superseded(&self) -> Arc<AtomicBool> {
        self.is_superseded.clone()
    }

    /// Gives the run back for another reason than that it is complete, also from another thread and
    /// more than once: the first counts.
    pub fn release(&self) -> Release {
        Release {
            run: self.run.path.clone(),
            folder: self.attempt.folder.clone(),
            end: self.end,
        }
    }

    /// Publishes the complete run, and says whether that was this attempt's to do: false if another
    /// process has taken the run over. Nothing of this attempt is left then.
    ///
    /// # Errors
    ///
    /// If the run's folder cannot be read or written. The next worker that looks publishes the run
    /// if this one could still make it complete.
    pub fn complete(mut self) -> Result<bool, SweepError> {
        let folder = self.attempt.folder.clone();
        let complete = EventKind::Complete {
            folder: folder.clone(),
        };
        let is_ours = append_event(&self.run.path, self.end, complete)?;
        // Nobody needs a sign of life any more, and its folder goes.
        drop(self.heartbeat.take());
        match is_ours {
            true => publish(&self.run, &folder)?,
            false => remove(&path_of(&self.run, &folder))?,
        }
        Ok(is_ours)
    }

    /// Removes what a superseded attempt wrote.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn discard(mut self) -> Result<(), SweepError> {
        drop(self.heartbeat.take());
        Ok(remove(&path_of(&self.run, &self.attempt.folder))?)
    }
}

/// Gives a run back.
#[derive(Debug, Clone)]
pub struct Release {
    run: PathBuf,
    folder: String,
    end: u32,
}

impl Release {
    /// The attempt stopped, and the next one goes on. False if another process has taken the run
    /// over.
    ///
    /// # Errors
    ///
    /// If the event cannot be written.
    pub fn stopped(&self, reason: &str) -> Result<bool, SweepError> {
        let folder = self.folder.clone();
        let reason = reason.to_string();
        append_event(&self.run, self.end, EventKind::Stopped { folder, reason })
    }

    /// The attempt failed. `never` says whether the next one would fail as well.
    ///
    /// # Errors
    ///
    /// If the event cannot be written.
    pub fn failed(&self, reason: &str, never: bool) -> Result<bool, SweepError> {
        let failed = EventKind::Failed {
            folder: self.folder.clone(),
            reason: reason.to_string(),
            never,
        };
        append_event(&self.run, self.end, failed)
    }
}
