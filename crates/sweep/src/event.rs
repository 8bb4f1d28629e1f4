//! What happens to a run of a sweep: attempts begin and end. Each event is a file that is made once
//! and never changed, numbered from 1, so that the last of them says who may work on the run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plw_files::{read_text, write_new};
use serde::de::Error;
use serde::{Deserialize, Serialize};

use crate::attempt_folder::is_plain;
use crate::{SweepError, Worker};

/// The directory of a run's events.
pub(crate) const EVENTS: &str = "events";

/// Bytes of the longest event.
const LONGEST: u64 = 1 << 16;

/// Letters of the longest reason that is written: a setting that differs may be a long text.
const LONGEST_REASON: usize = 4000;

/// An attempt at a run: the process that makes it, and the folder that it alone writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts the run's attempts, from 1.
    pub number: u32,
    /// The name of its folder, which no other attempt has.
    pub folder: String,
    /// The process that makes it.
    pub worker: Worker,
    /// Seconds without a sign of life after which others may take the run over.
    pub lease_seconds: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// An attempt began: from now on no other one may publish anything.
    Started(Attempt),
    /// The attempt that was started last stopped at a complete checkpoint, if it had any.
    Stopped {
        /// Its folder.
        folder: String,
        /// Why it stopped.
        reason: String,
    },
    /// The attempt that was started last failed.
    Failed {
        /// Its folder.
        folder: String,
        /// Why.
        reason: String,
        /// Whether it would fail again, as with a setting that makes no sense.
        never: bool,
    },
    /// The attempt that was started last completed the run.
    Complete {
        /// Its folder.
        folder: String,
    },
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in seconds since 1970 by the clock of the machine that wrote it. For people alone.
    pub time: u64,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// The event, if the folder that it names lies among the run's attempts.
    fn checked(self) -> serde_json::Result<Self> {
        let folder = match &self.kind {
            EventKind::Started(attempt) => &attempt.folder,
            EventKind::Stopped { folder, .. }
            | EventKind::Failed { folder, .. }
            | EventKind::Complete { folder } => folder,
        };
        match is_plain(folder) {
            true => Ok(self),
            false => Err(serde_json::Error::custom(format!(
                "`{folder}` is no name of a folder"
            ))),
        }
    }

    fn now(mut kind: EventKind) -> Self {
        if let EventKind::Stopped { reason, .. } | EventKind::Failed { reason, .. } = &mut kind
            && let Some((end, _)) = reason.char_indices().nth(LONGEST_REASON)
        {
            reason.truncate(end);
            reason.push_str(" ...");
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: time.map_or(0, |time| time.as_secs()),
            kind,
        }
    }
}

/// The file of an event of a run.
fn path_of(run: &Path, number: u32) -> PathBuf {
    run.join(EVENTS).join(format!("{number:06}.json"))
}

/// The events of a run, in their order.
///
/// # Errors
///
/// If one cannot be read, or is none.
pub fn read_events(run: &Path) -> Result<Vec<Event>, SweepError> {
    let mut events = Vec::new();
    for number in 1.. {
        let path = path_of(run, number);
        let text = match read_text(&path, LONGEST) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => break,
            text => text?,
        };
        let event = serde_json::from_str(&text).and_then(Event::checked);
        events.push(event.map_err(|source| SweepError::Event { path, source })?);
    }
    let missing = events.len() as u32 + 1;
    let numbers = numbers(&run.join(EVENTS));
    // A network file system may list an event that it does not open yet.
    match !numbers.contains(&missing) && numbers.iter().any(|&number| number > missing) {
        true => Err(SweepError::MissingEvent {
            path: path_of(run, missing),
        }),
        false => Ok(events),
    }
}

/// The numbers of the events in a directory.
fn numbers(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string());
    let number = |name: String| name.strip_suffix(".json")?.parse().ok();
    names.filter_map(Result::ok).filter_map(number).collect()
}

/// Makes an event the run's event of this number, and says whether it is: false if there was one.
pub(crate) fn append_event(run: &Path, number: u32, kind: EventKind) -> Result<bool, SweepError> {
    let path = path_of(run, number);
    // Somebody has removed the run's folder, which this must not bring back.
    let before = number.checked_sub(1).filter(|&before| before > 0);
    if let Some(before) = before
        .map(|before| path_of(run, before))
        .filter(|path| !path.exists())
    {
        return Err(SweepError::MissingEvent { path: before });
    }
    let text = serde_json::to_string_pretty(&Event::now(kind));
    let text = text.map_err(|source| SweepError::Event {
        path: path.clone(),
        source,
    })?;
    Ok(write_new(path, text + "\n")?)
}

/// Whether a run has an event of this number.
pub(crate) fn is_taken(run: &Path, number: u32) -> bool {
    path_of(run, number).exists()
}

/// The last attempt of these events, and how many events came with it or before.
pub(crate) fn last_attempt(events: &[Event]) -> Option<(&Attempt, usize)> {
    let from_last = events.iter().enumerate().rev();
    from_last
        .filter_map(|(index, event)| match &event.kind {
            EventKind::Started(attempt) => Some((attempt, index + 1)),
            _ => None,
        })
        .next()
}
