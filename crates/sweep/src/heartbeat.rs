//! The sign of life of an attempt: a file that it writes again and again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use plw_files::{FileError, read_text};
use serde::{Deserialize, Serialize};

/// Bytes of the longest heartbeat.
const LONGEST: u64 = 1 << 12;

/// How often a change of phase is looked for, which is told at once.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How far an attempt is, as its heartbeat tells it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What it does: `starting`, `training`, `evaluating`.
    pub phase: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Optimizer steps of the whole run. 0 before that is known.
    pub total_steps: u64,
    /// Seconds of a step, on average over the attempt's last ones. None before it took any.
    pub seconds_per_step: Option<f64>,
}

/// The progress that the next heartbeat tells.
#[derive(Debug, Clone, Default)]
pub struct SharedProgress(Arc<Mutex<Progress>>);

impl SharedProgress {
    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> Progress {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Beat {
    /// Counts the beats, so that each is another file than the one before.
    beat: u64,
    #[serde(flatten)]
    progress: Progress,
}

/// Writes the file until it is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    shared: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Writes the first beat before it returns, and then one every `interval` and soon after the
    /// phase has changed. `also` is called with each of them.
    pub(crate) fn start(
        path: &Path,
        interval: Duration,
        progress: SharedProgress,
        also: impl Fn() + Send + 'static,
    ) -> Result<Self, FileError> {
        let own_path = path.to_path_buf();
        let write = move |beat: u64, progress: Progress| {
            let beat = Beat { beat, progress };
            let text = serde_json::to_string(&beat).map_err(io::Error::from);
            text.and_then(|text| overwrite(&own_path, text.as_bytes()))
                .map_err(FileError::cannot("write", &own_path))
        };
        let first = progress.now();
        let mut phase = first.phase.clone();
        write(0, first)?;
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let (ended, mut beat) = (shared.clone(), 0);
        let thread = std::thread::Builder::new().name("heartbeat".to_string());
        let thread = thread.spawn(move || {
            let (lock, condition) = &*ended;
            let mut is_over = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let mut written = Instant::now();
            while !*is_over {
                let waited = condition.wait_timeout(is_over, interval.min(LOOK_AGAIN));
                is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
                let now = progress.now();
                if !*is_over && (now.phase != phase || written.elapsed() >= interval) {
                    (beat, written) = (beat + 1, Instant::now());
                    phase.clone_from(&now.phase);
                    // One that fails is one sign of life less, and the next may not.
                    drop(write(beat, now));
                    also();
                }
            }
        });
        let thread = thread.map_err(FileError::cannot("start a thread that writes", path))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

/// Writes a file in place, which needs no new space on a full disk.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let (lock, condition) = &*self.shared;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What a heartbeat says. None where there is none, or it is just being written.
pub(crate) fn read_progress(path: &Path) -> Option<Progress> {
    read(path).map(|beat| beat.progress)
}

/// How many there were before it.
pub(crate) fn read_beat(path: &Path) -> Option<u64> {
    read(path).map(|beat| beat.beat)
}

fn read(path: &Path) -> Option<Beat> {
    serde_json::from_str(&read_text(path, LONGEST).ok()?).ok()
}

/// How long a file has not been written, by the clock of the file system that holds it: machines'
/// own clocks may differ. `probe` is a file beside it that is written to ask for the time there;
/// who may not write takes the time of this machine. A time in the future is as far off as one in
/// the past: nobody writes then. None where there is no such file.
pub(crate) fn silence(path: &Path, probe: &Path) -> Option<Duration> {
    let written = modified(path)?;
    let now = fs::write(probe, "").ok().and_then(|()| modified(probe));
    drop(fs::remove_file(probe));
    let now = now.unwrap_or_else(SystemTime::now);
    Some(
        now.duration_since(written)
            .unwrap_or_else(|early| early.duration()),
    )
}

/// When a file was written. It is opened, because network file systems ask the server then.
fn modified(path: &Path) -> Option<SystemTime> {
    File::open(path).ok()?.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_tells_the_progress_until_it_ends() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("heartbeat.json");
        let progress = SharedProgress::default();
        let (sender, beats) = std::sync::mpsc::channel();
        let heartbeat = Heartbeat::start(
            &path,
            Duration::from_millis(1),
            progress.clone(),
            move || {
                let _ = sender.send(());
            },
        )?;
        assert_eq!(read_progress(&path), Some(Progress::default()));
        let told = Progress {
            phase: "training".to_string(),
            step: 3,
            total_steps: 9,
            seconds_per_step: Some(0.5),
        };
        progress.update(|progress| *progress = told.clone());
        // The first may have been written before.
        beats.recv()?;
        beats.recv()?;
        drop(heartbeat);
        assert_eq!(read_progress(&path), Some(told));
        // Ends only once the thread has, and with it the sender.
        while beats.recv().is_ok() {}
        Ok(())
    }

    #[test]
    fn silence_is_told_by_the_file_systems_clock() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let [path, probe] = ["heartbeat.json", "probe"].map(|name| directory.path().join(name));
        assert_eq!(silence(&path, &probe), None);
        let file = File::create(&path)?;
        let age = Duration::from_secs(1000);
        file.set_modified(SystemTime::now() - age)?;
        let told = silence(&path, &probe).ok_or("it is there")?;
        assert!(told > age / 2 && told < 2 * age, "{told:?}");
        file.set_modified(SystemTime::now() + age)?;
        let told = silence(&path, &probe).ok_or("it is there")?;
        assert!(told < 2 * age && told > age / 2, "{told:?}");
        assert!(!probe.exists());
        Ok(())
    }
}
