//! What happened to a run, by the events in its folder.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Deserialize;

use crate::read::read_json;

/// An event, as far as this check needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    Started { folder: String, worker: Worker },
    Stopped { folder: String },
    Failed { folder: String, reason: String },
    Complete { folder: String },
}

/// Who made an attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Worker {
    pub(super) host: String,
    pub(super) process: u32,
}

/// The events of a run, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    events: Vec<Event>,
}

impl History {
    /// Reads those of a run's folder. A run that nobody began has none.
    pub(super) fn read(run: &Path) -> Result<Self> {
        let folder = run.join("events");
        let mut paths: Vec<PathBuf> = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            listed => listed
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot list {}", folder.display()))?,
        };
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        let events: Result<Vec<Event>> = paths.iter().map(|path| read_json(path)).collect();
        Ok(Self { events: events? })
    }

    /// The attempts that began.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &Worker> {
        self.events.iter().filter_map(|event| match event {
            Event::Started { worker, .. } => Some(worker),
            _ => None,
        })
    }

    /// Attempts that stopped and said so.
    pub(super) fn stopped(&self) -> usize {
        let stopped = |event: &&Event| matches!(event, Event::Stopped { .. });
        self.events.iter().filter(stopped).count()
    }

    /// Workers whose run another one took over without a word of theirs.
    pub(super) fn taken_over(&self) -> impl Iterator<Item = &Worker> {
        self.events.windows(2).filter_map(|pair| match pair {
            [Event::Started { worker, .. }, Event::Started { .. }] => Some(worker),
            _ => None,
        })
    }

    /// What is wrong with a run that should be complete, once, and by the attempt that had the
    /// right to it.
    pub(super) fn problem(&self) -> Option<String> {
        let mut holder = None;
        let mut completed = 0;
        for event in &self.events {
            let (folder, what) = match event {
                Event::Started { folder, .. } => {
                    holder = Some(folder);
                    continue;
                }
                Event::Stopped { folder } => (folder, "stopped"),
                Event::Failed { reason, .. } => {
                    return Some(format!("an attempt failed: {reason}"));
                }
                Event::Complete { folder } => {
                    completed += 1;
                    (folder, "complete")
                }
            };
            if holder != Some(folder) {
                return Some(format!("`{what}` is of {folder}, which had no right to it"));
            }
        }
        match (completed, self.events.last()) {
            (1, Some(Event::Complete { .. })) => None,
            (1, _) => Some("events follow `complete`".to_string()),
            (0, _) => Some("it is not complete".to_string()),
            (times, _) => Some(format!("it is complete {times} times")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(events: &[&str]) -> History {
        let worker = r#"{"host": "node1", "process": 7, "start": 1, "numbered_in": "boot"}"#;
        let event = |event: &&str| {
            let (kind, folder) = event.split_once(' ').expect("a kind and a folder");
            let worker = match kind {
                "started" => format!(r#", "number": 1, "lease_seconds": 3, "worker": {worker}"#),
                _ => r#", "reason": "it broke", "never": false"#.to_string(),
            };
            let text = format!(r#"{{"time": 1, "event": "{kind}", "folder": "{folder}"{worker}}}"#);
            serde_json::from_str(&text).expect("an event")
        };
        History {
            events: events.iter().map(event).collect(),
        }
    }

    #[test]
    fn a_run_is_complete_once_and_by_its_last_attempt() {
        for (events, problem) in [
            (&["started a", "complete a"][..], None),
            (&["started a", "stopped a", "started b", "complete b"], None),
            (&["started a", "started b", "complete b"], None),
            (&["started a"], Some("not complete")),
            (&[], Some("not complete")),
            (
                &["started a", "started b", "complete a"],
                Some("no right to it"),
            ),
            (&["started a", "failed a"], Some("it broke")),
            (
                &["started a", "complete a", "started b"],
                Some("events follow"),
            ),
            (
                &["started a", "complete a", "started b", "complete b"],
                Some("2 times"),
            ),
        ] {
            let told = history(events).problem();
            let is_expected = match (&told, problem) {
                (Some(told), Some(problem)) => told.contains(problem),
                (told, problem) => told.is_none() && problem.is_none(),
            };
            assert!(is_expected, "{events:?}: {told:?}");
        }
    }

    #[test]
    fn a_run_that_is_taken_over_has_no_word_of_its_worker() {
        let history = history(&[
            "started a",
            "started b",
            "stopped b",
            "started c",
            "complete c",
        ]);
        assert_eq!(history.attempts().count(), 3);
        assert_eq!(history.taken_over().count(), 1);
        assert_eq!(history.stopped(), 1);
    }

    #[test]
    fn events_are_read_in_their_order() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let read = || History::read(directory.path()).expect("read");
        assert_eq!(read().problem().as_deref(), Some("it is not complete"));
        let events = directory.path().join("events");
        fs::create_dir(&events).expect("made");
        let complete = r#"{"event": "complete", "folder": "a"}"#;
        let started =
            r#"{"event": "started", "folder": "a", "worker": {"host": "h", "process": 1}}"#;
        fs::write(events.join("000002.json"), complete).expect("written");
        fs::write(events.join("000001.json"), started).expect("written");
        fs::write(events.join(".now-h-1"), "").expect("written");
        assert_eq!(read().problem(), None);
    }
}
