//! How processes without MPI give each other a few bytes: by files in a folder that they share.
//!
//! A job that was killed leaves its files, which the next one must not take for its own. So each
//! process leaves a word that nobody else could have left before, and takes the first process's
//! bytes only together with that word.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use plw_files::{FileError, write_atomic};

use crate::TransportError;

/// Gives the bytes that `first` makes in process 0 to every process.
///
/// # Errors
///
/// If a file cannot be written, or the others do not come within `limit`.
pub fn meet_in_folder(
    folder: &Path,
    [rank, world_size]: [usize; 2],
    limit: Duration,
    first: impl FnOnce() -> Result<Vec<u8>, TransportError>,
) -> Result<Vec<u8>, TransportError> {
    fs::create_dir_all(folder).map_err(FileError::cannot("make the directory", folder))?;
    let began = Instant::now();
    let word = word();
    let of = |kind: &str, rank: usize| folder.join(format!("{kind}-{rank}"));
    if rank > 0 {
        write_atomic(of("here", rank), &word)?;
        // What was made for this word, and for no other.
        let bytes = wait(began, limit, 0, || {
            let told = fs::read_to_string(of("bytes-for", rank)).ok()?;
            from_hex(told.strip_prefix(&word)?.trim())
        })?;
        write_atomic(of("taken", rank), hex(&bytes))?;
        return Ok(bytes);
    }
    let bytes = first()?;
    let shown = hex(&bytes);
    for other in 1..world_size {
        // Until the other has taken these bytes: a word from before is followed by a new one.
        let mut told = String::new();
        wait(began, limit, other, || {
            let word = fs::read_to_string(of("here", other)).ok()?;
            if word != told {
                write_atomic(of("bytes-for", other), format!("{word} {shown}")).ok()?;
                told = word;
            }
            (fs::read_to_string(of("taken", other)).ok()? == shown).then_some(())
        })?;
    }
    fs::remove_dir_all(folder).map_err(FileError::cannot("remove", folder))?;
    Ok(bytes)
}

/// A word of this process, now.
fn word() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{}-{}-{}",
        machine.trim(),
        std::process::id(),
        now.unwrap_or_default().as_nanos()
    )
}

fn wait<R>(
    began: Instant,
    limit: Duration,
    rank: usize,
    mut found: impl FnMut() -> Option<R>,
) -> Result<R, TransportError> {
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        if began.elapsed() > limit {
            return Err(TransportError::Absent {
                rank,
                seconds: limit.as_secs(),
            });
        }
        sleep(Duration::from_millis(20));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_meet_beside_the_files_of_an_earlier_job() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let meeting = folder.path().join("meeting");
        fs::create_dir_all(&meeting).expect("made");
        for (name, text) in [
            ("here-1", "old-word"),
            ("bytes-for-1", "old-word 00ff"),
            ("here-2", "older-word"),
            ("taken-2", "00ff"),
        ] {
            fs::write(meeting.join(name), text).expect("written");
        }
        let limit = Duration::from_secs(60);
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|rank| {
                    let meeting = &meeting;
                    scope.spawn(move || {
                        let first = || Ok(vec![1, 2, 0xab]);
                        meet_in_folder(meeting, [rank, 3], limit, first)
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join());
            results
                .map(|result| result.expect("no panic"))
                .collect::<Vec<_>>()
        });
        assert_eq!(results, vec![Ok(vec![1, 2, 0xab]); 3]);
        assert!(!meeting.exists());
    }

    #[test]
    fn who_does_not_come_is_named() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let alone = meet_in_folder(folder.path(), [0, 2], Duration::ZERO, || Ok(vec![1]));
        assert_eq!(
            alone,
            Err(TransportError::Absent {
                rank: 1,
                seconds: 0
            })
        );
    }
}
