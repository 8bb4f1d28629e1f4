//! What is done to a worker of this machine, and how it may end then.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::chance::Chance;

/// The exit code by which a worker asks to be started again.
const TRY_AGAIN: i32 = 75;

/// What is done to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// SIGKILL of the worker and all that it has started, as the end of its machine.
    Kill,
    /// SIGKILL of one of these processes, as by a system that is out of memory.
    KillOne,
    /// SIGTERM or SIGUSR1.
    Signal(Signal),
    /// SIGSTOP, and SIGCONT after this time, which is longer than the lease.
    Pause(Duration),
}

impl Strike {
    /// The next one. A worker with this lease is paused for longer.
    pub(super) fn choose(chance: &mut Chance, lease: Duration) -> Self {
        match chance.below(100) {
            0..35 => Self::Kill,
            35..65 => Self::KillOne,
            65..77 => Self::Signal(Signal::SIGTERM),
            77..88 => Self::Signal(Signal::SIGUSR1),
            _ => Self::Pause(lease.mul_f64(1.2 + chance.share())),
        }
    }

    /// Its row in the table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL of a worker and its processes",
            Self::KillOne => "SIGKILL of one process",
            Self::Signal(signal) => signal.as_str(),
            Self::Pause(_) => "SIGSTOP beyond the lease",
        }
    }

    /// Whether it counts as a kill.
    pub(super) fn is_kill(self) -> bool {
        matches!(self, Self::Kill | Self::KillOne)
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All is complete.
    Complete,
    /// As what was done to it explains.
    Explained,
    /// It asks to be started again, for a reason of its own.
    Again,
    /// In no way that it may.
    Wrong,
}

/// What the end of a worker means that all this was done to.
pub(super) fn judged(status: ExitStatus, strikes: &[Strike]) -> Ended {
    let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
    let signalled = strikes.iter().find_map(|strike| match strike {
        // Before plw listens, the signal ends it as any program.
        Strike::Signal(signal) if status.signal() == Some(*signal as i32) => Some(()),
        Strike::Signal(signal) if status.code() == Some(128 + *signal as i32) => Some(()),
        Strike::Signal(_) if status.code() == Some(TRY_AGAIN) => Some(()),
        _ => None,
    });
    match status.success() {
        true => Ended::Complete,
        false if is_killed && strikes.iter().any(|strike| strike.is_kill()) => Ended::Explained,
        false if signalled.is_some() => Ended::Explained,
        false if status.code() == Some(TRY_AGAIN) => Ended::Again,
        false => Ended::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_chosen_and_pauses_outlast_the_lease() {
        let mut chance = Chance::new(1, 1);
        let lease = Duration::from_secs(3);
        let strikes: Vec<Strike> = (0..1000)
            .map(|_| Strike::choose(&mut chance, lease))
            .collect();
        let labels: BTreeSet<&str> = strikes.iter().map(|strike| strike.label()).collect();
        assert_eq!(labels.len(), 5, "{labels:?}");
        let outlasts = |strike: &Strike| !matches!(strike, Strike::Pause(time) if *time <= lease);
        assert!(strikes.iter().all(outlasts));
        let kills = strikes.iter().filter(|strike| strike.is_kill()).count();
        assert!((500..800).contains(&kills), "{kills}");
    }

    #[test]
    fn an_end_is_explained_by_what_was_done_alone() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        let signal = ExitStatus::from_raw;
        let terminate = Strike::Signal(Signal::SIGTERM);
        let pause = Strike::Pause(Duration::from_secs(4));
        for (status, strikes, expected) in [
            (code(0), &[][..], Ended::Complete),
            (code(0), &[terminate], Ended::Complete),
            (code(75), &[], Ended::Again),
            (code(75), &[terminate], Ended::Explained),
            (code(75), &[pause], Ended::Again),
            (code(143), &[terminate], Ended::Explained),
            (signal(15), &[pause, terminate], Ended::Explained),
            (signal(15), &[pause], Ended::Wrong),
            (signal(9), &[Strike::Kill], Ended::Explained),
            (signal(9), &[terminate], Ended::Wrong),
            (code(1), &[Strike::Kill, terminate, pause], Ended::Wrong),
            (signal(11), &[Strike::Kill], Ended::Wrong),
        ] {
            assert_eq!(judged(status, strikes), expected, "{status}, {strikes:?}");
        }
    }
}
