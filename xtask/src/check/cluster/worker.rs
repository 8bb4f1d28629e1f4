//! A worker of this machine: a process of plw, and all that it starts, in a process group of its
//! own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::strike::{Ended, Strike, judged};
use crate::chance::Chance;
use crate::process;
use crate::process_tree::{children, kill_all, send};

/// How long processes that a killed worker started may need to notice.
const LINGER: Duration = Duration::from_secs(30);

/// A running worker.
pub(super) struct Worker {
    child: Child,
    errors: PathBuf,
    strikes: Vec<Strike>,
    /// When it is to continue.
    paused_until: Option<Instant>,
    is_over: bool,
}

impl Worker {
    /// Starts one, whose standard error goes to a file.
    pub(super) fn start(command: &mut Command, errors: PathBuf) -> Result<Self> {
        let folder = errors.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).into_diagnostic()?;
        let file = File::create(&errors).into_diagnostic();
        let file = file.wrap_err_with(|| format!("cannot write {}", errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(file).process_group(0).spawn();
        Ok(Self {
            child: child.into_diagnostic().wrap_err("cannot start plw")?,
            errors,
            strikes: Vec::new(),
            paused_until: None,
            is_over: false,
        })
    }

    /// Its process group, whose number is that of its first process.
    pub(super) fn group(&self) -> u32 {
        self.child.id()
    }

    /// Its processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut processes = vec![self.child.id()];
        let mut next = 0;
        while let Some(&process) = processes.get(next) {
            processes.extend(children(process));
            next += 1;
        }
        processes
    }

    /// Does something to it. What has ended by itself is not struck.
    pub(super) fn strike(&mut self, strike: Strike, chance: &mut Chance) -> Result<()> {
        self.strikes.push(strike);
        match strike {
            Strike::Kill => kill_all(self.child.id()),
            Strike::KillOne => {
                let process = chance.one_of(&self.processes());
                send(process, "SIGKILL")
            }
            Strike::Signal(signal) => send(self.child.id(), signal.as_str()),
            Strike::Pause(time) => {
                self.paused_until = Some(Instant::now() + time);
                send_to_group(self.group(), Signal::SIGSTOP)
            }
        }
    }

    /// Sends a signal to the last of its processes: the program, where another made its namespace.
    pub(super) fn signal_last(&mut self, signal: Signal) -> Result<()> {
        self.strikes.push(Strike::Signal(signal));
        match self.processes().last() {
            Some(&process) => send(process, signal.as_str()),
            None => Ok(()),
        }
    }

    /// Whether it is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Lets it continue when it is time, and says whether and how it has ended.
    pub(super) fn look(&mut self) -> Result<Option<(Ended, String)>> {
        if self
            .paused_until
            .is_some_and(|until| Instant::now() >= until)
        {
            self.paused_until = None;
            send_to_group(self.group(), Signal::SIGCONT)?;
        }
        let Some(status) = self.child.try_wait().into_diagnostic()? else {
            return Ok(None);
        };
        self.is_over = true;
        self.paused_until = None;
        Ok(Some((judged(status, &self.strikes), self.told(status))))
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self, longest: Duration) -> Result<(Ended, String)> {
        let began = Instant::now();
        while began.elapsed() < longest {
            if let Some(ended) = self.look()? {
                return Ok(ended);
            }
            process::check_stopped()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(miette!("a worker still runs after {} s", longest.as_secs()))
    }

    /// How it ended, in words.
    fn told(&self, status: ExitStatus) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let labels: Vec<&str> = self.strikes.iter().map(|strike| strike.label()).collect();
        format!(
            "a worker ended with {status} after [{}]: {}",
            labels.join(", "),
            text.trim()
        )
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.is_over {
            // It may end by itself meanwhile.
            let _ = send_to_group(self.group(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// The process groups of workers, in which processes that a killed one started may live on.
#[derive(Default)]
pub(super) struct Groups {
    groups: Vec<u32>,
}

impl Groups {
    /// Adds that of a worker.
    pub(super) fn add(&mut self, worker: &Worker) {
        self.groups.push(worker.group());
    }

    /// Waits until nothing is left of them, and says of which something stays.
    pub(super) fn lingering(&mut self) -> Result<&[u32]> {
        let began = Instant::now();
        loop {
            self.groups.retain(|&group| is_there(group));
            if self.groups.is_empty() || began.elapsed() > LINGER {
                return Ok(&self.groups);
            }
            process::check_stopped()?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for &group in &self.groups {
            let _ = send_to_group(group, Signal::SIGKILL);
        }
    }
}

fn is_there(group: u32) -> bool {
    i32::try_from(group).is_ok_and(|group| kill(Pid::from_raw(-group), None).is_ok())
}

/// Sends a signal to a process group, of which nothing may be left.
fn send_to_group(group: u32, signal: Signal) -> Result<()> {
    let group = i32::try_from(group).into_diagnostic()?;
    match killpg(Pid::from_raw(group), signal) {
        Err(nix::errno::Errno::ESRCH) => Ok(()),
        sent => sent.into_diagnostic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(folder: &Path, script: &str) -> Worker {
        let mut command = Command::new("sh");
        Worker::start(command.args(["-c", script]), folder.join("err")).expect("it starts")
    }

    #[test]
    fn a_worker_that_is_struck_ends_as_it_may_and_nothing_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let longest = Duration::from_secs(60);
        let mut chance = Chance::new(1, 1);
        let script = "echo told >&2; sleep 600 & wait";
        let mut killed = worker(directory.path(), script);
        while killed.processes().len() < 2 {
            std::thread::yield_now();
        }
        let mut groups = Groups::default();
        groups.add(&killed);
        killed.strike(Strike::Kill, &mut chance).expect("killed");
        let (ended, told) = killed.wait(longest).expect("it ends");
        assert_eq!(ended, Ended::Explained, "{told}");
        assert!(
            told.contains("SIGKILL of a worker") && told.ends_with("told"),
            "{told}"
        );
        assert!(groups.lingering().expect("looked").is_empty());

        let mut failed = worker(directory.path(), "exit 1");
        let (ended, _) = failed.wait(longest).expect("it ends");
        assert_eq!(ended, Ended::Wrong);

        let mut paused = worker(directory.path(), "exit 0");
        let pause = Strike::Pause(Duration::from_millis(1));
        paused.strike(pause, &mut chance).expect("paused");
        let (ended, _) = paused.wait(longest).expect("it continues");
        assert_eq!((ended, paused.is_paused()), (Ended::Complete, false));
    }
}
