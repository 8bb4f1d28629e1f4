//! What may interrupt a process, and how one is chosen.

use std::collections::BTreeMap;

use super::system_calls::{CALLS, Calls, Injection};
use crate::chance::Chance;

/// An interruption of one process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Interruption {
    /// SIGKILL after this share of the time that the whole work takes.
    Kill { after: f64 },
    /// SIGKILL a little after the n-th unfinished file or folder has appeared.
    KillOverUnfinished { number: u64, microseconds: u64 },
    /// A system call that kills the process, or fails.
    Call {
        calls: Calls,
        number: u64,
        injection: Injection,
    },
    /// SIGINT, SIGTERM or SIGHUP after this share of the time.
    Signal { signal: &'static str, after: f64 },
    /// No file may have more blocks of 512 bytes.
    FileSizeLimit { blocks: u64 },
    /// The disk has so many free KiB.
    FullDisk { free: u64 },
    /// A second process in the same folder, started after this share of the time.
    SecondProcess { after: f64, lock: Lock },
}

/// What becomes of the file `.lock` before a second process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Kept,
    Removed,
}

/// What the system allows beside signals and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Interruptions at system calls.
    pub(super) calls: bool,
    /// File systems in memory.
    pub(super) full_disk: bool,
}

impl Interruption {
    /// The next of a round. `counts` says how many system calls of each kind the whole work makes.
    pub(super) fn choose(
        chance: &mut Chance,
        counts: &BTreeMap<String, u64>,
        allowed: Allowed,
    ) -> Self {
        match chance.below(100) {
            0..40 if allowed.calls => Self::call(chance, counts, Injection::Kill),
            40..45 if allowed.calls => Self::call(chance, counts, Injection::Failure),
            80..87 => Self::Signal {
                signal: chance.one_of(&["SIGINT", "SIGTERM", "SIGTERM", "SIGHUP"]),
                after: chance.share(),
            },
            87..92 => Self::FileSizeLimit {
                blocks: 8 + chance.below(3200),
            },
            92..96 if allowed.full_disk => Self::FullDisk {
                free: 64 + chance.below(8000),
            },
            96..100 => Self::SecondProcess {
                after: chance.share(),
                lock: chance.one_of(&[Lock::Kept, Lock::Kept, Lock::Removed]),
            },
            60..80 => Self::KillOverUnfinished {
                number: 1 + chance.below(12),
                microseconds: chance.below(4000),
            },
            _ => Self::Kill {
                after: chance.share(),
            },
        }
    }

    /// Every kind of call equally often, and each call of a kind.
    fn call(chance: &mut Chance, counts: &BTreeMap<String, u64>, injection: Injection) -> Self {
        let made = |calls: &&Calls| counts.contains_key(calls.name);
        let calls: Vec<Calls> = CALLS.iter().filter(made).copied().collect();
        let calls = chance.one_of(&calls);
        // What the start of the program opens fails in the system's loader, not in plw.
        let number = 1 + chance.below(counts[calls.name]);
        let injection = match calls.name {
            "open" | "write" => Injection::Kill,
            _ => injection,
        };
        Self::Call {
            calls,
            number,
            injection,
        }
    }

    /// Its row in the table.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Kill { .. } => "kill at any time".to_string(),
            Self::KillOverUnfinished { .. } => "kill over an unfinished file".to_string(),
            Self::Call {
                calls, injection, ..
            } => match injection {
                Injection::Kill => format!("kill before {}", calls.name),
                Injection::Failure => format!("EIO from {}", calls.name),
            },
            Self::Signal { signal, .. } => signal.to_string(),
            Self::FileSizeLimit { .. } => "file size limit".to_string(),
            Self::FullDisk { .. } => "full disk".to_string(),
            Self::SecondProcess { lock, .. } => match lock {
                Lock::Kept => "second process".to_string(),
                Lock::Removed => "second process, lock removed".to_string(),
            },
        }
    }

    /// Whether the process is killed.
    pub(super) fn is_kill(label: &str) -> bool {
        label.starts_with("kill")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_chosen_and_nothing_that_is_not_allowed() {
        let counts = BTreeMap::from([("rename".to_string(), 3), ("write".to_string(), 9)]);
        let labels = |allowed| {
            let mut chance = Chance::new(1, 1);
            let labels: std::collections::BTreeSet<String> = (0..2000)
                .map(|_| Interruption::choose(&mut chance, &counts, allowed).label())
                .collect();
            labels
        };
        let all = labels(Allowed {
            calls: true,
            full_disk: true,
        });
        for label in [
            "kill before rename",
            "EIO from rename",
            "full disk",
            "SIGHUP",
        ] {
            assert!(all.contains(label), "{label} is not in {all:?}");
        }
        let few = labels(Allowed {
            calls: false,
            full_disk: false,
        });
        assert_eq!(few.len(), 8, "{few:?}");
    }
}
