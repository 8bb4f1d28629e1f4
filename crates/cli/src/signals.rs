//! Signals that ask the program to stop: Ctrl-C, a termination, a warning before one, the
//! terminal's end. One that was ignored when the program started stays ignored, as `nohup` wants
//! it.

use std::io;

use plw_sweep::TRY_AGAIN;

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The terminal has gone.
    Hangup,
    /// A Ctrl-C.
    Interrupt,
    /// Another process asks for it: SIGTERM.
    Termination,
    /// A scheduler will end the program soon: SIGUSR1.
    Preemption,
}

impl Stop {
    const ALL: [Self; 4] = [
        Self::Hangup,
        Self::Interrupt,
        Self::Termination,
        Self::Preemption,
    ];

    /// What a program exits with that it stops: for people 128 and the signal's number, as shells
    /// count, and for schedulers the code that asks for another try.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Termination | Self::Preemption => TRY_AGAIN,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "Ctrl-C",
            Self::Termination => "SIGTERM",
            Self::Preemption => "SIGUSR1",
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(self) -> nix::sys::signal::Signal {
        use nix::sys::signal::Signal;

        match self {
            Self::Hangup => Signal::SIGHUP,
            Self::Interrupt => Signal::SIGINT,
            Self::Termination => Signal::SIGTERM,
            Self::Preemption => Signal::SIGUSR1,
        }
    }
}

/// Calls `stopped` at each of them from now on; without this the first ends the program.
///
/// # Errors
///
/// If the operating system refuses, or has no thread left to wait for them.
#[cfg(unix)]
pub(crate) fn watch(mut stopped: impl FnMut(Stop) + Send + 'static) -> io::Result<()> {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (mut reader, writer) = UnixStream::pair()?;
    let latest = Arc::new(AtomicUsize::new(0));
    let which = latest.clone();
    std::thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || {
            let mut byte = [0];
            while reader.read_exact(&mut byte).is_ok() {
                if let Some(&stop) = Stop::ALL.get(which.load(Ordering::SeqCst)) {
                    stopped(stop);
                }
            }
        })?;
    for (index, stop) in Stop::ALL.into_iter().enumerate() {
        let signal = stop.signal() as i32;
        if !is_ignored(signal) {
            // Handlers run in the order in which they are registered: the byte comes last.
            signal_hook::flag::register_usize(signal, latest.clone(), index)?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn watch(mut stopped: impl FnMut(Stop) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || stopped(Stop::Interrupt)).map_err(io::Error::other)
}

/// Whether the program was started with this signal ignored. Only Linux tells without unsafe code;
/// elsewhere none counts as ignored.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    ignored_signals(&String::from_utf8_lossy(&status)) & (1 << (signal - 1)) != 0
}

/// The signals that a process ignores, a bit each.
#[cfg(unix)]
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_which_signals_are_ignored() {
        for (status, ignored) in [
            (
                "Name:\tplw\nSigIgn:\t0000000000001001\nSigCgt:\t0\n",
                0x1001,
            ),
            ("SigIgn:\tffffffffffffffff\n", u64::MAX),
            ("SigBlk:\t0000000000000001\n", 0),
            ("", 0),
        ] {
            assert_eq!(ignored_signals(status), ignored, "{status}");
        }
    }
}
