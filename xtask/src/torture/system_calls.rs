//! Kills and failures at the n-th system call of a kind. `strace` does it to the unchanged program;
//! where it is not installed, these are left out.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::process;

/// System calls by which a program changes files, and waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Calls {
    /// Their common name.
    pub(super) name: &'static str,
    /// Each, as strace selects it; `?` allows for systems that lack one.
    selected: &'static str,
}

/// All that are interrupted.
pub(super) const CALLS: [Calls; 9] = [
    Calls {
        name: "open",
        selected: "?open,?openat",
    },
    Calls {
        name: "write",
        selected: "?write,?pwrite64,?writev",
    },
    Calls {
        name: "fsync",
        selected: "?fsync,?fdatasync",
    },
    Calls {
        name: "rename",
        selected: "?rename,?renameat,?renameat2",
    },
    Calls {
        name: "link",
        selected: "?link,?linkat",
    },
    Calls {
        name: "mkdir",
        selected: "?mkdir,?mkdirat",
    },
    Calls {
        name: "unlink",
        selected: "?unlink,?unlinkat,?rmdir",
    },
    Calls {
        name: "truncate",
        selected: "?truncate,?ftruncate",
    },
    Calls {
        name: "lock",
        selected: "?flock",
    },
];

/// What happens instead of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Injection {
    /// The program is killed, before the call takes effect.
    Kill,
    /// The call fails, as on a broken disk.
    Failure,
}

impl Injection {
    fn argument(self) -> &'static str {
        match self {
            Self::Kill => "signal=SIGKILL",
            Self::Failure => "error=EIO",
        }
    }
}

/// What `strace --version` says first; `None` where it is not installed.
pub(super) fn version() -> Option<String> {
    let said = process::output(Command::new("strace").arg("--version")).ok()?;
    said.lines().next().map(str::to_string)
}

/// A command under strace, which interrupts it at the call of this number, counted from 1 in each
/// of its threads. What happens goes to `log`.
pub(super) fn interrupted(
    words: &[String],
    log: &Path,
    calls: Calls,
    number: u64,
    injection: Injection,
) -> Vec<String> {
    let selected = calls.selected;
    let inject = format!("inject={selected}:{}:when={number}", injection.argument());
    traced(words, log, selected, &["-e".to_string(), inject])
}

/// A command under strace, which writes its calls to `log`.
pub(super) fn counted(words: &[String], log: &Path) -> Vec<String> {
    traced(
        words,
        log,
        &CALLS.map(|calls| calls.selected).join(","),
        &[],
    )
}

fn traced(words: &[String], log: &Path, selected: &str, more: &[String]) -> Vec<String> {
    let log = log.display().to_string();
    // Child processes too; without words about attaching to them.
    let mut strace = ["strace", "-f", "-q", "-o", &log, "-e"]
        .map(str::to_string)
        .to_vec();
    strace.push(format!("trace={selected}"));
    strace.extend_from_slice(more);
    strace.extend_from_slice(words);
    strace
}

/// Whether a log says that the interruption took place.
pub(super) fn took_place(log: &str, injection: Injection) -> bool {
    log.contains(match injection {
        Injection::Kill => "+++ killed by SIGKILL +++",
        Injection::Failure => "(INJECTED)",
    })
}

/// How many calls of each kind the busiest thread made, by a log of [`counted`].
pub(super) fn counts(log: &str) -> BTreeMap<String, u64> {
    let mut by_thread = BTreeMap::<(&str, &str), u64>::new();
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else {
            continue;
        };
        let call = call.split('(').next().unwrap_or_default();
        let names = |calls: &&Calls| calls.selected.split(',').any(|name| &name[1..] == call);
        if let Some(calls) = CALLS.iter().find(names) {
            *by_thread.entry((calls.name, thread)).or_default() += 1;
        }
    }
    let mut counts = BTreeMap::new();
    for ((name, _), count) in by_thread {
        let most: &mut u64 = counts.entry(name.to_string()).or_default();
        *most = count.max(*most);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_the_busiest_thread_count() {
        let log = "7 openat(AT_FDCWD, \"a\") = 3\n7 openat(AT_FDCWD, \"b\") = 4\n\
                   8 openat(AT_FDCWD, \"a\") = 3\n8 fsync(3) = 0\n7 futex(1) = 0\n\
                   8 <... fsync resumed>) = 0\n7 +++ exited with 0 +++\n";
        let expected = [("fsync".to_string(), 1), ("open".to_string(), 2)];
        assert_eq!(counts(log), BTreeMap::from(expected));
        assert!(!took_place(log, Injection::Kill) && !took_place(log, Injection::Failure));
    }
}
