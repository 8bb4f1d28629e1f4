//! Signals that ask the program to stop: Ctrl-C, a termination, the terminal's end. One that was
//! ignored when the program started stays ignored, as `nohup` wants it.

use std::io;

/// Calls `stopped` at each of them from now on; without this the first ends the program.
///
/// # Errors
///
/// If the operating system refuses, or has no thread left to wait for them.
#[cfg(unix)]
pub(crate) fn watch(mut stopped: impl FnMut() + Send + 'static) -> io::Result<()> {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let (mut reader, writer) = UnixStream::pair()?;
    std::thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || {
            let mut byte = [0];
            while reader.read_exact(&mut byte).is_ok() {
                stopped();
            }
        })?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if !is_ignored(signal) {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn watch(stopped: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(stopped).map_err(io::Error::other)
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
